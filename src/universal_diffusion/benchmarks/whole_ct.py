"""This study's engine on a whole CT, with the paper's networks: seconds of every cell, and where they go.

A GPU does the whole CT where a cell's budget of time allows, otherwise its first slabs; a CPU does one window of one
target. What was not done is told from what was: encoding in proportion to the windows, all else to the pairs of window
and target.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from universal_diffusion.benchmarks.at_scale import (
    NAMES,
    SEED,
    Cell,
    operations,
    random_bundle,
    sampling_of,
    windows_of,
)
from universal_diffusion.benchmarks.parts import ENCODE, PARTS, Parts
from universal_diffusion.method.bundle import Bundle
from universal_diffusion.segmentation.sampling.batch_size import batch_size
from universal_diffusion.segmentation.sampling.engine import segment_slabs
from universal_diffusion.segmentation.sampling.image_latents import ImageLatents
from universal_diffusion.segmentation.sampling.run import ENCODED
from universal_diffusion.segmentation.sampling.runtime import start_torch
from universal_diffusion.settings import Segmentation, Study


def engine(study: Study, ct: Path, cells: Sequence[Cell], device: str, threads: int, budget: float) -> dict:
    """Without the gate: a row per cell, under "rows"."""
    start_torch(threads, device)
    image, bundle, rows = np.load(ct), random_bundle(study, device), []
    _, windows = windows_of(study, image)
    started = time.perf_counter()
    batch = batch_size(bundle, sampling_of(study, device, cells[0]))
    measuring = time.perf_counter() - started
    for cell in cells:
        given, names = (image, NAMES) if device == "cuda" else (_one_window(study, image), NAMES[:1])
        sampling = replace(sampling_of(study, device, cell), batch=batch if device == "cuda" else cell[1])
        if device == "cuda" or not rows:
            first_slabs(bundle, given[..., :1], names, sampling, 0.0)  # warms up
        figures = first_slabs(bundle, given, names, sampling, budget)
        _, done = windows_of(study, given[..., : figures["slices"]])
        rows.append(whole(figures, windows / done, len(NAMES) / len(names), measuring))
        rows[-1]["operations"] = operations(bundle, windows, cell, cached=True)
    return {"rows": rows}


def _one_window(study: Study, image: np.ndarray) -> np.ndarray:
    patch, middle = study.preparation.patch, image.shape[2] // 2
    x, y = ((size - patch) // 2 for size in image.shape[:2])
    return np.ascontiguousarray(image[x : x + patch, y : y + patch, middle : middle + 1])


def first_slabs(
    bundle: Bundle, image: np.ndarray, names: Sequence[str], sampling: Segmentation, budget: float
) -> dict[str, float]:
    """Sample slabs until `budget` seconds are spent: "seconds", those of each part, and "slices" done."""
    encoded = min(ENCODED, sampling.batch)
    with Parts(bundle) as parts:
        started, slices = time.perf_counter(), 0
        latents = ImageLatents(bundle, image, sampling.overlap, encoded)
        for slab in segment_slabs(bundle, latents, names, sampling, SEED):
            slices += slab.mean.shape[3]
            spent = time.perf_counter() - started
            if spent > budget:
                break
    return {"seconds": spent, "slices": slices} | parts.seconds


def whole(figures: dict[str, float], more_windows: float, more_targets: float, once: float) -> dict[str, float]:
    """Seconds of the whole CT from those of a part of it, and the share of each part of the work.

    Args:
        more_windows: windows of the whole CT for each that was done; `more_targets` likewise.
        once: seconds that any CT takes besides.
    """
    pairs = more_windows * more_targets
    spent = {part: figures[part] * (more_windows if part == ENCODE else pairs) for part in PARTS}
    spent["other"] = (figures["seconds"] - sum(figures[part] for part in PARTS)) * pairs + once
    seconds = sum(spent.values())
    return {"seconds": seconds, "measured %": 100 / pairs} | {
        f"{part} %": 100 * s / seconds for part, s in spent.items()
    }
