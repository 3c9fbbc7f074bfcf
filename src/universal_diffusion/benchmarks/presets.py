"""Benchmark: the three presets of `universal-diffusion segment` end to end, as a person calls it.

    python -m universal_diffusion.benchmarks.presets --model DIR --threads N --output-csv F

One synthetic CT whose truth is known, of a patient of whom no study has a scan; every preset is a command of its own,
timed from its start to its end.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np
import pandas as pd

from universal_diffusion.benchmarks.alone import alone
from universal_diffusion.benchmarks.record import write_record
from universal_diffusion.benchmarks.scans import abdomen
from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.scoring.scores import dice
from universal_diffusion.method.weights import load_card
from universal_diffusion.segmentation.presets import GATE, PRESETS
from universal_diffusion.segmentation.report import read_report
from universal_diffusion.targets import mask

DEFAULT, MATRIX = "default", 512


def write_ct(path: Path, matrix: int) -> dict:
    """A synthetic CT as `.nii.gz`, and its labels (uint32 bits) beside it as `labels.npy`."""
    taken = abdomen(matrix)
    nibabel.save(nibabel.Nifti1Image(taken.image, taken.affine), path)
    np.save(path.parent / "labels.npy", taken.labels)
    return {"shape": list(taken.image.shape)}


def timed(preset: str, model: Path, file: Path, folder: Path, threads: int) -> dict:
    """A row: what a preset is and took, and the mean Dice over the targets that the CT holds."""
    command = [sys.executable, "-m", "universal_diffusion.cli", "segment", "-i", file, "-o", folder, "--model", model]
    named = [] if preset == DEFAULT else [f"--{preset}"]
    started = time.perf_counter()
    subprocess.run([*command, "--threads", str(threads), "--quiet", *named], check=True)
    seconds, report = time.perf_counter() - started, read_report(folder)
    scores = list(dices(report, file.parent / "labels.npy", folder).values())
    return {
        "preset": preset,
        "steps": report["sampling"]["steps"],
        "samples": report["sampling"]["ensemble"],
        "gate": "off" if report["gate"] is None else "on",
        "seconds": seconds,
        "sampling s": report["seconds"]["sample"],
        "peak GiB": report["peak_memory_gib"],
        "Dice %": 100 * float(np.mean(scores)),
        "targets": len(scores),
    }


def dices(report: dict, labels: Path, folder: Path) -> dict[str, float]:
    """Dice, on the CT's own grid, of every target of a result that the truth holds."""
    truth, found = np.load(labels), {}
    for name, told in report["targets"].items():
        if (wanted := mask(truth, name)).any():
            written = np.asarray(nibabel.load(folder / told["files"]["mask"]).dataobj) > 0
            found[name] = dice(wanted, written)
    return found


def notes(rows: pd.DataFrame, shape: list[int], card: dict, threads: int) -> list[str]:
    """What the page says below its table."""
    return [
        f"One synthetic CT of {' x '.join(map(str, shape))} voxels, a patient of whom no study has a scan; model "
        f"{card['study']}/{card['variant']} ({card['cohort']}), all {len(card['targets'])} targets, every output; "
        f"{threads} CPU threads. Each preset once, in a process of its own.",
        "Seconds: from the command to its end, imports and all; sampling: those of the gate and the samples. Peak: "
        "resident memory of the process.",
        f"Dice: mean over the {rows['targets'].iloc[0]} of the targets that the CT holds, on its own grid. In one CT "
        "differences of a few points say nothing; Dice over steps and samples: the study's `tables/sampling.md`.",
        f"Gate: every {GATE.every} slices, probability {GATE.threshold:g}, {GATE.margin_mm:g} mm.",
    ]


@one_line_errors
def main() -> None:
    """Time the presets one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=Path, help="directory of a trained variant")
    parser.add_argument("--threads", required=True, type=int, help="CPU threads")
    parser.add_argument("--output-csv", required=True, type=Path, help="table to write, a page beside it")
    arguments = parser.parse_args()
    arguments.output_csv.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=arguments.output_csv.parent) as place:
        folder = Path(place)
        shape = alone(write_ct, folder / "ct.nii.gz", MATRIX)["shape"]
        rows = [
            timed(preset, arguments.model, folder / "ct.nii.gz", folder / preset, arguments.threads)
            for preset in PRESETS
        ]
    table = pd.DataFrame(rows)
    told = notes(table, shape, load_card(arguments.model), arguments.threads)
    write_record(arguments.output_csv, table, "The presets of universal-diffusion segment, end to end", told)


if __name__ == "__main__":
    main()
