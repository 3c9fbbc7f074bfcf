"""Step: the ceiling - Dice of decode(encode(true mask)), per target, before any diffusion. No denoiser can beat it.

    python -m universal_diffusion.evaluation.ceiling --models DIR... --volumes DIR... --splits F --threads N
        --cohort TEXT --output-cases F --output-csv F --output-md F

Measured on the harmonised validation cases, in the windows the models were trained with, three-dimensional per case,
for each mask auto-encoder that is given: side by side, they show what a larger factor f costs the thin targets.
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
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.scores import dice
from universal_diffusion.files import write_text
from universal_diffusion.method.autoencoders import MaskAutoencoder
from universal_diffusion.method.bundle import load_autoencoder
from universal_diffusion.method.weights import CARD, load_card
from universal_diffusion.preparation.splits import read_splits, volumes_of
from universal_diffusion.segmentation.runtime import start_torch
from universal_diffusion.targets import all_targets, mask
from universal_diffusion.volumes import VolumeFile

WINDOWS = 16  # masks that go through the network together
OVERLAP = 0.25
COLUMNS = ["factor", "source", "case", "target", "dice", "truth_voxels"]
NOTES = (
    "Dice in per cent of the decoded against the encoded mask, on the harmonised grid: mean and least over the "
    "validation cases that hold the target, n of them. Voxels: mean size of their masks.",
    "f: how many times smaller than the mask its latent is along each axis, with equally many channels. The denoisers "
    "work at the smallest f; the other auto-encoder is trained in as many steps, for this comparison only.",
)


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


def ceiling_cases(autoencoders: Sequence[MaskAutoencoder], volumes: Sequence[Path], patch: int) -> pd.DataFrame:
    """One row per auto-encoder (by its factor), case and target that the case holds, with `COLUMNS`; Dice 0 to 1."""
    rows = []
    for path in tqdm(volumes, desc="ceiling", unit="case"):
        with VolumeFile(path) as file:
            volume = file.read()
        for name in volume.annotated:
            truth = mask(volume.labels, name)
            if truth.any():
                rows += [
                    (model.factor, volume.source, volume.case, name, dice(truth, decoded), int(truth.sum()))
                    for model in autoencoders
                    for decoded in [reconstruct(model, truth, patch)]
                ]
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(COLUMNS[:4], ignore_index=True)


def ceilings(cases: pd.DataFrame, factors: Sequence[int]) -> pd.DataFrame:
    """One row per target and factor: target, factor, n, dice_mean, dice_min, truth_voxels; n is 0 where no case is."""
    found = cases.groupby(["target", "factor"]).agg(
        n=("dice", "size"), dice_mean=("dice", "mean"), dice_min=("dice", "min"), truth_voxels=("truth_voxels", "sum")
    )
    names = [known.name for known in all_targets()]
    table = found.reindex(pd.MultiIndex.from_product([names, sorted(factors)], names=found.index.names))
    return table.fillna({"n": 0, "truth_voxels": 0}).astype({"n": int, "truth_voxels": int}).reset_index()


def printed_table(rows: pd.DataFrame, cohort: str) -> tables.Printed:
    """The ceilings with a row per target and two columns per factor."""
    factors = sorted(rows["factor"].unique())
    finest = rows[rows["factor"] == factors[0]]
    texts = pd.DataFrame(
        {
            "Target": finest["target"].to_numpy(),
            "n": finest["n"].astype(str).to_numpy(),
            "Voxels": [f"{row.truth_voxels / row.n:.0f}" if row.n else tables.NOTHING for row in finest.itertuples()],
        }
    )
    for factor in factors:
        of_factor = rows[rows["factor"] == factor]
        for heading, column in (("mean", "dice_mean"), ("least", "dice_min")):
            texts[f"{heading}, f = {factor}"] = [tables.percent(value, 1) for value in of_factor[column]]
    caption = f"What the mask auto-encoder alone allows any denoiser to reach, per target. Cohort: {cohort}."
    return tables.Printed(texts, tables.unmarked(texts), caption, NOTES, "tab:ceiling")


def trained_patch(directories: Sequence[Path]) -> int:
    """The edge of the windows that all models were trained with. Raises InputError where their cards do not say one."""
    patches = [load_card(directory).get("preparation", {}).get("patch") for directory in directories]
    for directory, patch in zip(directories, patches, strict=True):
        if patch is None or patch != patches[0]:
            said = f"says preparation.patch {patch}, expected one that all models share"
            raise InputError(directory / CARD, said, "train the model again")
    return patches[0]


@one_line_errors
def main() -> None:
    """Write the case rows and the table of ceilings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="directories of mask auto-encoders")
    parser.add_argument("--volumes", type=Path, nargs="+", required=True, help="directories of harmonised volumes")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv, from `split`")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads; sums depend on it")
    parser.add_argument("--output-cases", type=Path, required=True, help="rows behind the table, one per case")
    tables.add_outputs(parser, ("csv", "md"))
    arguments = parser.parse_args()
    device = start_torch(arguments.threads)
    autoencoders = [load_autoencoder(model, "mask_autoencoder").to(device) for model in arguments.models]
    volumes = volumes_of(arguments.volumes, read_splits(arguments.splits), {"validation"})
    cases = ceiling_cases(autoencoders, volumes, trained_patch(arguments.models))
    rows = ceilings(cases, [autoencoder.factor for autoencoder in autoencoders])
    tables.write_csv(arguments.output_cases, cases)
    tables.write_csv(arguments.output_csv, rows)
    write_text(arguments.output_md, tables.markdown(printed_table(rows, arguments.cohort)))


if __name__ == "__main__":
    main()
