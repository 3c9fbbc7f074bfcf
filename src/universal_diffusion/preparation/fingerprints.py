"""What a scan is recognised by, however a data set stores it: one print of the whole, and one of every slice.

The print of a slice is a hash of its histogram from 200 HU below to 200 HU above its level, the value that a tenth of
its pixels reach or exceed, counted from that level. In a slice through a body the level lies in soft tissue, so that

- flips, transposition, file format, header, type and scaling of the stored numbers do not matter, as a histogram of
  whole HU knows nothing of them;
- a constant added to the intensities does not, as it moves the level too; nor does clipping or other padding below
  the tissue (-1024 here, -2000 there) or above it;
- cropping along one axis does not, as the slices across it stay whole. Slices are printed along all three array axes,
  so that no header is asked which one the scanner moved along.

Blind to it: a copy that was resampled, filtered, or cropped along two axes; and another scan of the same patient, which
has other voxels throughout.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from universal_diffusion.native_hu import binned
from universal_diffusion.preparation.histograms import Steps, by_floor, by_nearest
from universal_diffusion.volumes import SLICE_PRINT

LOWEST, HIGHEST = -8192, 8191  # HU told apart in slices
REACH = 200  # HU below and above the level
LEAST_VALUES = 32  # distinct ones within reach; a slice with fewer (padding, air) says nothing
NO_DIGEST = 0


@dataclass(frozen=True)
class Prints:
    """What a native scan is recognised by, and its distribution; the attributes of `volumes.Volume` of these names."""

    fingerprint: str
    slice_prints: np.ndarray
    native_hu: np.ndarray


def prints(image: np.ndarray, where: str = "image") -> Prints:
    """All prints of a scan, from one count of its voxels for each axis.

    Args:
        image: (I, J, K) native HU.
        where: what to call the scan in the InputError for values beyond +-131072 HU.

    Returns:
        `fingerprint`: as the function of that name. `slice_prints`: (I + J + K,) of `volumes.SLICE_PRINT`, all slices
        across the three axes, axis by axis, in array order: the array axis, the level in HU, and 64 bits that are equal
        for equal slices, or `NO_DIGEST` for a slice that says nothing. `native_hu`: (300,) voxels by Hounsfield units.
    """
    steps, rows = Steps(image, where), []
    for axis in range(image.ndim):
        whole = np.zeros(steps.bins, np.int64)
        for counts in steps.slices(axis):
            whole += counts
            rows.append((axis, *_print(steps.lowest, by_nearest(counts))))
    return Prints(_digest(steps.lowest, whole), np.array(rows, SLICE_PRINT), binned(steps.lowest, by_floor(whole)))


def fingerprint(image: np.ndarray, where: str = "image") -> str:
    """64 hexadecimal digits, common to scans that hold equal HU equally often; flips and axis order do not change it.

    The HU are those of `image` rounded to whole numbers. Args and errors as those of `prints`.
    """
    steps = Steps(image, where)
    return _digest(steps.lowest, steps.whole())


def _digest(lowest: int, whole: np.ndarray) -> str:
    """The fingerprint of a scan from its voxels by step."""
    counts = by_nearest(whole)
    present = np.flatnonzero(counts)
    histogram = np.stack([present + lowest, counts[present]], axis=1).astype("<i8")
    return hashlib.sha256(histogram.tobytes() + int(counts.sum()).to_bytes(8, "little")).hexdigest()


def _print(lowest: int, counts: np.ndarray) -> tuple[int, int]:
    """Level in HU and digest of one slice, from its pixels at each whole HU from `lowest` on."""
    first, last = np.clip([LOWEST - lowest, HIGHEST - lowest], 0, counts.size - 1)
    told = counts[first : last + 1].copy()
    told[0] += counts[:first].sum()
    told[-1] += counts[last + 1 :].sum()
    reached = np.cumsum(told[::-1])  # pixels of at least the highest HU, of at least the next, ...
    level = told.size - 1 - int(np.searchsorted(reached, max(1, int(reached[-1]) // 10)))
    near = np.pad(told, REACH)[level : level + 2 * REACH + 1]
    if np.count_nonzero(near) < LEAST_VALUES:
        return lowest + int(first) + level, NO_DIGEST
    digest = hashlib.blake2b(near.astype("<u4").tobytes(), digest_size=8).digest()
    return lowest + int(first) + level, int.from_bytes(digest, "little")
