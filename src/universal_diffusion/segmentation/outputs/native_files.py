"""Every target's masks and maps on the CT's own grid, and what they say in numbers.

A target's maps are read once, resampled slab by slab of the CT's third axis, only where they are not zero, and go
straight into their files. A few targets are under way at a time, so memory is a few harmonised maps and a few slabs.
"""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from universal_diffusion.boxes import Box
from universal_diffusion.segmentation.outputs.facts import FactsFold, TargetFacts, entropy
from universal_diffusion.segmentation.outputs.native import NEGLIGIBLE, THRESHOLD, Resampling
from universal_diffusion.segmentation.outputs.nifti_output import NiftiStream, levels, nifti_stream
from universal_diffusion.segmentation.sampling.slab_store import SlabStore
from universal_diffusion.targets import target
from universal_diffusion.volumes import Grid

Kind = Literal["mask", "mean", "variance", "entropy"]
MAXIMUM: dict[Kind, float | None] = {"mask": None, "mean": 1.0, "variance": 0.25, "entropy": 1.0}  # level 255 of a file
SLAB = 16  # slices that are resampled together


class Fold(Protocol):
    """Something that is made of all targets' masks as they come, from several threads and in any order of targets."""

    def add(self, name: str, box: Box, mask: np.ndarray) -> None:
        """Take a target's mask (bool, not empty) in a box of the CT that holds all of it in the box's slices."""


def file_name(name: str, kind: Kind) -> str:
    """Of one target's mask or map: `liver.nii.gz`, `liver_mean.nii.gz`, ..."""
    slug = target(name).slug
    return f"{slug}.nii.gz" if kind == "mask" else f"{slug}_{kind}.nii.gz"


def write_native(
    store: SlabStore,
    native: Grid,
    folder: Path,
    kinds: Collection[Kind],
    hu: np.ndarray | None = None,
    folds: Sequence[Fold] = (),
    threads: int = 2,
) -> dict[str, TargetFacts]:
    """Write the files of the given kinds for every target of a store.

    Masks are 0 and 1 (mean >= 0.5); maps have 256 levels that readers scale by `scl_slope`: mean 0 to 1, variance 0 to
    0.25, entropy of the mean 0 to 1 bit. Each file is there whole or not at all, and its bytes do not depend on
    `threads`.

    Args:
        native: the CT's own grid.
        hu: its (X, Y, Z) Hounsfield units, for the density inside the masks.
        folds: what else is made of the masks.

    Raises:
        InputError: the store lacks a slab.
    """
    resampling = Resampling(store.grid, native)

    def write(name: str) -> TargetFacts:
        return _write_target(store, resampling, Path(folder), name, kinds, hu, folds)

    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(store.targets, pool.map(write, store.targets), strict=True))


def _write_target(
    store: SlabStore,
    resampling: Resampling,
    folder: Path,
    name: str,
    kinds: Collection[Kind],
    hu: np.ndarray | None,
    folds: Sequence[Fold],
) -> TargetFacts:
    mean, variance = store.read(name)
    content = mean >= NEGLIGIBLE
    native, facts = resampling.native, FactsFold()
    with ExitStack() as files:
        streams = {
            kind: files.enter_context(nifti_stream(folder / file_name(name, kind), native, MAXIMUM[kind]))
            for kind in kinds
        }
        for slab in _slabs(native):
            occupied = resampling.occupied(content, slab)
            if occupied is None:
                _append(streams, {}, slab, slab)
                continue
            held, box = occupied
            native_mean = resampling.box(mean[held], held, box)
            mask = native_mean >= THRESHOLD
            facts.add(native_mean, mask, None if hu is None else hu[box])
            if mask.any():
                for fold in folds:
                    fold.add(name, box, mask)
            made = {"mask": mask, "mean": native_mean}
            if "variance" in kinds:
                made["variance"] = resampling.box(variance[held], held, box)
            if "entropy" in kinds:
                made["entropy"] = entropy(native_mean)
            _append(streams, made, box, slab)
    return facts.facts(native.voxel_ml, store.voxels(name) * store.grid.voxel_ml, hu is not None)


def _slabs(native: Grid) -> Iterator[Box]:
    width, height, depth = native.shape
    for first in range(0, depth, SLAB):
        yield slice(0, width), slice(0, height), slice(first, min(first + SLAB, depth))


def _append(streams: dict[Kind, NiftiStream], made: dict[Kind, np.ndarray], box: Box, slab: Box) -> None:
    """Append a slab to each file, 0 but for what was made in a box of it."""
    inside = tuple(slice(b.start - s.start, b.stop - s.start) for b, s in zip(box, slab, strict=True))
    for kind, stream in streams.items():
        slices = np.zeros([part.stop - part.start for part in slab], np.uint8, order="F")
        if kind in made:
            slices[inside] = made[kind] if MAXIMUM[kind] is None else levels(made[kind], MAXIMUM[kind])
        stream.append(slices)
