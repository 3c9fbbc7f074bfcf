"""All that is scored of one case by one system, target by target."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from universal_diffusion.evaluation.scoring import calibration
from universal_diffusion.evaluation.scoring.predictions import Labels, Predictions, labels, predictions_of
from universal_diffusion.evaluation.scoring.protocol import clip_universal_dice
from universal_diffusion.evaluation.scoring.scores import agreement, outcome, volumes
from universal_diffusion.evaluation.scoring.tolerances import tolerances
from universal_diffusion.files import sha256
from universal_diffusion.preparation.label_resampling import resample_mask
from universal_diffusion.preparation.splits import SplitRow
from universal_diffusion.systems import System
from universal_diffusion.volumes import Grid, VolumeFile


@dataclass(frozen=True)
class CaseScores:
    """Rows of the tables that rule `score` writes.

    Attributes:
        cases: of `cases.COLUMNS`.
        reliability: source, case, part, target, bin (0 to 9), voxels, probability_sum, truth_sum.
        coverage: source, case, part, target, coverage, dice.
        inputs: source, case, target (empty for the volume), file, sha256.
    """

    cases: list[dict] = field(default_factory=list)
    reliability: list[dict] = field(default_factory=list)
    coverage: list[dict] = field(default_factory=list)
    inputs: list[dict] = field(default_factory=list)


@dataclass(frozen=True)
class Truth:
    """A case's labels on both grids, and the targets that were looked for."""

    native: Labels
    native_grid: Grid
    harmonised: Labels
    grid: Grid
    annotated: tuple[str, ...]


def read_truth(path: Path) -> Truth:
    """The labels of a stored volume. Raises InputError when it is damaged."""
    with VolumeFile(path) as file:
        native, harmonised = (labels(file.encoded(name)) for name in ("native_labels", "labels"))
        return Truth(native, file.native_grid, harmonised, file.grid, file.annotated)


def score_case(path: Path, split: SplitRow, system: System, directories: Sequence[Path], results: Path) -> CaseScores:
    """Score all annotated targets of a case.

    Args:
        path: of its volume.
        split: its row in the table of splits.
        directories: of the system's predictions, one per shard.
        results: the folder from which files are told.

    Raises:
        InputError: as `Predictions` for a prediction that is missing or wrong.
    """
    truth, scores = read_truth(path), CaseScores()
    predictions = predictions_of(directories, system, split.source, split.case, truth.native_grid)
    identity = {"source": split.source, "case": split.case, "part": split.part, "target": ""}
    scores.inputs.append(_input(identity, path, sha256(path), results))
    for name in truth.annotated:
        where, predicted = identity | {"target": name}, predictions.mask(name)
        row = {"system": system.family, "variant": system.variant, "dataset": split.dataset, **where}
        row |= _overlap(name, truth, predicted)
        if system.variant:  # a baseline gives one answer, not an ensemble
            doubt, found = _uncertainty(name, truth, predicted, predictions)
            row |= {"ece": found.ece, "brier": found.brier, "error_auroc": found.error_auroc, "uncertainty": doubt}
            scores.reliability.extend(_reliability(where, found))
            scores.coverage.extend(_coverage(where, found))
        scores.cases.append(row)
        scores.inputs.extend(_input(where, file, predictions.hash(file), results) for file in predictions.files(name))
    return scores


def _overlap(name: str, truth: Truth, predicted: np.ndarray) -> dict:
    """All scores of one predicted mask on the CT's own grid, by column."""
    true, tolerance_mm = truth.native.mask(name), tolerances()[name].surface_mm
    row = {"outcome": outcome(true, predicted), **vars(volumes(true, predicted, truth.native_grid.voxel_ml))}
    row |= vars(agreement(true, predicted, truth.native_grid.spacing_mm, tolerance_mm))
    true, predicted = truth.harmonised.mask(name), resample_mask(predicted, truth.native_grid.affine, truth.grid)
    harmonised = agreement(true, predicted, truth.grid.spacing_mm, tolerance_mm)
    return row | {
        "dice_harmonised": harmonised.dice,
        "surface_dice_harmonised": harmonised.surface_dice,
        "hd95_harmonised_mm": harmonised.hd95_mm,
        "dice_clip_universal": clip_universal_dice(name, true, predicted),
    }


def _uncertainty(
    name: str, truth: Truth, predicted: np.ndarray, predictions: Predictions
) -> tuple[float, calibration.Uncertainty]:
    """The ensemble's doubt, and how it stands up around the target; one map at a time is held whole."""
    true, mean = truth.native.mask(name), predictions.mean(name, predicted)
    doubt, asked = calibration.doubt(mean), calibration.region(true, truth.native_grid.spacing_mm)
    mean = mean[asked].copy()
    return doubt, calibration.measure(true[asked], mean, predictions.variance(name)[asked], predicted[asked])


def _reliability(where: dict, found: calibration.Uncertainty) -> Iterator[dict]:
    for number, (voxels, probability, true) in enumerate(found.reliability):
        yield where | {"bin": number, "voxels": voxels, "probability_sum": probability, "truth_sum": true}


def _coverage(where: dict, found: calibration.Uncertainty) -> Iterator[dict]:
    for share, dice in zip(calibration.COVERAGES, found.coverage, strict=True):
        yield where | {"coverage": share, "dice": dice}


def _input(where: dict, file: Path, digest: str, results: Path) -> dict:
    """A file that was read, told from the folder of results on, and the hash that it was found to have."""
    told = Path(os.path.relpath(file, results)).as_posix()
    whose = {column: where[column] for column in ("source", "case", "target")}
    return whose | {"file": told, "sha256": digest}
