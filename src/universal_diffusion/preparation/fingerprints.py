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

import numpy as np

from universal_diffusion.errors import InputError
from universal_diffusion.volumes import SLICE_PRINT

HU_LIMIT = 2**17
LOWEST, HIGHEST = -8192, 8191  # HU told apart in slices
BINS = HIGHEST - LOWEST + 1
REACH = 200  # HU below and above the level
LEAST_VALUES = 32  # distinct ones within reach; a slice with fewer (padding, air) says nothing
NO_DIGEST = 0
BLOCK = 64  # slices brought into memory order at a time


def fingerprint(image: np.ndarray, where: str = "image") -> str:
    """64 hexadecimal digits, common to scans that hold equal HU equally often; flips and axis order do not change it.

    Args:
        image: native HU, of any shape.
        where: what to call the scan in the InputError for values beyond +-131072 HU.
    """
    lowest, highest = (int(np.rint(extreme)) for extreme in (image.min(), image.max()))
    if lowest < -HU_LIMIT or highest > HU_LIMIT:
        raise InputError(where, f"holds values beyond +-{HU_LIMIT}", "these are no Hounsfield units: replace the file")
    counts = np.zeros(highest - lowest + 1, np.int64)
    for plane in _planes(image):
        counts += np.bincount(np.rint(plane).astype(np.intp).ravel() - lowest, minlength=counts.size)
    present = np.flatnonzero(counts)
    histogram = np.stack([present + lowest, counts[present]], axis=1).astype("<i8")
    return hashlib.sha256(histogram.tobytes() + image.size.to_bytes(8, "little")).hexdigest()


def slice_prints(image: np.ndarray) -> np.ndarray:
    """Prints of all slices of a scan across its three axes, axis by axis, in array order.

    Args:
        image: (I, J, K) native HU.

    Returns:
        (I + J + K,) of `volumes.SLICE_PRINT`: the array axis, the level in HU, and 64 bits that are equal for equal
        slices, or `NO_DIGEST` for a slice that says nothing.
    """
    hu = np.empty_like(image, np.uint16)
    for plane, whole in zip(_planes(image), _planes(hu), strict=True):
        whole[...] = np.clip(np.rint(plane), LOWEST, HIGHEST) - LOWEST
    prints = []
    for axis in range(image.ndim):
        across = np.moveaxis(hu, axis, 0)
        for first in range(0, len(across), BLOCK):
            prints += [(axis, *_print(cut)) for cut in np.ascontiguousarray(across[first : first + BLOCK])]
    return np.array(prints, SLICE_PRINT)


def _planes(image: np.ndarray) -> np.ndarray:
    """The image with the axis first along which it lies in memory plane by plane."""
    return np.moveaxis(image, int(np.argmax(np.abs(image.strides))), 0)


def _print(cut: np.ndarray) -> tuple[int, int]:
    """Level in HU and digest of one slice of HU - LOWEST."""
    counts = np.bincount(cut.ravel(), minlength=BINS)
    reached = np.cumsum(counts[::-1])  # pixels of at least HIGHEST, HIGHEST - 1, ...
    level = BINS - 1 - int(np.searchsorted(reached, max(1, cut.size // 10)))
    near = np.pad(counts, REACH)[level : level + 2 * REACH + 1]
    if np.count_nonzero(near) < LEAST_VALUES:
        return level + LOWEST, NO_DIGEST
    digest = hashlib.blake2b(near.astype("<u4").tobytes(), digest_size=8).digest()
    return level + LOWEST, int.from_bytes(digest, "little")
