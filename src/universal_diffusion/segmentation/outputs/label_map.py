"""All targets in one volume of labels, and the names and colours that viewers show them with."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock

import numpy as np

from universal_diffusion.boxes import Box
from universal_diffusion.colours import colour
from universal_diffusion.files import write_text
from universal_diffusion.segmentation.outputs.nifti_output import nifti_stream
from universal_diffusion.segmentation.sampling.slab_store import SlabStore
from universal_diffusion.targets import Target, target
from universal_diffusion.volumes import Grid

LABELS, SNAP, SLICER = "segmentation.nii.gz", "segmentation_labels.txt", "segmentation_labels.ctbl"


class LabelMap:
    """One target for each voxel of the CT: of several the tumour, then the smaller, by the ensemble's mean volume.

    Attributes:
        overlap: whether a voxel was in several targets.
    """

    def __init__(self, store: SlabStore, native: Grid):
        self._order = [None, *reversed(_front_to_back(store))]  # the later one hides the earlier
        self._level = {known.name: level for level, known in enumerate(self._order) if known}
        self._levels = np.zeros(native.shape[::-1], np.uint8)  # as a NIfTI file has it: the first axis runs fastest
        self._lock = Lock()
        self.native, self.overlap = native, False

    def add(self, name: str, box: Box, mask: np.ndarray) -> None:
        """Take a target's mask in a box of the CT."""
        level = np.uint8(self._level[target(name).name])
        with self._lock:
            there = self._levels[box[::-1]]
            self.overlap |= bool((there[mask.T] > 0).any())
            np.maximum(there, mask.T * level, out=there)

    def ids(self, box: Box) -> np.ndarray:
        """Target ids in a box of the CT, 0 where there is none: uint8."""
        return self._ids[self._levels[box[::-1]]].T

    @property
    def _ids(self) -> np.ndarray:
        return np.array([known.id if known else 0 for known in self._order], np.uint8)

    def filled(self, axis: int) -> np.ndarray:
        """Labelled voxels in every slice across an axis of the CT."""
        return np.count_nonzero(self._levels, axis=tuple(other for other in range(3) if other != 2 - axis))

    def areas(self, axis: int) -> dict[str, np.ndarray]:
        """By name of each target that shows: its voxels in every slice across an axis of the CT."""
        slices = np.moveaxis(self._levels, 2 - axis, 0)
        counts = np.stack([np.bincount(one.ravel(), minlength=len(self._order)) for one in slices], axis=1)
        return {name: counts[level] for name, level in self._level.items() if counts[level].any()}

    def write(self, folder: Path) -> None:
        """Write `segmentation.nii.gz`, whose values are target ids, and its names for ITK-SNAP and for 3D Slicer."""
        width, height, depth = self.native.shape
        with nifti_stream(folder / LABELS, self.native) as stream:
            for z in range(depth):
                stream.append(self.ids((slice(0, width), slice(0, height), slice(z, z + 1))))
        shown = sorted((known for known in self._order if known), key=lambda known: known.id)
        write_text(folder / SNAP, "".join(_snap_lines(shown)))
        write_text(folder / SLICER, "".join(_slicer_lines(shown)))


def _front_to_back(store: SlabStore) -> list[Target]:
    """Tumours first, then by the mean over the ensemble of the volume on the harmonised grid, then by id."""

    def place(known: Target) -> tuple[bool, int, int]:
        return known.kind != "tumour", int(store.voxels(known.name).sum()), known.id

    return sorted(map(target, store.targets), key=place)


def _snap_lines(shown: Sequence[Target]) -> Iterator[str]:
    """ITK-SNAP's label descriptions: value, red, green, blue, opacity, visible in slices, visible in 3-D, name."""
    yield '0 0 0 0 0 0 0 "Clear Label"\n'
    for known in shown:
        yield f'{known.id} {_bytes(known)} 1 1 1 "{known.name}"\n'


def _slicer_lines(shown: Sequence[Target]) -> Iterator[str]:
    """A colour table of 3D Slicer: value, name without spaces, red, green, blue, opacity."""
    yield "# Color table file\n0 background 0 0 0 0\n"
    for known in shown:
        yield f"{known.id} {known.slug} {_bytes(known)} 255\n"


def _bytes(known: Target) -> str:
    return " ".join(str(round(255 * part)) for part in colour(known))
