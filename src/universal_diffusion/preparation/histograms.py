"""How often each Hounsfield unit occurs in the slices of a scan: the counts from which all its prints are derived.

A value is counted by its step, the sum of the whole number below it and of the nearest one. Both can be told from the
step, so that one count serves who rounds and who takes bins of HU, also in a scan whose values are not whole.
"""

from collections.abc import Iterator

import numpy as np

from universal_diffusion.errors import InputError

HU_LIMIT = 2**17
BLOCK = 16  # slices brought together in memory at a time


class Steps:
    """The steps of a 3-D scan in Hounsfield units, of any axis order.

    Raises:
        InputError: for values beyond +-131072 HU, naming `where`.
    """

    def __init__(self, image: np.ndarray, where: str):
        lowest, highest = int(np.floor(image.min())), int(nearest(image.max()))
        if lowest < -HU_LIMIT or highest > HU_LIMIT:
            problem = f"holds values beyond +-{HU_LIMIT}"
            raise InputError(where, problem, "these are no Hounsfield units: replace the file")
        self.lowest = lowest  # HU, of the first step
        self.bins = 2 * (highest - lowest + 1)
        self.order = np.argsort(np.abs(image.strides))[::-1]  # axes as they lie in memory, the slowest first
        stored = image.transpose(self.order)
        self.values = np.empty(stored.shape, np.min_scalar_type(self.bins))
        for plane, steps in zip(stored, self.values, strict=True):
            steps[...] = np.floor(plane) + nearest(plane) - 2 * lowest

    def slices(self, axis: int) -> Iterator[np.ndarray]:
        """Voxels by step, (bins,) int64, of each slice across an axis of the image."""
        along = int(np.flatnonzero(self.order == axis)[0])
        for first in range(0, self.values.shape[along], BLOCK):
            cuts = (slice(None),) * along + (slice(first, first + BLOCK),)
            block = np.ascontiguousarray(self.values[cuts])  # from here on in the cache, where turning is fast
            for cut in np.ascontiguousarray(np.moveaxis(block, along, 0)):
                yield np.bincount(cut.ravel(), minlength=self.bins)

    def whole(self) -> np.ndarray:
        """Voxels of the scan by step: (bins,) int64."""
        return sum(self.slices(int(self.order[0])))


def nearest(values: np.ndarray) -> np.ndarray:
    """Values rounded to whole numbers, halves upwards whatever their parity, so that an offset moves them all alike."""
    return np.floor(values + 0.5)


def by_nearest(counts: np.ndarray) -> np.ndarray:
    """Counts by the nearest whole HU, the lowest HU of the scan first, from counts by step."""
    return np.append(0, counts[:-1]).reshape(-1, 2).sum(axis=1)


def by_floor(counts: np.ndarray) -> np.ndarray:
    """Counts by the whole HU at or below the value, the lowest HU of the scan first, from counts by step."""
    return counts.reshape(-1, 2).sum(axis=1)
