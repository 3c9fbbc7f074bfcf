"""Baseline `prior_mask`: the training set's mean mask of each target, placed by the body's outline.

    python -m universal_diffusion.baselines.prior_mask --volumes DIR... --splits CSV --output DIR

Cases are brought into the frame of `baselines.frame`. A target's mean is taken, row by row, over the training cases in
which it is annotated and whose scan shows the row; the threshold is the one of the highest mean training Dice over the
cases that hold the target. A target that no training case annotates, or none holds, is never predicted.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from universal_diffusion import __version__
from universal_diffusion.baselines.frame import (
    BINS,
    Frame,
    Placement,
    covered_rows,
    fit_frame,
    from_frame,
    outline,
    to_frame,
)
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.method.weights import WEIGHTS, load_card, save_weights, weights_of
from universal_diffusion.preparation.splits import read_splits, volumes_of
from universal_diffusion.segmentation.outputs.native import to_native
from universal_diffusion.targets import all_targets, mask, target
from universal_diffusion.volumes import Volume, VolumeFile

LEVELS = 255  # the means are kept in 1 / 255ths
NEVER = LEVELS + 1  # the threshold of what is never predicted


@dataclass(frozen=True)
class Prior:
    """The mean masks: `means` (29, BINS, BINS, L) uint8 levels in `frame`, predicted from `thresholds` (29,) on."""

    frame: Frame
    means: np.ndarray
    thresholds: np.ndarray

    def predict(self, volume: Volume) -> Iterator[tuple[str, np.ndarray]]:
        """Name and boolean mask, on the CT's own grid, of each target annotated in the case."""
        placement = self.frame.place(outline(volume.image))
        for name in volume.annotated:
            index = target(name).id - 1
            probability = from_frame(self.means[index] / LEVELS, placement, volume.image.shape)
            native = to_native(probability, volume.grid, volume.native_grid)
            yield name, native >= self.thresholds[index] / LEVELS - 1e-6  # what was interpolated has rounding errors


def train(volumes: Sequence[Path]) -> tuple[Prior, np.ndarray]:
    """The prior of training volumes, and the mean training Dice of each target at its threshold: (29,), NaN if never.

    Raises InputError when there are no volumes.
    """
    if not volumes:
        raise InputError("--splits", "holds no training case of these volumes", "give the study's own splits.csv")
    outlines = [outline(_image(path)) for path in _progress(volumes, "outlines")]
    frame = fit_frame([found.profile for found in outlines])
    placements = {path: frame.place(found) for path, found in zip(volumes, outlines, strict=True)}
    means = mean_masks(volumes, placements, len(frame.profile))
    thresholds, dice = best_thresholds(volumes, placements, means)
    return Prior(frame, means, thresholds), dice


def mean_masks(volumes: Sequence[Path], placements: dict[Path, Placement], rows: int) -> np.ndarray:
    """(29, BINS, BINS, rows) uint8 levels of the mean mask over the cases that are annotated and show the row."""
    total = np.zeros((len(all_targets()), BINS, BINS, rows), np.float32)
    count = np.zeros((len(all_targets()), rows), np.float32)
    for path in _progress(volumes, "means"):
        placement, (annotated, labels) = placements[path], _labels(path)
        for name in annotated:
            index, truth = target(name).id - 1, mask(labels, name)
            count[index] += covered_rows(placement, truth.shape[2], rows)
            if truth.any():
                total[index] += to_frame(truth, placement, rows)
    return np.rint(LEVELS * total / np.maximum(count, 1)[:, None, None]).astype(np.uint8)


def best_thresholds(
    volumes: Sequence[Path], placements: dict[Path, Placement], means: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Per target the level (29,) whose mean Dice over the cases holding it is highest, and that Dice (29,)."""
    dice: list[list[np.ndarray]] = [[] for _ in all_targets()]
    for path in _progress(volumes, "thresholds"):
        annotated, labels = _labels(path)
        for name in annotated:
            truth = mask(labels, name)
            if truth.any():
                index = target(name).id - 1
                dice[index].append(dice_per_level(means[index], truth, placements[path]))
    mean_dice = [np.mean(curves, axis=0) if curves else np.full(NEVER + 1, np.nan) for curves in dice]
    thresholds = [1 + int(np.argmax(curve[1:])) if np.nanmax(curve, initial=0) > 0 else NEVER for curve in mean_dice]
    return np.array(thresholds), np.array([c[t] for c, t in zip(mean_dice, thresholds, strict=True)])


def dice_per_level(mean: np.ndarray, truth: np.ndarray, placement: Placement) -> np.ndarray:
    """Dice, in the frame, of "mean >= level" for every level 0 to `NEVER`, over the rows that the scan shows."""
    rows = covered_rows(placement, truth.shape[2], mean.shape[2])
    levels = mean[..., rows].ravel()
    there = to_frame(truth, placement, mean.shape[2])[..., rows].ravel()
    predicted, overlap = (
        np.bincount(levels, weights=weights, minlength=NEVER + 1)[::-1].cumsum()[::-1] for weights in (None, there)
    )
    return 2 * overlap / np.maximum(predicted + there.sum(), 1e-9)


def save_prior(directory: Path, prior: Prior, card: dict) -> None:
    """Write weights and, last, the card."""
    arrays = {
        "means": prior.means,
        "thresholds": prior.thresholds,
        "frame_profile": prior.frame.profile,
        "frame_mean": prior.frame.mean,
        "frame_std": prior.frame.std,
    }
    save_weights(directory, {name: torch.from_numpy(array) for name, array in arrays.items()}, card)


def load_prior(directory: Path) -> Prior:
    """Read what `save_prior` wrote. Raises InputError for weights that are missing, damaged or of another model."""
    arrays = {name: tensor.numpy() for name, tensor in weights_of(directory, load_card(directory)).items()}
    try:
        frame = Frame(arrays["frame_profile"], arrays["frame_mean"], arrays["frame_std"])
        return Prior(frame, arrays["means"], arrays["thresholds"])
    except KeyError as missing:
        raise InputError(directory / WEIGHTS, f"holds no {missing} of a prior mask", "train the model again") from None


def _image(path: Path) -> np.ndarray:
    with VolumeFile(path) as file:
        return file.read().image


def _labels(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """The annotated targets, and the (X, Y, Z) label bits without the larger rest of the file."""
    with VolumeFile(path) as file:
        return file.annotated, np.stack([file.label_slice(z) for z in range(file.grid.shape[2])], axis=2)


def _progress(volumes: Sequence[Path], what: str) -> Iterator[Path]:
    return iter(tqdm(volumes, desc=what, unit="case", file=sys.stderr, mininterval=5))


@one_line_errors
def main() -> None:
    """Average the training masks and write the prior with its card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=Path, nargs="+", required=True, help="directories of harmonised volumes")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv, from `split`")
    parser.add_argument("--output", type=Path, required=True, help="folder of the model")
    arguments = parser.parse_args()
    volumes = volumes_of(arguments.volumes, read_splits(arguments.splits), {"train"})
    prior, dice = train(volumes)
    learnt = [(known.name, i) for i, known in enumerate(all_targets()) if prior.thresholds[i] != NEVER]
    card = {
        "kind": "prior_mask",
        "targets": [name for name, _ in learnt],
        "thresholds": {name: prior.thresholds[i] / LEVELS for name, i in learnt},
        "training_dice": {name: dice[i] for name, i in learnt},
        "cases": len(volumes),
        "splits": hashlib.sha256(arguments.splits.read_bytes()).hexdigest(),
        "version": __version__,
    }
    save_prior(arguments.output, prior, card)


if __name__ == "__main__":
    main()
