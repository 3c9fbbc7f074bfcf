"""What a whole CT costs otherwise: the plain way, diffusion in pixel space, discriminative 3-D networks.

All run in MONAI's sliding window over the whole CT, once; a diffusion needs such a pass for every target and sample.
Each predictor works until its budget of time is spent (`budget.Budgeted`) and pretends from then on.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from monai.inferers import DiffusionInferer
from torch import Tensor, nn

from universal_diffusion.benchmarks.alone import autocast, wait
from universal_diffusion.benchmarks.at_scale import (
    NAMES,
    PRECISION,
    SEED,
    Cell,
    operations,
    random_bundle,
    sampling_of,
    windows_of,
)
from universal_diffusion.benchmarks.budget import Budgeted
from universal_diffusion.benchmarks.denoisers import subject
from universal_diffusion.benchmarks.plain_inference import SW_BATCH, as_slices, one_pass, plain_predictor, scheduler_of
from universal_diffusion.benchmarks.volumetric import NETWORKS, WINDOW
from universal_diffusion.benchmarks.volumetric import one_pass as volumetric_pass
from universal_diffusion.evaluation.beyond.cost import flops
from universal_diffusion.method.bundle import process_of
from universal_diffusion.settings import Study

BATCH = {"cuda": SW_BATCH, "cpu": 1}  # windows at once


class InPixels(nn.Module):
    """A denoiser of pixel space as MONAI's inferers call a diffusion model; `context` is the image itself."""

    def __init__(self, name: str, study: Study):
        super().__init__()
        self.module = subject(name, study).module

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """(N, 1, P, P) noisy masks -> the predicted ones."""
        ids = torch.ones(len(x), dtype=torch.int64, device=x.device)
        return self.module(x, timesteps, ids, context).chunk(2, dim=1)[0].float()


def plain(study: Study, ct: Path, cells: Sequence[Cell], device: str, threads: int, budget: float) -> dict:
    """The plain way of the same latent diffusion: a row per cell, under "rows"."""
    bundle = random_bundle(study, device)

    def predictor(cell: Cell) -> Callable:
        return plain_predictor(bundle, NAMES[0], sampling_of(study, device, cell), SEED, 0)

    rows, windows = _passes(study, ct, cells, device, threads, budget, predictor)
    counts = [operations(bundle, windows, cell, cached=False) for cell in cells]
    return {"rows": [row | {"operations": count} for row, count in zip(rows, counts, strict=True)]}


def pixel(name: str, study: Study, ct: Path, cells: Sequence[Cell], device: str, threads: int, budget: float) -> dict:
    """One of `benchmarks.denoisers`' networks of pixel space: a row per cell, under "rows"."""
    with torch.device(device):
        model = InPixels(name, study).eval().requires_grad_(False)
    process = process_of({"schedule": study.diffusion.schedule, "timesteps": study.diffusion.timesteps})

    def predictor(cell: Cell) -> Callable:
        inferer = DiffusionInferer(scheduler_of(process, "mask", cell[0]))
        return partial(_sampled, inferer, model, PRECISION[device])

    rows, windows = _passes(study, ct, cells, device, threads, budget, predictor)
    with torch.device("meta"):
        counted, patch, step = InPixels(name, study), torch.zeros(1, 1, *[study.preparation.patch] * 2), torch.ones(1)
        each = flops(lambda: counted(patch, step, patch))
    counts = [windows * len(NAMES) * steps * ensemble * each for steps, ensemble in cells]
    return {"rows": [row | {"operations": count} for row, count in zip(rows, counts, strict=True)]}


def _sampled(inferer: DiffusionInferer, model: nn.Module, precision: str, patches: Tensor, places: list) -> Tensor:
    with autocast(patches.device.type, precision):
        return inferer.sample(torch.randn_like(patches), model, conditioning=patches, verbose=False)


@torch.inference_mode()
def _passes(
    study: Study, ct: Path, cells: Sequence[Cell], device: str, threads: int, budget: float, predictor: Callable
) -> tuple[list[dict], int]:
    """Seconds of each cell, from one pass over all windows; and the number of windows of a pass."""
    torch.set_num_threads(threads)
    image, patch, overlap, rows = np.load(ct), study.preparation.patch, study.segmentation.overlap, []
    slices = as_slices(image, device)
    for cell in cells:
        if device == "cuda" or not rows:
            one_pass(slices[:1], patch, overlap, BATCH[device], Budgeted(predictor(cell), device, 0.0))  # warms up
        budgeted, started = Budgeted(predictor(cell), device, budget), time.perf_counter()
        one_pass(slices, patch, overlap, BATCH[device], budgeted)
        wait(device)
        seconds = time.perf_counter() - started + budgeted.missing_seconds
        passes = len(NAMES) * cell[1]
        rows.append({"seconds": passes * seconds, "measured %": 100 * budgeted.share / passes})
    return rows, windows_of(study, image)[0]


@torch.inference_mode()
def volumetric(name: str, ct: Path, device: str, threads: int, budget: float) -> dict:
    """One of the discriminative 3-D networks: all targets in one pass; a row under "rows"."""
    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    network = NETWORKS[name]().eval().to(device)
    image = torch.from_numpy(np.load(ct))[None, None].to(device)

    def logits(patches: Tensor) -> Tensor:
        with autocast(device, PRECISION[device]):
            return network(patches).float()

    if device == "cuda":
        logits(torch.zeros(1, 1, *[WINDOW] * 3, device=device))  # warms up
    budgeted, started = Budgeted(logits, device, budget), time.perf_counter()
    volumetric_pass(budgeted, image)
    wait(device)
    seconds = time.perf_counter() - started + budgeted.missing_seconds
    with torch.device("meta"):
        counted = NETWORKS[name]()
        each = flops(lambda: counted(torch.zeros(1, 1, *[WINDOW] * 3)))
    count = each * (budgeted.worked + budgeted.pretended)
    return {"rows": [{"seconds": seconds, "measured %": 100 * budgeted.share, "operations": count}]}
