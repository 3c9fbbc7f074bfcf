"""Step: the ceiling - Dice of decode(encode(true mask)), per target, before any diffusion. No denoiser can beat it.

    python -m universal_diffusion.evaluation.ceiling --model DIR --volumes DIR... --splits F --threads N --output F

Measured on the harmonised validation cases, in the windows the model was trained with, three-dimensional per case.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from monai.inferers import sliding_window_inference
from tqdm import tqdm

from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.evaluation.scores import dice
from universal_diffusion.evaluation.tables import write_csv
from universal_diffusion.method.autoencoders import MaskAutoencoder
from universal_diffusion.method.bundle import load_autoencoder
from universal_diffusion.method.weights import CARD, load_card
from universal_diffusion.preparation.splits import read_splits, volumes_of
from universal_diffusion.segmentation.runtime import start_torch
from universal_diffusion.targets import all_targets, mask
from universal_diffusion.volumes import VolumeFile

WINDOWS = 16  # masks that go through the network together
OVERLAP = 0.25


@torch.inference_mode()
def reconstruct(autoencoder: MaskAutoencoder, truth: np.ndarray, patch: int) -> np.ndarray:
    """decode(encode(mask)), thresholded at one half, of every axial slice of a boolean mask (X, Y, Z)."""
    device = next(autoencoder.parameters()).device
    filled = np.flatnonzero(truth.any(axis=(0, 1)))
    blank = np.zeros((*truth.shape[:2], 1), bool)  # all empty slices decode alike: one stands for them
    slices = np.concatenate([truth[..., filled], blank], axis=2)
    logits = sliding_window_inference(
        torch.from_numpy(np.moveaxis(slices, 2, 0)[:, None].astype(np.float32)).to(device),
        roi_size=(patch, patch),
        sw_batch_size=WINDOWS,
        predictor=lambda masks: autoencoder.decode(autoencoder.encode(masks)),
        overlap=OVERLAP,
        mode="gaussian",
    )
    decoded = np.moveaxis(logits[:, 0].cpu().numpy() > 0, 0, 2)
    whole = np.repeat(decoded[..., -1:], truth.shape[2], axis=2)
    whole[..., filled] = decoded[..., :-1]
    return whole


def ceilings(autoencoder: MaskAutoencoder, volumes: Sequence[Path], patch: int) -> pd.DataFrame:
    """One row per target: target, n, dice_mean, dice_min, truth_voxels; over the cases that hold the target."""
    rows = []
    for path in tqdm(volumes, desc="ceiling", unit="case"):
        with VolumeFile(path) as file:
            volume = file.read()
        for name in volume.annotated:
            truth = mask(volume.labels, name)
            if truth.any():
                rows.append((name, dice(truth, reconstruct(autoencoder, truth, patch)), int(truth.sum())))
    found = pd.DataFrame(rows, columns=["target", "dice", "voxels"]).groupby("target")
    table = found.agg(
        n=("dice", "size"), dice_mean=("dice", "mean"), dice_min=("dice", "min"), truth_voxels=("voxels", "sum")
    ).reindex([known.name for known in all_targets()])
    return table.fillna({"n": 0, "truth_voxels": 0}).astype({"n": int, "truth_voxels": int}).reset_index()


@one_line_errors
def main() -> None:
    """Write the table of ceilings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="directory of the mask auto-encoder")
    parser.add_argument("--volumes", type=Path, nargs="+", required=True, help="directories of harmonised volumes")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv, from `split`")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads; sums depend on it")
    parser.add_argument("--output", type=Path, required=True, help="table to write")
    arguments = parser.parse_args()
    device = start_torch(arguments.threads)
    autoencoder = load_autoencoder(arguments.model, "mask_autoencoder").to(device)
    patch = load_card(arguments.model).get("preparation", {}).get("patch")
    if patch is None:
        raise InputError(arguments.model / CARD, "does not say preparation.patch", "train the model again")
    volumes = volumes_of(arguments.volumes, read_splits(arguments.splits), {"validation"})
    write_csv(arguments.output, ceilings(autoencoder, volumes, patch))


if __name__ == "__main__":
    main()
