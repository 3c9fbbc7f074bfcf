"""Benchmark: scoring one case of 512 x 512 x 150 voxels with this study and with MONAI's metrics called plainly.

    python -m universal_diffusion.benchmarks.scoring --output-csv F

Predictions are compact (each target, shifted) or scattered (the same with specks all over the CT, as of a model that
was hardly trained). Each run is a process of its own that starts from the case's files; its peak is the largest
resident memory (VmHWM) that it ever had.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

from universal_diffusion.benchmarks.record import peak_gib, write_record
from universal_diffusion.benchmarks.scans import native
from universal_diffusion.checksums import hashes, write_sums
from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.scoring.case_scores import read_truth, score_case
from universal_diffusion.evaluation.scoring.predictions import predictions_of
from universal_diffusion.evaluation.scoring.scores import agreement
from universal_diffusion.evaluation.scoring.tolerances import tolerances
from universal_diffusion.preparation.label_resampling import resample_labels, target_boxes
from universal_diffusion.preparation.splits import SplitRow
from universal_diffusion.segmentation.outputs.nifti_output import write_map, write_mask
from universal_diffusion.systems import system_of
from universal_diffusion.targets import mask, target
from universal_diffusion.volumes import Grid, Volume, write_volume

SLICES, SPACING_MM = 150, (1.5, 1.5, 2.0)
TARGETS = ("liver", "spleen", "pancreas", "aorta")
SHIFT = (4, 3, 1)  # voxels
SPECKS = 1e-3  # share of all voxels
SPLIT = SplitRow("amos", "amos", "amos_0001", "0", "test", "")
SYSTEM = system_of("mask_clip")
PREDICTIONS = ("compact", "scattered")

Scores = dict[str, list[float]]  # Dice, surface Dice and HD95 by target


def write_case(root: Path, slices: int = SLICES) -> tuple[int, ...]:
    """The case's volume and both predictions, as a study keeps them; returns its shape."""
    scan = native(slices)
    grid = Grid(scan.image.shape, scan.affine)
    edges = np.ceil(np.array(grid.shape) * grid.spacing_mm / SPACING_MM).astype(int)
    harmonised = Grid(tuple(edges.tolist()), scan.affine @ np.diag([*(SPACING_MM / grid.spacing_mm), 1.0]))
    labels = resample_labels(scan.labels, target_boxes(scan.labels), scan.affine, harmonised)
    image = np.zeros(harmonised.shape, np.float32)
    volume = Volume(SPLIT.source, SPLIT.case, TARGETS, "0", image, labels, harmonised, scan.labels, grid)
    write_volume(root / f"{SPLIT.case}.h5", volume)
    generator = np.random.default_rng(0)
    for kind in PREDICTIONS:
        for name in TARGETS:
            predicted = np.roll(mask(scan.labels, name), SHIFT, (0, 1, 2))
            if kind == "scattered":
                predicted |= generator.random(grid.shape, np.float32) < SPECKS
            write_prediction(root / kind / SPLIT.source / SPLIT.case / target(name).slug, predicted, grid, generator)
        write_sums(root / kind, hashes(root / kind, (root / kind).rglob("*.nii.gz")))
    return grid.shape


def write_prediction(stem: Path, predicted: np.ndarray, grid: Grid, generator: np.random.Generator) -> None:
    """A mask, and maps that vary where it lies."""
    mean = predicted * generator.uniform(0.5, 1, (1, 1, grid.shape[2])).astype(np.float32)
    write_mask(stem.with_name(f"{stem.name}.nii.gz"), predicted, grid)
    write_map(stem.with_name(f"{stem.name}_mean.nii.gz"), mean, 1.0, grid)
    write_map(stem.with_name(f"{stem.name}_variance.nii.gz"), mean * (1 - mean), 0.25, grid)


def whole_rule(root: Path, kind: str) -> Scores:
    """All that rule `score` does of the case: both grids, the protocol, uncertainty, hashes."""
    rows = score_case(root / f"{SPLIT.case}.h5", SPLIT, SYSTEM, [root / kind], root).cases
    return {row["target"]: [row["dice"], row["surface_dice"], row["hd95_mm"]] for row in rows}


def of_masks(metrics: Callable[..., list[float]], root: Path, kind: str) -> Scores:
    """Three metrics of the native masks."""
    truth = read_truth(root / f"{SPLIT.case}.h5")
    predictions = predictions_of([root / kind], SYSTEM, SPLIT.source, SPLIT.case, truth.native_grid)
    return {
        name: metrics(
            truth.native.mask(name),
            predictions.mask(name),
            truth.native_grid.spacing_mm,
            tolerances()[name].surface_mm,
        )
        for name in truth.annotated
    }


