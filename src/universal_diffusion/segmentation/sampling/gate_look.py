"""What the gate sees: one step and one sample of each (slice, window, target), blended slice by slice."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from universal_diffusion import settings
from universal_diffusion.errors import InputError
from universal_diffusion.method.bundle import Bundle
from universal_diffusion.randomness import seed_of
from universal_diffusion.segmentation.sampling.batch_size import batch_size
from universal_diffusion.segmentation.sampling.blend import SliceBlend
from universal_diffusion.segmentation.sampling.engine import refuse_broken
from universal_diffusion.segmentation.sampling.image_latents import ImageLatents
from universal_diffusion.segmentation.sampling.window_sampler import WindowSampler


def looks(
    bundle: Bundle,
    latents: ImageLatents,
    names: Sequence[str],
    sampling: settings.Segmentation,
    seed: int,
    looked: np.ndarray,
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Those of the slices `looked` at (L,) that hold body, in their order.

    Yields:
        The slice's row in `looked`; probabilities (K, X, Y) blended from its windows with body, 0 outside them;
        estimates of z0 (K, W, C, h, w) float32, 0 in windows without body.

    Raises:
        InputError: the model predicts noise, or its output is not finite.
    """
    sampler = _sampler(bundle, latents, names, sampling, seed)
    blend = SliceBlend(latents.windows, len(names), 1, bundle.device)
    body = latents.body[looked]  # (L, W)
    triples = np.argwhere(np.repeat(body[..., None], len(names), axis=2))  # (row of `looked`, window, k)
    estimates, ends = None, {int(row): int(np.flatnonzero(body[row])[-1]) for row in np.unique(triples[:, 0])}
    for first in range(0, len(triples), sampler.triples):
        asked = triples[first : first + sampler.triples]
        (drawn,) = sampler.sampled(np.column_stack([looked[asked[:, 0]], asked[:, 1:]]))
        probabilities = sampler.decode(drawn)
        for row, window in np.unique(asked[:, :2], axis=0).tolist():
            mine = np.flatnonzero((asked[:, :2] == (row, window)).all(1))
            targets = asked[mine, 2]
            if estimates is None:
                estimates = drawn.new_zeros(len(names), len(latents.windows), *drawn.shape[2:])
            estimates[targets.tolist(), window] = drawn[mine.tolist(), 0]
            blend.add(window, targets, probabilities[mine.tolist()])
            if window == ends[row] and targets[-1] == len(names) - 1:
                maps = blend.finish()
                refuse_broken(maps, names)
                yield row, maps.mean, estimates
                estimates = None


def _sampler(
    bundle: Bundle, latents: ImageLatents, names: Sequence[str], sampling: settings.Segmentation, seed: int
) -> WindowSampler:
    """The engine's, for one step from pure noise and one sample, with noise of its own."""
    if bundle.prediction != "mask":
        problem = "predicts noise, which says nothing of the mask in one step: there is no gate for it"
        raise InputError("model", problem, "set segmentation.gate to null, or take a model that predicts the mask")
    batch = sampling.batch or batch_size(bundle, sampling)
    once = replace(sampling, sampler="ddim", steps=1, eta=0.0, ensemble=1, batch=batch, warm_start=None)
    return WindowSampler(bundle, latents, names, once, seed_of(seed, "gate"), None)
