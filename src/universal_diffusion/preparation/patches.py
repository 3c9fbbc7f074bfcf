"""Training patches, drawn from the stored volumes without reading them whole (paper, section 3.1).

Datasets are drawn uniformly, then a case, then several patches of that case. The target of a patch is drawn uniformly
among those annotated in the case, absent ones included, so the empty mask of a true absence is learnt; a target that
is present is shown with a set probability, and otherwise the patch lies anywhere.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from universal_diffusion.datasets import catalogue
from universal_diffusion.errors import InputError
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.settings import Patches
from universal_diffusion.targets import target
from universal_diffusion.volumes import VolumeFile

OPEN_FILES = 128


@dataclass(frozen=True)
class PatchOrigin:
    """Where a patch was cut: its first voxel (x, y) in axial slice z of a harmonised case."""

    source: str
    case: str
    z: int
    x: int
    y: int


@dataclass(frozen=True)
class PatchBatch:
    """`image` (B, 1, P, P) float32 in [0, 1], `mask` (B, 1, P, P) float32 0 or 1, `target_ids` (B,) int64 1 to 29."""

    image: np.ndarray
    mask: np.ndarray
    target_ids: np.ndarray
    origins: tuple[PatchOrigin, ...]


class PatchSampler:
    """Draws batches of (patch x patch) axial patches; batch `index` depends on the seed and `index` alone.

    Args:
        volumes: stored cases; all must be annotated for some target and at least `patch` wide and high.
        patch: P, in voxels.
    """

    def __init__(self, volumes: Sequence[Path], settings: Patches, patch: int, seed: int):
        self._settings, self._patch, self._seed = settings, patch, seed
        self._open: OrderedDict[Path, VolumeFile] = OrderedDict()
        by_dataset = defaultdict(list)
        for path in volumes:
            with VolumeFile(path) as volume:
                _check(volume, patch)
                by_dataset[catalogue.entry(volume.source).dataset].append(((volume.source, volume.case), path))
        if not by_dataset:
            raise InputError("volumes", "are none", "the split leaves no case to draw patches from")
        self._datasets = [[path for _, path in sorted(by_dataset[name])] for name in sorted(by_dataset)]

    def draw(self, index: int, count: int) -> PatchBatch:
        """Batch `index` of `count` patches; every `per_case` of them come from one case."""
        generator = numpy_generator(self._seed, "patches", index)
        drawn = []
        while len(drawn) < count:
            cases = self._datasets[generator.integers(len(self._datasets))]
            volume = self._volume(cases[generator.integers(len(cases))])
            patches = min(self._settings.per_case, count - len(drawn))
            drawn += [self._one(volume, generator) for _ in range(patches)]
        images, masks, ids, origins = zip(*drawn, strict=True)
        return PatchBatch(np.stack(images)[:, None], np.stack(masks)[:, None], np.array(ids, np.int64), origins)

    def _one(self, volume: VolumeFile, generator: np.random.Generator) -> tuple:
        chosen = target(volume.annotated[generator.integers(len(volume.annotated))])
        slices = np.flatnonzero(volume.slice_counts[chosen.id - 1])
        width, height, depth = volume.grid.shape
        last = width - self._patch, height - self._patch
        if generator.random() < self._settings.target_probability and slices.size:
            z = int(generator.choice(slices))
            voxels = np.argwhere(volume.label_slice(z) & chosen.bit)
            x, y = (
                int(generator.integers(max(0, at - self._patch + 1), min(end, at) + 1))
                for at, end in zip(generator.choice(voxels), last, strict=True)
            )
        else:
            z, x, y = (int(generator.integers(end + 1)) for end in (depth - 1, *last))
        mask = (volume.label_patch(z, x, y, self._patch) & chosen.bit) != 0
        origin = PatchOrigin(volume.source, volume.case, z, x, y)
        return volume.image_patch(z, x, y, self._patch), mask.astype(np.float32), chosen.id, origin

    def _volume(self, path: Path) -> VolumeFile:
        """The opened case; the least recently used one is closed when too many are open."""
        if path not in self._open:
            self._open[path] = VolumeFile(path)
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)[1].__exit__()
        self._open.move_to_end(path)
        return self._open[path]


def _check(volume: VolumeFile, patch: int) -> None:
    if min(volume.grid.shape[:2]) < patch:
        raise InputError(
            volume.path,
            f"is {volume.grid.shape[0]} x {volume.grid.shape[1]}, smaller than the {patch} x {patch} patch",
            "delete its folder and run again: `harmonise` pads it",
        )
    if not volume.annotated:
        raise InputError(volume.path, "is annotated for no target", "leave the case out of the study")
