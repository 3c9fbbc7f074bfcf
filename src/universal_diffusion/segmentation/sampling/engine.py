"""The engine: every target of a harmonised volume, slab by slab of axial slices (paper, section 3.1).

Inside a slab the (slice, window, target) triples run on in batches of one size, each with all its samples. A window's
image latent is computed once per volume, the class-aware features once per triple. As soon as a slice's last window
is in, its samples are blended and folded into mean and variance, so that no more than these exist of any volume.

Memory on the host, for K targets, E samples and slabs of S slices of X x Y voxels:
    8 K X Y S bytes of maps (at most `SLAB_BYTES`, but for a single slice) + 4 K (2 E + 4) X Y of the slice at hand (on
    the device) + 4 C h w for each of the volume's windows + what the networks need for one batch.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from universal_diffusion import settings
from universal_diffusion.errors import InputError
from universal_diffusion.method.bundle import Bundle
from universal_diffusion.segmentation.sampling.batch_size import batch_size
from universal_diffusion.segmentation.sampling.blend import SliceBlend, SliceMaps
from universal_diffusion.segmentation.sampling.image_latents import ImageLatents
from universal_diffusion.segmentation.sampling.kept import Kept
from universal_diffusion.segmentation.sampling.window_sampler import WindowSampler
from universal_diffusion.targets import target

SLAB_BYTES = 256 * 2**20
DEEPEST_SLAB = 64


@dataclass(frozen=True)
class SlabMaps:
    """All targets in one slab of axial slices.

    Attributes:
        first: axial slice that the slab starts at.
        mean, variance: (K, X, Y, S) float32, targets in the order asked: of P(voxel in target) over the ensemble.
        voxels: (K, E) int64, voxels of the slab in which sample e is at least 0.5.
    """

    first: int
    mean: np.ndarray
    variance: np.ndarray
    voxels: np.ndarray


def slab_depth(shape: tuple[int, int], targets: int) -> int:
    """Slices S of a slab, from the (X, Y) of a slice and K."""
    return min(DEEPEST_SLAB, max(1, SLAB_BYTES // (8 * targets * shape[0] * shape[1])))


def sampled_pairs(body: np.ndarray, targets: int, kept: Kept | None) -> np.ndarray:
    """(K, Z, W) bool: the windows that are sampled for a target: those with body (Z, W), and of these those kept."""
    return np.repeat(body[None], targets, axis=0) if kept is None else kept.pairs


@torch.inference_mode()
def segment_slabs(
    bundle: Bundle,
    latents: ImageLatents,
    targets: Sequence[str],
    sampling: settings.Segmentation,
    seed: int,
    kept: Kept | None = None,
    done: Collection[int] = (),
    advance: Callable[[int], None] = lambda rows: None,
) -> Iterator[SlabMaps]:
    """Sample every target of a harmonised volume; slabs whose first slice is in `done` are left out.

    Sample s of the volume is the Gaussian-weighted blend of the s-th samples of its windows; mean and (population)
    variance are taken over the `sampling.ensemble` samples of the volume. Where no window was sampled both are 0.

    Args:
        latents: of the volume.
        seed: the noise depends on it and on target, sample, window and step.
        kept: the pairs to be sampled; all windows with body when None.
        advance: told the (window, target, sample) rows that were sampled, batch by batch.

    Raises:
        InputError: a target is none of the 29, or the model's output is not finite.
    """
    names = tuple(target(name).name for name in targets)
    sampling = replace(sampling, batch=sampling.batch or batch_size(bundle, sampling))
    pairs = sampled_pairs(latents.body, len(names), kept)
    sampler = WindowSampler(bundle, latents, names, sampling, seed, kept)
    depth = slab_depth(latents.windows.shape, len(names))
    for first in range(0, len(latents.body), depth):
        if first not in done:
            yield _segment_slab(sampler, pairs[:, first : first + depth], first, advance)


def _segment_slab(sampler: WindowSampler, pairs: np.ndarray, first: int, advance: Callable[[int], None]) -> SlabMaps:
    """`pairs` (K, S, W) of the slab that starts at slice `first`."""
    windows, ensemble = sampler.latents.windows, sampler.sampling.ensemble
    targets, depth, _ = pairs.shape
    mean, variance = np.zeros((2, depth, targets, *windows.shape), np.float32)
    voxels = np.zeros((targets, ensemble), np.int64)
    blend = SliceBlend(windows, targets, ensemble, sampler.bundle.device)

    def finish(z: int) -> None:
        maps = blend.finish()
        refuse_broken(maps, sampler.names)
        mean[z - first], variance[z - first] = maps.mean.cpu().numpy(), maps.variance.cpu().numpy()
        voxels[:] += maps.voxels.cpu().numpy()

    triples = np.argwhere(pairs.transpose(1, 2, 0)) + np.array([first, 0, 0])  # (z, window, k), the last fastest
    if len(triples):
        sampler.latents.of(np.unique(triples[:, :2], axis=0))  # in full batches, as the triples would not ask for them
    current = None
    for begin in range(0, len(triples), sampler.triples):
        batch = triples[begin : begin + sampler.triples]
        probabilities = sampler(batch)
        for rows in _runs(batch[:, :2]):
            z, window = map(int, batch[rows.start, :2])
            if current not in (None, z):
                finish(current)
            current = z
            blend.add(window, batch[rows, 2], probabilities[rows])
        advance(len(batch) * ensemble)
    if current is not None:
        finish(current)
    return SlabMaps(first, np.moveaxis(mean, 0, 3), np.moveaxis(variance, 0, 3), voxels)


def _runs(places: np.ndarray) -> Iterator[slice]:
    """Slices of the rows that follow one another with the same place: (N, 2) -> rows."""
    edges = [0, *np.flatnonzero((places[1:] != places[:-1]).any(1)) + 1, len(places)]
    return (slice(int(start), int(stop)) for start, stop in pairwise(edges))


def refuse_broken(maps: SliceMaps, names: Sequence[str]) -> None:
    """Raise InputError for the first target whose probabilities are not finite."""
    finite = torch.isfinite(maps.mean).all(2).all(1)
    if not finite.all():
        name = names[finite.tolist().index(False)]
        raise InputError("model", f"gives numbers that are not finite for {name}", "train it again; this one is broken")
