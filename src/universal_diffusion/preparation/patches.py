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
from universal_diffusion.targets import Target, target
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
    """`image` (B, 1, P, P) float32 in [0, 1], `mask` (B, 1, P, P) float32 0 or 1, `target_ids` (B,) int64 1 to 29.

    Where no images were asked for, `image` is (B, 0, P, P).
    """

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
                by_dataset[catalogue.dataset_of(volume.source)].append(((volume.source, volume.case), path))
        if not by_dataset:
            raise InputError("volumes", "are none", "the split leaves no case to draw patches from")
        self._paths = {case: path for cases in by_dataset.values() for case, path in cases}
        self._datasets = [[path for _, path in sorted(by_dataset[name])] for name in sorted(by_dataset)]

    def draw(self, index: int, count: int, images: bool = True, rows: slice = slice(None)) -> PatchBatch:
        """Batch `index` of `count` patches, with `images` or without; every `per_case` of them come from one case.

        Of `rows` alone, where they are given: all patches are placed, because each depends on the ones before it, but
        only theirs are cut.
        """
        generator = numpy_generator(self._seed, "patches", index)
        wanted = range(count)[rows]
        image, mask = (np.empty((len(wanted), n, self._patch, self._patch), np.float32) for n in (int(images), 1))
        ids, origins = np.empty(len(wanted), np.int64), []
        for row in range(wanted.stop):
            if row % self._settings.per_case == 0:
                cases = self._datasets[generator.integers(len(self._datasets))]
                volume = self._volume(cases[generator.integers(len(cases))])
            chosen = target(volume.annotated[generator.integers(len(volume.annotated))])
            z, x, y, shown = self._place(volume, chosen, generator)
            if row not in wanted:
                continue
            if images:
                image[len(origins), 0] = volume.image_patch(z, x, y, self._patch)
            mask[len(origins), 0], ids[len(origins)] = shown, chosen.id
            origins.append(PatchOrigin(volume.source, volume.case, z, x, y))
        return PatchBatch(image, mask, ids, tuple(origins))

    def labels(self, origin: PatchOrigin) -> tuple[np.ndarray, tuple[str, ...]]:
        """Label bits of a drawn patch, (P, P) uint32, and the names of the targets annotated in its case."""
        volume = self._volume(self._paths[origin.source, origin.case])
        return volume.label_patch(origin.z, origin.x, origin.y, self._patch), volume.annotated

    def _place(self, volume: VolumeFile, chosen: Target, generator: np.random.Generator) -> tuple:
        """Slice, first voxel and (P, P) mask of a patch. Its labels are read once, to place it and to be shown."""
        slices = np.flatnonzero(volume.slice_counts[chosen.id - 1])
        width, height, depth = volume.grid.shape
        last = width - self._patch, height - self._patch
        if generator.random() < self._settings.target_probability and slices.size:
            z = int(slices[generator.integers(slices.size)])
            where = volume.target_slice(z, chosen)
            voxels = np.flatnonzero(where)
            centre = divmod(int(voxels[generator.integers(voxels.size)]), height)
            x, y = (
                int(generator.integers(max(0, at - self._patch + 1), min(end, at) + 1))
                for at, end in zip(centre, last, strict=True)
            )
        else:
            z, x, y = (int(generator.integers(end + 1)) for end in (depth - 1, *last))
            where = volume.target_slice(z, chosen)
        return z, x, y, where[x : x + self._patch, y : y + self._patch]

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
