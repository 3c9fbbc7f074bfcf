"""Benchmark: harmonising one 512 x 512 x 600 case with this study and with a plain MONAI `Compose`.

    python -m universal_diffusion.benchmarks.harmonise --output-csv F

Each run is a process of its own that starts from the case's `.nii.gz` files; its peak is the largest resident memory
(VmHWM) that it ever had.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import pandas as pd
import torch
from monai.transforms import (
    Compose,
    CropForegroundd,
    LoadImaged,
    Orientationd,
    ScaleIntensityRanged,
    Spacingd,
    SpatialPadd,
)

from universal_diffusion.benchmarks.record import peak_gib, write_record
from universal_diffusion.benchmarks.scans import HU_WINDOW, native
from universal_diffusion.datasets.catalogue import entry
from universal_diffusion.datasets.readers import reader
from universal_diffusion.errors import one_line_errors
from universal_diffusion.phantom.archives.codes import Code, paint
from universal_diffusion.phantom.scanner import Scan
from universal_diffusion.preparation.transforms import harmonise
from universal_diffusion.settings import Preparation
from universal_diffusion.volumes import write_volume

SETTINGS = Preparation((1.5, 1.5, 2.0), HU_WINDOW, 256)
CASE = "amos_0001"
KEYS = ("image", "label")
REPEATS = 3
LIMIT_GIB = 4.0


def file_of(key: str, root: Path) -> Path:
    """Where AMOS keeps the image or the label map of the case."""
    return root / "amos22" / f"{key}sTr" / f"{CASE}.nii.gz"


def write_case(scan: Scan, root: Path) -> None:
    """The scan as a case of AMOS, with its 15 targets."""
    for key, array in zip(KEYS, (scan.image, paint(scan.labels, _codes())), strict=True):
        file_of(key, root).parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(array, scan.affine), file_of(key, root))


def _codes() -> list[Code]:
    return list(entry("amos").labels.items())


def study(root: Path) -> float:
    """This study's reader and harmonisation, and the written volume; returns when the case was read."""
    case = reader("amos", root).read(CASE)
    read = time.perf_counter()
    write_volume(root / f"{CASE}.h5", harmonise(case, SETTINGS))
    return read


def monai(root: Path) -> float:
    """The paper's steps with MONAI's defaults on the one label map, nothing written; returns when the case was read."""
    loaded = LoadImaged(KEYS, ensure_channel_first=True)({key: file_of(key, root) for key in KEYS})
    read = time.perf_counter()
    Compose(
        [
            Orientationd(KEYS, "RAS", labels=None),
            Spacingd(KEYS, SETTINGS.spacing_mm, mode=("bilinear", "nearest")),
            ScaleIntensityRanged("image", *HU_WINDOW, b_min=0.0, b_max=1.0, clip=True),
            CropForegroundd(KEYS, source_key="image"),
            SpatialPadd(KEYS, (SETTINGS.patch, SETTINGS.patch, -1)),
        ]
    )(loaded)
    return read


PIPELINES: dict[str, Callable[[Path], float]] = {"study": study, "monai": monai}


def run(name: str, root: Path) -> dict[str, float]:
    """Seconds, those of them spent reading, and peak GiB of one pipeline, in this process."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    read = PIPELINES[name](root)
    return {
        "seconds": time.perf_counter() - started,
        "of which reading": read - started,
        "peak GiB": peak_gib(),
    }


def measured(name: str, root: Path) -> dict[str, float]:
    """Median seconds and largest peak over repeats in fresh processes."""
    command = [sys.executable, "-m", __spec__.name, "--run", name, str(root)]
    runs = pd.DataFrame(
        json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
        for _ in range(REPEATS)
    )
    return runs.median().to_dict() | {"peak GiB": runs["peak GiB"].max()}


def compare(root: Path, output_csv: Path) -> None:
    """Make the case, run both pipelines on it and write the record."""
    scan = native()
    write_case(scan, root)
    shape = " x ".join(map(str, scan.image.shape))
    del scan
    rows = pd.DataFrame(
        [
            {"pipeline": "this study, volume written"} | measured("study", root),
            {"pipeline": "MONAI Compose, nothing written"} | measured("monai", root),
        ]
    )
    ratio = rows["seconds"][0] / rows["seconds"][1]
    within = "under" if rows["peak GiB"][0] < LIMIT_GIB else "OVER"
    notes = [
        f"One synthetic scan of {shape} voxels with {len(_codes())} targets, from `.nii.gz` to {SETTINGS.spacing_mm} "
        f"mm; one thread, a process for each run, median seconds and largest peak of {REPEATS} runs.",
        f"This study takes {ratio:.2f} times MONAI's wall time; its peak is {within} {LIMIT_GIB:g} GiB.",
        "MONAI: LoadImage, Orientation, Spacing, ScaleIntensityRange, CropForeground, SpatialPad with their defaults. "
        "This study also smooths before coarsening, finds the body, keeps overlapping labels, their volumes and the "
        "native ones, and takes fingerprints.",
    ]
    write_record(output_csv, rows, "Harmonising one 512 x 512 x 600 case", notes)


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--output-csv", type=Path, help="table to write, a page beside it")
    wanted.add_argument("--run", nargs=2, metavar=("PIPELINE", "DIR"), help="internal: one pipeline on the case there")
    arguments = parser.parse_args()
    if arguments.run:
        name, root = arguments.run
        print(json.dumps(run(name, Path(root))))
        return
    arguments.output_csv.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=arguments.output_csv.parent) as root:
        compare(Path(root), arguments.output_csv)


if __name__ == "__main__":
    main()
