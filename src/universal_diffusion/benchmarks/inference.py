"""Benchmark: a whole CT and all 29 targets by networks of the paper's size, beside what people would pick instead.

    python -m universal_diffusion.benchmarks.inference --paper config/paper.yaml --output-csv F

Random weights on one synthetic CT, so this is about time, operations and memory alone. Every system is a process of its
own. It ends within minutes anywhere: a cell that would take longer is told from a part of its work.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import yaml

from universal_diffusion.benchmarks.alone import DTYPES, alone, device_peak, found_device
from universal_diffusion.benchmarks.at_scale import NAMES, PRECISION, SLICES, Cell, write_ct
from universal_diffusion.benchmarks.denoisers import GUIDED_DIFFUSION, SAME
from universal_diffusion.benchmarks.others_at_scale import BATCH, pixel, plain, volumetric
from universal_diffusion.benchmarks.parts import PARTS
from universal_diffusion.benchmarks.record import write_record
from universal_diffusion.benchmarks.volumetric import NNUNET, OUTPUTS, OVERLAP, SEGRESNET, WINDOW
from universal_diffusion.benchmarks.whole_ct import engine
from universal_diffusion.errors import one_line_errors
from universal_diffusion.settings import Study, read

OURS, PLAIN = "this study, gate off", "the plain way"
CELLS = {OURS: [(steps, ensemble) for ensemble in (1, 5) for steps in (1, 5, 20)]}
CELLS |= {system: [(1, 1), (5, 1)] for system in (PLAIN, SAME, GUIDED_DIFFUSION)}
NO_CELL = [("–", "–")]  # of a network that does not sample
BUDGET = {"cuda": {OURS: 40.0}, "cpu": {}}  # seconds of work for a cell
OTHERWISE = {"cuda": 15.0, "cpu": 4.0}
GOAL, GOAL_SECONDS = (5, 1), 60.0  # on an H200
MEASURES = {"seconds": "time", "PFLOP": "operations", "peak GiB": "memory"}


def works(study: Study, ct: Path, device: str, threads: int) -> dict[str, Callable[[], dict]]:
    """What is run, by system."""

    def budget(system: str) -> float:
        return BUDGET[device].get(system, OTHERWISE[device])

    sampled = {
        OURS: engine,
        PLAIN: plain,
        SAME: partial(pixel, SAME),
        GUIDED_DIFFUSION: partial(pixel, GUIDED_DIFFUSION),
    }
    runs = {
        name: partial(alone, work, study, ct, CELLS[name], device, threads, budget(name))
        for name, work in sampled.items()
    }
    for name in (SEGRESNET, NNUNET):
        runs[name] = partial(alone, volumetric, name, ct, device, threads, budget(name))
    return runs


def compare(study: Study, ct: Path, device: str, threads: int) -> tuple[pd.DataFrame, float]:
    """A row per system and cell; and the peak that they are set beside, in TFLOP/s."""
    peak, rows = alone(device_peak, device, DTYPES[PRECISION[device]], threads)["peak TFLOP/s"], []
    for system, work in works(study, ct, device, threads).items():
        found = work()
        for cell, figures in zip(CELLS.get(system, NO_CELL), found["rows"], strict=True):
            rows.append(_row(system, cell, figures, peak) | {"peak GiB": found["peak GiB"]})
    table = pd.DataFrame(rows)
    return table[[column for column in table if column != "peak GiB"] + ["peak GiB"]], peak


def _row(system: str, cell: Cell | tuple[str, str], figures: dict[str, float], peak: float) -> dict:
    achieved = figures["operations"] / figures["seconds"] / 1e12
    shares = {f"{part} %": figures.get(f"{part} %", float("nan")) for part in (*PARTS, "other")}
    return {
        "system": system,
        "steps": cell[0],
        "ensemble": cell[1],
        "seconds": figures["seconds"],
        "measured %": figures["measured %"],
        "PFLOP": figures["operations"] / 1e15,
        "TFLOP/s": achieved,
        "% of peak": 100 * achieved / peak,
        **shares,
    }


def report(rows: pd.DataFrame, study: Study, peak: float, device: str, threads: int) -> list[str]:
    """What the page says below its table."""
    table = rows.set_index(["system", "steps", "ensemble"])
    on_cpu = (
        ""
        if device == "cuda"
        else (
            " There is no GPU here: this study did one window of one target, the others what their budget allows, so "
            "that all seconds are extrapolations, and this study's memory is that of one window; such a record shows "
            "that the code runs."
        )
    )
    return [
        f"On {device}, {threads} CPU threads, {PRECISION[device]}: one synthetic CT of 512 x 512 x {SLICES} voxels, "
        f"harmonised to {study.preparation.spacing_mm} mm; {len(NAMES)} targets; networks of `config/paper.yaml` with "
        f"random weights; windows of {study.preparation.patch} x {study.preparation.patch}, overlap "
        f"{study.segmentation.overlap:g}. After reading, before export.{on_cpu}",
        "Measured %: the share of a cell's work that really ran before its budget of time was spent; the seconds of "
        "the rest are told from it. Of a diffusion outside this study's engine one target's pass stands for all.",
        f"% of peak: of the faster of a product of large matrices and a large convolution of the same type here, "
        f"{peak:.3g} TFLOP/s. "
        "Encode, features, denoise, decode: the networks' share of the seconds, by the device's clock; other: noise, "
        "blending, copies, waiting. The gate is off, because random weights find nothing to drop.",
        _goal(table, device),
        *[_ratio(table, system, cell) for system in (PLAIN, SAME, GUIDED_DIFFUSION) for cell in CELLS[system]],
        *[_against(table, system) for system in (SEGRESNET, NNUNET)],
        "The plain way and both denoisers of pixel space: MONAI's inferers, target by target, batches of "
        f"{BATCH[device]}, nothing kept from one step or target to the next. This study's batch is measured on a GPU "
        "(in its seconds) and takes memory for time. Loading and the first use of each kernel are in nobody's seconds.",
        f"3-D networks: windows of {WINDOW} x {WINDOW} x {WINDOW} with overlap {OVERLAP:g}, one at a time, {OUTPUTS} "
        "outputs in one pass, no mirroring. SegResNet: 32 filters, blocks 1, 2, 2, 4. nnU-Net's plain U-Net: the "
        "3d_fullres plan, 6 stages, 32 to 320 features, as MONAI's DynUNet.",
    ]


def _goal(table: pd.DataFrame, device: str) -> str:
    text = f"Goal: under {GOAL_SECONDS:g} s at {GOAL[0]} steps, ensemble {GOAL[1]}, on an H200"
    if device == "cpu":
        return f"{text}: not known yet, because there is no GPU here."
    seconds = table.loc[(OURS, *GOAL), "seconds"]
    return f"{text}: {seconds:.3g} s here, {'reached' if seconds < GOAL_SECONDS else 'NOT reached'}."


def _ratio(table: pd.DataFrame, system: str, cell: Cell) -> str:
    other, own = (table.loc[(name, *cell)] for name in (system, OURS))
    factors = ", ".join(f"{other[column] / own[column]:.2g} times the {what}" for column, what in MEASURES.items())
    return f"{_steps(cell)}, ensemble {cell[1]}: {system} takes {factors} of this study's engine."


def _steps(cell: Cell) -> str:
    return f"{cell[0]} step{'s' * (cell[0] > 1)}"


def _against(table: pd.DataFrame, system: str) -> str:
    other = table.loc[(system, *NO_CELL[0])]
    factors = [
        f"{table.loc[(OURS, *cell), 'seconds'] / other['seconds']:.3g} times its seconds at {_steps(cell)}"
        for cell in ((1, 1), (5, 1))
    ]
    return f"Beside {system}, this study's engine takes {' and '.join(factors)} (ensemble 1)."


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", required=True, type=Path, help="the configuration whose networks are measured")
    parser.add_argument("--output-csv", required=True, type=Path, help="table to write, a page beside it")
    arguments = parser.parse_args()
    study = read(Study, yaml.safe_load(arguments.paper.read_text(encoding="utf-8")))
    device, threads = found_device(study)
    arguments.output_csv.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=arguments.output_csv.parent) as folder:
        ct = Path(folder, "ct.npy")
        write_ct(ct, study)
        rows, peak = compare(study, ct, device, threads)
    notes = report(rows, study, peak, device, threads)
    write_record(arguments.output_csv, rows, "Inference on a whole CT, at the paper's scale", notes)


if __name__ == "__main__":
    main()
