"""Step: a page for every validation and test case - CT, prediction of mask/CLIP and truth in the viewer, with scores.

    python -m universal_diffusion.evaluation.report.case_pages --cases F --splits F --predictions DIR...
        --natives DIR... --volumes DIR... --cohort TEXT --output DIR

Truth is a black and white line on top of the predicted mask, which is filled with its target's colour. Everything
lies on the CT's own grid, so that what is seen is what was scored. Each page stands alone and needs no network.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from universal_diffusion.datasets.mirror import unmirrored
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.evaluation.scoring.cases import of_system, read_cases
from universal_diffusion.evaluation.scoring.predictions import predictions_of
from universal_diffusion.evaluation.tables import NOTHING
from universal_diffusion.files import write_text
from universal_diffusion.preparation.origin import read_origin
from universal_diffusion.preparation.splits import EVALUATED, SplitRow, read_splits, volumes_of
from universal_diffusion.preparation.unpacked import unpacked
from universal_diffusion.systems import system_of
from universal_diffusion.targets import mask, target
from universal_diffusion.viewer.layers import Column, Layer
from universal_diffusion.viewer.page import DOUBT, compose, reductions
from universal_diffusion.viewer.reduction import Reduction
from universal_diffusion.viewer.volumes import shown, shown_mask
from universal_diffusion.volumes import Grid, VolumeFile

SYSTEM = system_of("mask_clip")
COLUMNS = {  # with the column of cases.csv, a factor and digits
    Column("Dice %", "overlap of prediction and truth in 3-D, on the CT's own grid"): ("dice", 100, 1),
    Column("NSD %", "normalised surface Dice: surfaces within the target's tolerance"): ("surface_dice", 100, 1),
    Column("HD95 mm", "95th percentile of the distance between both surfaces"): ("hd95_mm", 1, 0),
    Column("truth ml", "true volume"): ("truth_ml", 1, 1),
    Column("pred. ml", "predicted volume"): ("predicted_ml", 1, 1),
    DOUBT: ("uncertainty", 1, 2),
}
REMARKS = {  # of an outcome of cases.csv: why scores are undefined
    "scored": "",
    "missed": "missed: nothing drawn, so no distance",
    "false_positive": "false alarm: it is absent, so no distance",
    "both_empty": "absent, and nothing drawn: nothing to score",
}


def image_of(source: str, case: str, native: Path, grid: Grid) -> np.ndarray:
    """Hounsfield units (X, Y, Z) of a case in its native tree. Raises InputError unless they lie on `grid`."""
    read = unpacked(source, native).read(case)
    if case in read_origin(native).mirrored:
        read = unmirrored(read)
    if read.image.shape != tuple(grid.shape) or not np.allclose(read.affine, grid.affine, atol=1e-3):
        raise InputError(f"{native}/{case}", "lies on another grid than its volume", "run rule `harmonise` again")
    return read.image


def layers(rows: pd.DataFrame, folder: Path, labels: np.ndarray, coarse: Reduction, maps: Reduction) -> Iterator[Layer]:
    """Prediction, truth and scores of every annotated target.

    Args:
        rows: the case's scores, one a target.
        folder: of its predictions.
        labels: true target bits (X, Y, Z) on the full grid.
    """
    for row in sorted(rows.to_dict("records"), key=lambda row: target(row["target"]).id):
        one = target(row["target"])
        truth = shown_mask(mask(labels, one.name).astype(np.uint8), one, coarse, {})
        voxels = round(row["predicted_ml"] / coarse.full.voxel_ml)
        yield Layer(shown(folder, one, coarse, maps), voxels, figures(row), truth, REMARKS[row["outcome"]])


def figures(row: Mapping) -> dict[str, str]:
    """A target's scores by `COLUMNS`, a dash where one is undefined."""
    return {
        column.name: NOTHING if pd.isna(row[key]) else f"{factor * row[key]:.{digits}f}"
        for column, (key, factor, digits) in COLUMNS.items()
    }


def page(
    split: SplitRow, volume: Path, native: Path, predictions: Sequence[Path], rows: pd.DataFrame, cohort: str
) -> str:
    """A case's page as HTML. Raises InputError when one of its files is missing or does not belong to the others."""
    with VolumeFile(volume) as file:
        stored = file.read()
    grid = stored.native_grid
    coarse, maps = reductions(grid)
    predicted = predictions_of(predictions, SYSTEM, split.source, split.case, grid)
    predicted.verify(rows["target"])
    made = [
        ("Cohort", cohort),
        ("Part", split.part),
        ("Model", SYSTEM.label),
    ]
    hu = image_of(split.source, split.case, native, grid)
    found = list(layers(rows, predicted.folder, stored.native_labels, coarse, maps))
    return compose(f"{split.source} {split.case}", made, hu, found, tuple(COLUMNS), coarse, maps, "../report.html")


def write_pages(
    cases: pd.DataFrame,
    splits: Sequence[SplitRow],
    predictions: Sequence[Path],
    natives: Mapping[str, Path],
    volumes: Sequence[Path],
    cohort: str,
    output: Path,
) -> None:
    """Write `<source>-<case>.html` into `output` for every case that was scored."""
    ours = of_system(cases, SYSTEM)
    rows = dict(list(ours.groupby(["source", "case"])))
    evaluated = [row for row in splits if row.part in EVALUATED]
    output.mkdir(parents=True, exist_ok=True)
    pairs = list(zip(evaluated, volumes_of(volumes, evaluated, EVALUATED), strict=True))
    for split, volume in tqdm(pairs, desc="pages", unit="case"):
        if (split.source, split.case) in rows:
            known = rows[split.source, split.case]
            text = page(split, volume, natives[split.source], predictions, known, cohort)
            write_text(output / f"{split.source}-{split.case}.html", text)


@one_line_errors
def main() -> None:
    """Write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, required=True, help="scores/cases.csv")
    parser.add_argument("--splits", type=Path, required=True)
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="of mask/CLIP, one folder per shard")
    parser.add_argument("--natives", type=Path, nargs="+", required=True, help="unpacked trees, named as their sources")
    parser.add_argument("--volumes", type=Path, nargs="+", required=True, help="directories of harmonised volumes")
    parser.add_argument("--cohort", required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder of the pages")
    arguments = parser.parse_args()
    natives = {path.name: path for path in arguments.natives}
    cases, splits = read_cases(arguments.cases), read_splits(arguments.splits)
    write_pages(cases, splits, arguments.predictions, natives, arguments.volumes, arguments.cohort, arguments.output)


if __name__ == "__main__":
    main()
