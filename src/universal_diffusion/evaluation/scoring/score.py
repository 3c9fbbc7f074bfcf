"""Step: score every prediction of one system against the truth, one row per case and annotated target.

    python -m universal_diffusion.evaluation.scoring.score --predictions DIR... --volumes DIR... --splits F
        --system NAME --output F

Truth and prediction meet on the CT's own grid. `dice_harmonised` is the same Dice on the harmonised grid, where the
published competitors were measured. A target that nobody looked for in a case is never scored there.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import affine_transform
from tqdm import tqdm

from universal_diffusion.datasets.nifti import read_values
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.evaluation.scoring import calibration
from universal_diffusion.evaluation.scoring.cases import COLUMNS, write_cases
from universal_diffusion.evaluation.scoring.scores import dice, overlap
from universal_diffusion.preparation.splits import EVALUATED, read_splits, volumes_of
from universal_diffusion.systems import System, system_of
from universal_diffusion.targets import mask, target
from universal_diffusion.volumes import Grid, Volume, VolumeFile


@dataclass(frozen=True)
class Uncertainty:
    """Calibration error of the ensemble's mean and error detection by its variance (`calibration`)."""

    ece: float
    error_auroc: float


def predictions_of(directories: Sequence[Path], system: System, source: str, case: str) -> Path:
    """The folder with a case's predictions in one of the shards. Raises InputError when there is none."""
    for directory in directories:
        folder = Path(directory) / source / case
        if folder.is_dir():
            return folder
    raise InputError(
        f"predictions of {system.key}", f"hold no folder {source}/{case}", f"run {_rule(system)} again for all shards"
    )


def read_map(folder: Path, file_name: str, grid: Grid, system: System) -> np.ndarray:
    """A predicted mask or map on the CT's own grid. Raises InputError when missing, damaged or on another grid."""
    path = folder / file_name
    if not path.is_file():
        problem = "is missing: every annotated target has a prediction"
        raise InputError(path, problem, f"delete its shard's folder and run {_rule(system)} again")
    try:
        values, affine = read_values(path)
    except InputError as error:
        raise InputError(path, error.problem, f"delete its shard's folder and run {_rule(system)} again") from None
    if values.shape != tuple(grid.shape) or not np.allclose(affine, grid.affine, atol=1e-3):
        raise InputError(
            path,
            f"lies on another grid than its CT (shape {values.shape}, expected {tuple(grid.shape)})",
            f"delete its shard's folder and run {_rule(system)} again",
        )
    return np.asarray(values, dtype=np.float32)


def onto_grid(values: np.ndarray, grid: Grid, wanted: Grid) -> np.ndarray:
    """A boolean mask on `grid` taken to the nearest voxels of `wanted`; outside it is empty."""
    step = np.linalg.inv(grid.affine) @ wanted.affine
    moved = affine_transform(
        values.astype(np.uint8), step[:3, :3], step[:3, 3], output_shape=tuple(wanted.shape), order=0
    )
    return moved.astype(bool)


def score_case(volume: Volume, folder: Path, system: System) -> Iterator[dict]:
    """Scores of every annotated target of a case, keyed by the columns of `cases.COLUMNS` that they fill."""
    for name in volume.annotated:
        slug = target(name).slug
        predicted = read_map(folder, f"{slug}.nii.gz", volume.native_grid, system) > 0
        truth = mask(volume.native_labels, name)
        harmonised = onto_grid(predicted, volume.native_grid, volume.grid)
        uncertainty = _uncertainty(volume, folder, slug, system, truth, predicted)
        yield {
            "target": name,
            "dice_harmonised": dice(mask(volume.labels, name), harmonised),
            **vars(overlap(truth, predicted, volume.native_grid)),
            **vars(uncertainty),
        }


def _uncertainty(volume: Volume, folder: Path, slug: str, system: System, truth, predicted) -> Uncertainty:
    if not system.variant:  # a baseline gives one answer, not an ensemble
        return Uncertainty(np.nan, np.nan)
    mean, variance = (
        read_map(folder, f"{slug}_{kind}.nii.gz", volume.native_grid, system) for kind in ("mean", "variance")
    )
    asked = calibration.region(truth, mean)
    return Uncertainty(
        calibration.expected_calibration_error(truth[asked], mean[asked]),
        calibration.error_detection((truth != predicted)[asked], variance[asked]),
    )


def score_system(system: System, predictions: Sequence[Path], volumes: Sequence[Path], splits: Path) -> pd.DataFrame:
    """Rows of `cases.COLUMNS` for every validation and test case."""
    table = read_splits(splits)
    known, rows = {(row.source, row.case): row for row in table}, []
    for path in tqdm(volumes_of(volumes, table, EVALUATED), desc=f"score {system.key}", unit="case"):
        with VolumeFile(path) as file:
            volume = file.read()
        split = known[volume.source, volume.case]
        case = {
            "system": system.family,
            "variant": system.variant,
            "dataset": split.dataset,
            "source": split.source,
            "case": split.case,
            "part": split.part,
        }
        folder = predictions_of(predictions, system, volume.source, volume.case)
        rows += [case | scores for scores in score_case(volume, folder, system)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rule(system: System) -> str:
    return "rule `segment`" if system.variant else f"the rule that predicts with `{system.key}`"


@one_line_errors
def main() -> None:
    """Write one system's scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--predictions", type=Path, nargs="+", required=True, help="directories of predictions, one per shard"
    )
    parser.add_argument("--volumes", type=Path, nargs="+", required=True, help="directories of harmonised volumes")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv, from `split`")
    parser.add_argument("--system", required=True, help="a variant or a baseline")
    parser.add_argument("--output", type=Path, required=True, help="table to write")
    arguments = parser.parse_args()
    system = system_of(arguments.system)
    write_cases(arguments.output, score_system(system, arguments.predictions, arguments.volumes, arguments.splits))


if __name__ == "__main__":
    main()
