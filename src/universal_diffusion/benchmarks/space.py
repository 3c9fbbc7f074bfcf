"""Benchmark: the denoiser in latent space against denoisers of pixel space, forward and training.

    python -m universal_diffusion.benchmarks.space --paper config/paper.yaml --output-csv F

One step of one patch and target, with random weights, in a process for each measurement. In pixel space: the same
network on the patch's own grid, guided by the image itself, and the network of guided-diffusion's usual flags.
"""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pandas as pd
import torch
import yaml
from torch import Tensor

from universal_diffusion.benchmarks.alone import alone, autocast, found_device, scaled, wait
from universal_diffusion.benchmarks.denoisers import GUIDED_DIFFUSION, LATENT, SAME, WHOLE, Subject, subject
from universal_diffusion.benchmarks.record import seconds, write_record
from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.beyond.cost import flops
from universal_diffusion.settings import Study, read

REPEATS = {"cuda": 20, "cpu": 1}
WARM = {"cuda": 5, "cpu": 1}


def step_of(compared: Subject, batch: int, training: bool, precision: AbstractContextManager) -> Callable[[], object]:
    """One forward pass over `batch` patches under `precision`, or one forward and backward pass."""
    one = torch.ones(batch, dtype=torch.int64)
    given = torch.zeros(batch, *compared.noisy), one, one, torch.zeros(batch, *compared.image)

    def forward() -> Tensor:
        with torch.set_grad_enabled(training), precision:
            return compared.module(*given)

    return (lambda: forward().float().square().mean().backward()) if training else forward


def counted(name: str, study: Study, training: bool) -> int:
    """Operations of one patch's step."""
    with torch.device("meta"):
        return flops(step_of(subject(name, study), 1, training, nullcontext()))


def measured(name: str, study: Study, batch: int, training: bool, device: str, threads: int) -> dict[str, float]:
    """Milliseconds per patch of one step over a batch; of a training step with its optimiser."""
    torch.set_num_threads(threads)
    settings = study.denoiser.training
    with torch.device(device):
        compared = subject(name, study)
        work = step_of(compared, batch, training, autocast(device, settings.precision))
    optimiser = torch.optim.AdamW([p for p in compared.module.parameters() if p.requires_grad], lr=1e-4)
    if settings.compile:
        compared.module.compile()

    def step() -> None:
        work()
        if training:
            optimiser.step()
            optimiser.zero_grad()
        wait(device)

    for _ in range(WARM[device]):
        step()
    return {"ms per patch": 1000 * seconds(step, REPEATS[device]) / batch}


def compare(study: Study, device: str, threads: int) -> pd.DataFrame:
    """A row per network and kind of step."""
    rows = []
    for name in (LATENT, WHOLE, SAME, GUIDED_DIFFUSION):
        batch = study.denoiser.training.batch
        if name in (SAME, GUIDED_DIFFUSION):  # as many pixels as the latent batch has
            batch = max(1, batch // 4 ** (len(study.mask_autoencoder.channels) - 1))
        for training in (False, True):
            figures = alone(measured, name, study, batch, training, device, threads)
            gigaflops = counted(name, study, training) / 1e9
            achieved = gigaflops / figures["ms per patch"]
            row = {"denoiser": name, "step": "training" if training else "forward", "batch": batch}
            row |= {"ms per patch": figures["ms per patch"], "GFLOP per patch": gigaflops}
            rows.append(row | {"TFLOP/s": achieved, "peak GiB": figures["peak GiB"]})
    return pd.DataFrame(rows)


def report(rows: pd.DataFrame, study: Study, device: str, threads: int) -> list[str]:
    """What the page says below its table."""
    settings, table = study.denoiser.training, rows.set_index(["step", "denoiser"])
    ratios = [
        f"A {step} step of one patch takes {_ratio(table, step, other, 'ms per patch'):.1f} times the time and "
        f"{_ratio(table, step, other, 'GFLOP per patch'):.1f} times the operations of the latent denoiser with its "
        f'auto-encoders in the row "{other}".'
        for step in ("forward", "training")
        for other in (SAME, GUIDED_DIFFUSION)
    ]
    return [
        f"On {device}, {threads} CPU threads, {settings.precision}, patches of {study.preparation.patch} x "
        f"{study.preparation.patch}, random weights, no data read; median of {REPEATS[device]} steps after "
        f"{WARM[device]}. Each measurement is a process of its own; peak: of the device's memory, all of it.",
        'Operations are counted by torch. "With its auto-encoders": forward also encodes the image and decodes '
        "the mask, once for all steps of a window; training encodes both.",
        *ratios,
    ]


def _ratio(table: pd.DataFrame, step: str, other: str, column: str) -> float:
    return table.loc[(step, other), column] / table.loc[(step, WHOLE), column]


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", required=True, type=Path, help="the configuration whose denoiser is measured")
    parser.add_argument("--output-csv", required=True, type=Path, help="table to write, a page beside it")
    arguments = parser.parse_args()
    paper = read(Study, yaml.safe_load(arguments.paper.read_text(encoding="utf-8")))
    device, threads = found_device(paper)
    study = scaled(paper, device)
    rows = compare(study, device, threads)
    write_record(arguments.output_csv, rows, "Latent against pixel space", report(rows, study, device, threads))


if __name__ == "__main__":
    main()
