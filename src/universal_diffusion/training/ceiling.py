"""The ceiling - Dice of decode(encode(true mask)), per target, before any diffusion. No denoiser can beat it.

A mask auto-encoder's training ends with it, so that no denoiser, which needs that training, begins before it is known.
Measured on the harmonised validation cases, in the windows that were trained with, three-dimensional per case.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from monai.inferers import sliding_window_inference
from tqdm import tqdm

from universal_diffusion.checksums import write_with_hash
from universal_diffusion.method.autoencoders import MaskAutoencoder
from universal_diffusion.targets import mask
from universal_diffusion.training.tasks import device_of
from universal_diffusion.volumes import VolumeFile

CEILING = "ceiling.csv"
WINDOWS = 16  # masks that go through the network together
OVERLAP = 0.25
COLUMNS = ["factor", "source", "case", "target", "dice", "truth_voxels"]


@torch.inference_mode()
def reconstruct(autoencoder: MaskAutoencoder, truth: np.ndarray, patch: int) -> np.ndarray:
    """decode(encode(mask)), thresholded at one half, of every axial slice of a boolean mask (X, Y, Z)."""
    filled = np.flatnonzero(truth.any(axis=(0, 1)))
    blank = np.zeros((*truth.shape[:2], 1), bool)  # all empty slices decode alike: one stands for them
    slices = np.concatenate([truth[..., filled], blank], axis=2)
    logits = sliding_window_inference(
        torch.from_numpy(np.moveaxis(slices, 2, 0)[:, None].astype(np.float32)).to(device_of(autoencoder)),
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


def ceiling_cases(autoencoder: MaskAutoencoder, volumes: Sequence[Path], patch: int) -> pd.DataFrame:
    """One row per case and target that the case holds, with `COLUMNS`; Dice 2 |A and B| / (|A| + |B|), 0 to 1."""
    rows = []
    for path in tqdm(volumes, desc=f"ceiling at f = {autoencoder.factor}", unit="case"):
        with VolumeFile(path) as file:
            volume = file.read()
        for name in volume.annotated:
            truth = mask(volume.labels, name)
            if truth.any():
                decoded = reconstruct(autoencoder, truth, patch)
                dice = 2 * (truth & decoded).sum() / (truth.sum() + decoded.sum())
                rows.append((autoencoder.factor, volume.source, volume.case, name, dice, truth.sum()))
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(COLUMNS[:4], ignore_index=True)


def report_ceiling(directory: Path, autoencoder: MaskAutoencoder, volumes: Sequence[Path], patch: int) -> None:
    """Write the case rows into `directory` and tell each target's mean; on a GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cases = ceiling_cases(autoencoder.to(device), volumes, patch)
    write_with_hash(directory / CEILING, cases.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    by_target = cases.groupby("target")["dice"].agg(["mean", "size"])
    told = ", ".join(f"{row.Index} {row.mean:.3f} (n={row.size})" for row in by_target.itertuples())
    print(f"ceiling at f = {autoencoder.factor}, mean Dice: {told}", file=sys.stderr)
