"""The gate: one step, one sample, coarse slices, all targets; what it sees nothing of near by is never sampled.

From pure noise, a network that predicts the mask gives an estimate of z0 in one call, so that one call and one decoding
tell what a window may hold. Looked at are every `every`-th axial slice and the last one. This is the approximation
that makes 29 targets affordable; what it misses is counted in every study (`evaluation/sampling/gate.py`).
"""

import sys
from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm

from universal_diffusion import settings
from universal_diffusion.method.bundle import Bundle
from universal_diffusion.segmentation.sampling.gate_look import looks
from universal_diffusion.segmentation.sampling.image_latents import ImageLatents
from universal_diffusion.segmentation.sampling.kept import Kept
from universal_diffusion.segmentation.sampling.windows import Windows
from universal_diffusion.targets import target


@torch.inference_mode()
def gate(
    bundle: Bundle,
    latents: ImageLatents,
    targets: Sequence[str],
    sampling: settings.Segmentation,
    seed: int,
    show: bool = False,
) -> Kept:
    """Look at a harmonised volume and keep the (target, slice, window) pairs that may hold something.

    A target shows in a window of a slice looked at where its probability, blended in the slice, reaches the threshold
    in a voxel at most `margin_mm` from the window. Kept are these pairs and, of the same target and window, all slices
    up to and including the next ones looked at on both sides; windows without body never are.

    Args:
        latents: of the volume; afterwards it holds those of the slices looked at.
        sampling: `gate` says how to look; with `warm_start` the estimates of kept pairs are kept too.
        seed: of the volume; the gate's noise is a draw of its own for every (target, slice, window).
        show: progress on stderr.

    Raises:
        InputError: the model predicts noise, a target is none of the 29, or the output is not finite.
    """
    names, settled = tuple(target(name).name for name in targets), []
    looked = looked_at(len(latents.body), sampling.gate.every)
    near = torch.from_numpy(within_margin(latents.windows, bundle.card["spacing_mm"][:2], sampling.gate.margin_mm))
    near = near.flatten(1).float().to(bundle.device)
    shown = np.zeros((len(names), len(looked), len(latents.windows)), bool)
    waiting: dict[int, np.ndarray] = {}  # estimates of slices whose next neighbour was not looked at yet

    def settle(before: int) -> None:
        for row in [row for row in waiting if row < before]:
            kept = shown[:, max(row - 1, 0) : row + 2].any(1) & latents.body[looked[row]]
            settled.append(waiting.pop(row)[kept])

    for row, probabilities, estimates in tqdm(
        looks(bundle, latents, names, sampling, seed, looked),
        "gate",
        len(looked),
        unit="slice",
        disable=not show,
        file=sys.stderr,
    ):
        found = (probabilities >= sampling.gate.threshold).flatten(1).float()
        shown[:, row] = (found @ near.T > 0).cpu().numpy()
        if sampling.warm_start is not None:
            waiting[row] = estimates.half().cpu().numpy()
            settle(row)
    settle(len(looked))
    kept = np.concatenate(settled) if settled else np.zeros((0, 0, 0, 0), np.float16)
    return Kept(names, latents.windows, latents.body, looked, spread(shown, looked, latents.body), kept)


def looked_at(depth: int, every: int) -> np.ndarray:
    """(L,) int64: slices 0, every, 2 every, ... and the last of `depth`."""
    return np.union1d(np.arange(0, depth, every), depth - 1)


def within_margin(windows: Windows, spacing_mm: Sequence[float], margin_mm: float) -> np.ndarray:
    """(W, X, Y) bool: the voxels of a slice whose centre is at most `margin_mm` from a voxel's centre of the window."""
    near = np.zeros((len(windows), *windows.padded), bool)
    x, y = np.ogrid[: windows.padded[0], : windows.padded[1]]
    for window in range(len(windows)):
        squared = 0
        for place, along, spacing in zip(windows.place(window), (x, y), spacing_mm, strict=True):
            beyond = np.maximum(np.maximum(place.start - along, along - (place.stop - 1)), 0)
            squared = squared + (beyond * spacing) ** 2
        near[window] = squared <= margin_mm**2
    return windows.crop(near)


def spread(shown: np.ndarray, looked: np.ndarray, body: np.ndarray) -> np.ndarray:
    """From what shows in the slices looked at to the pairs kept: (K, L, W), (L,), (Z, W) -> (K, Z, W) bool."""
    pairs = np.zeros((len(shown), *body.shape), bool)
    for row in range(len(looked)):
        below, above = looked[max(row - 1, 0)], looked[min(row + 1, len(looked) - 1)]
        pairs[:, below : above + 1] |= shown[:, row, None]
    return pairs & body