def ours(truth: np.ndarray, predicted: np.ndarray, spacing_mm: np.ndarray, tolerance_mm: float) -> list[float]:
    """Dice, surface Dice and HD95 of this study."""
    return list(vars(agreement(truth, predicted, spacing_mm, tolerance_mm)).values())


def monai(truth: np.ndarray, predicted: np.ndarray, spacing_mm: np.ndarray, tolerance_mm: float) -> list[float]:
    """Dice, surface Dice and HD95 by MONAI's functions as its documentation calls them."""
    masks = [torch.from_numpy(each[None, None].astype(np.float32)) for each in (predicted, truth)]
    how = {"include_background": True, "spacing": spacing_mm.tolist()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of arguments that MONAI gives itself
        surface = compute_surface_dice(*masks, [tolerance_mm], **how)
        hausdorff = compute_hausdorff_distance(*masks, percentile=95, **how)
    return [compute_dice(*masks).item(), surface.item(), hausdorff.item()]


WAYS: dict[str, Callable[[Path, str], Scores]] = {
    "this study, all of rule `score`": whole_rule,
    "this study, three metrics": lambda root, kind: of_masks(ours, root, kind),
    "MONAI, three metrics": lambda root, kind: of_masks(monai, root, kind),
}


def run(way: str, root: Path, kind: str) -> dict[str, object]:
    """Seconds and peak GiB of one way in this process, and its scores."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    scores = WAYS[way](root, kind)
    return {"seconds": time.perf_counter() - started, "peak GiB": peak_gib(), "scores": scores}


def measured(way: str, root: Path, kind: str) -> dict[str, object]:
    """`run` in a fresh process."""
    command = [sys.executable, "-m", __spec__.name, "--run", way, str(root), kind]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(said.splitlines()[-1])


def farthest(first: Scores, second: Scores) -> float:
    """The largest difference of any score, as a share of the larger one."""
    values = [np.array([scores[name] for name in TARGETS]) for scores in (first, second)]
    return float((np.abs(values[0] - values[1]) / np.maximum(*np.abs(values)).clip(1e-9)).max())


def compare(root: Path, output_csv: Path) -> None:
    """Make the case, score it in every way and write the record."""
    shape = " x ".join(map(str, write_case(root)))
    rows, apart = [], []
    for kind in PREDICTIONS:
        found = {way: measured(way, root, kind) for way in WAYS}
        plain = found["MONAI, three metrics"]
        for way, figures in found.items():
            rows.append({"prediction": kind, "way": way} | {key: figures[key] for key in ("seconds", "peak GiB")})
            rows[-1]["times MONAI's seconds"] = figures["seconds"] / plain["seconds"]
            apart.append(farthest(figures["scores"], plain["scores"]))
    notes = [
        f"One synthetic case of {shape} voxels with {len(TARGETS)} targets ({', '.join(TARGETS)}), from its files; one "
        "process and one thread for each row, run once. Seconds and peak leave out nothing but the start of Python.",
        f"Compact: each target shifted by {SHIFT} voxels. Scattered: the same and {SPECKS:.1%} of the CT's voxels.",
        "All of rule `score`: Dice, surface Dice and HD95 on the CT's own grid and on one of "
        f"{SPACING_MM} mm, the protocol clip-universal, calibration, error detection, coverage, and the files' hashes.",
        "Three metrics: Dice, surface Dice and HD95 on the CT's own grid; MONAI: `compute_dice`, "
        "`compute_surface_dice`, `compute_hausdorff_distance` on whole volumes. Every process here also "
        "holds PyTorch, which rule `score` does not.",
        f"The scores of all ways are equal but for {max(apart):.0e} of their value.",
    ]
    write_record(output_csv, pd.DataFrame(rows), "Scoring one 512 x 512 x 150 case", notes)


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--output-csv", type=Path, help="table to write, a page beside it")
    wanted.add_argument("--run", nargs=3, metavar=("WAY", "DIR", "KIND"), help="internal: one way of scoring the case")
    arguments = parser.parse_args()
    if arguments.run:
        way, root, kind = arguments.run
        print(json.dumps(run(way, Path(root), kind)))
        return
    arguments.output_csv.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=arguments.output_csv.parent) as root:
        compare(Path(root), arguments.output_csv)


if __name__ == "__main__":
    main()
