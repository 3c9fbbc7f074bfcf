"""A common frame for harmonised CTs, found from the images alone.

In an axial plane a body is placed by centre and spread (standard deviation) of its tissue. Along the body, scans of
different fields of view are placed by their profile - tissue area, enclosed gas, bone and brightness of every slice -
slid over the mean profile of the training scans to where it fits best. No truth is looked at. Rows of the frame are as
far apart as the slices of the study's harmonised volumes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

BINS = 80  # of the frame, across the body and from back to front
REACH = 2.5  # spreads from the centre to the frame's edge
BONE = 0.98  # of the HU window
LEAST_OVERLAP = 0.6  # of the shorter profile
ROUNDS = 3


@dataclass(frozen=True)
class Outline:
    """What places a scan: `centre` and `spread` of its tissue in voxels along x and y, and its raw (Z, 4) profile."""

    centre: np.ndarray
    spread: np.ndarray
    profile: np.ndarray


@dataclass(frozen=True)
class Placement:
    """Where a volume lies: `centre` and `spread` of its tissue in voxels along x and y, frame row of its slice 0."""

    centre: np.ndarray
    spread: np.ndarray
    first_row: int


@dataclass(frozen=True)
class Frame:
    """The frame of a set of training scans.

    Attributes:
        profile: (L, 4) mean standardised profile, one row a slice position.
        mean, std: (4,) of the training scans' raw profiles.
    """

    profile: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    def place(self, scan: Outline) -> Placement:
        """Where a scan lies in the frame."""
        profile = (scan.profile - self.mean) / self.std
        return Placement(scan.centre, scan.spread, best_offset(profile, self.profile))


def outline(image: np.ndarray) -> Outline:
    """The outline of an (X, Y, Z) harmonised image."""
    centre, spread = tissue_moments(image)
    return Outline(centre, spread, slice_profile(image, spread))


def tissue_moments(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and standard deviation, in voxels along x and y, of the voxels above the HU window's lower end."""
    tissue = (image > 0).sum(axis=2, dtype=np.float64)
    moments = []
    for axis in (0, 1):
        weights = tissue.sum(axis=1 - axis)
        index = np.arange(len(weights))
        centre = np.average(index, weights=weights)
        moments.append((centre, np.sqrt(np.average((index - centre) ** 2, weights=weights))))
    centre, spread = np.array(moments).T
    return centre, np.maximum(spread, 1.0)


def slice_profile(image: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(Z, 4): area of tissue and of gas enclosed by it, in units of the body's spread; bone's share; brightness."""
    rows = []
    for z in range(image.shape[2]):
        tissue = image[..., z] > 0
        area = max(1, int(tissue.sum()))
        gas = int(ndimage.binary_fill_holes(tissue).sum()) - int(tissue.sum())
        values = image[..., z][tissue]
        rows.append([area / spread.prod(), gas / spread.prod(), (values > BONE).sum() / area, values.sum() / area])
    return np.array(rows)


def fit_frame(profiles: Sequence[np.ndarray]) -> Frame:
    """Align raw profiles, starting from the longest one, and average them; twice more against the average."""
    pooled = np.concatenate(profiles)
    mean, std = pooled.mean(axis=0), np.maximum(pooled.std(axis=0), 1e-6)
    scaled = [(profile - mean) / std for profile in profiles]
    template = max(scaled, key=len)
    for _ in range(ROUNDS):
        template = _average(scaled, [best_offset(profile, template) for profile in scaled])
    return Frame(template, mean, std)


def best_offset(profile: np.ndarray, template: np.ndarray) -> int:
    """Row of `template` that the profile's first row belongs to, negative if it starts before; least mean square."""
    least = int(np.ceil(LEAST_OVERLAP * min(len(profile), len(template))))
    offsets = range(least - len(profile), len(template) - least + 1)
    costs = []
    for offset in offsets:
        start, end = max(0, offset), min(len(template), offset + len(profile))
        costs.append(np.square(profile[start - offset : end - offset] - template[start:end]).mean())
    return offsets[int(np.argmin(costs))]


def _average(profiles: Sequence[np.ndarray], offsets: Sequence[int]) -> np.ndarray:
    first = min(offsets)
    length = max(offset + len(profile) for profile, offset in zip(profiles, offsets, strict=True)) - first
    total, count = np.zeros((length, profiles[0].shape[1])), np.zeros((length, 1))
    for profile, offset in zip(profiles, offsets, strict=True):
        rows = slice(offset - first, offset - first + len(profile))
        total[rows] += profile
        count[rows] += 1
    return total / count


def to_frame(array: np.ndarray, placement: Placement, rows: int) -> np.ndarray:
    """An (X, Y, Z) array in the frame, linearly interpolated in plane: (BINS, BINS, rows) float32, 0 beyond it."""
    step = 2 * REACH / BINS * placement.spread
    start = placement.centre + (0.5 / BINS * 2 * REACH - REACH) * placement.spread
    across = ndimage.affine_transform(
        array.astype(np.float32),
        np.array([*step, 1.0]),
        np.array([*start, 0.0]),
        output_shape=(BINS, BINS, array.shape[2]),
        order=1,
    )
    return _shift_rows(across, placement.first_row, rows)


def from_frame(array: np.ndarray, placement: Placement, shape: tuple[int, int, int]) -> np.ndarray:
    """The inverse of `to_frame`: a (BINS, BINS, rows) array on a volume's own (X, Y, Z) grid."""
    step = BINS / (2 * REACH) / placement.spread
    start = BINS / 2 - 0.5 - placement.centre * step
    own = _shift_rows(array.astype(np.float32), -placement.first_row, shape[2])
    return ndimage.affine_transform(own, np.array([*step, 1.0]), np.array([*start, 0.0]), output_shape=shape, order=1)


def covered_rows(placement: Placement, slices: int, rows: int) -> np.ndarray:
    """Which of the frame's rows a volume of so many slices shows: (rows,) bool."""
    row = np.arange(rows)
    return (row >= placement.first_row) & (row < placement.first_row + slices)


def _shift_rows(array: np.ndarray, shift: int, rows: int) -> np.ndarray:
    shifted = np.zeros((*array.shape[:2], rows), array.dtype)
    start, end = max(0, shift), min(rows, shift + array.shape[2])
    if start < end:
        shifted[..., start:end] = array[..., start - shift : end - shift]
    return shifted
