"""Which scans are the same scan: fingerprints that survive how a data set stores it, and groups of equal ones.

A fingerprint is the SHA-256 of the sorted distinct HU values (rounded to whole numbers) with their counts, and of the
number of voxels. Flips, axis permutations, headers, file formats and names do not change it, and those are how the
same CT differs between the public collections (3D-IRCADb in LiTS in MSD, MSD in AbdomenCT-1K). Its limits:

- a copy that was cropped, padded, resampled, clipped or offset by a constant has another fingerprint and is missed;
  so lists of known copies stay worth reading, and equal counts of slices remain suspicious;
- two different scans of equal histogram would be called equal. No natural scan pair of this kind is known.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations

import numpy as np

from universal_diffusion.errors import InputError

HU_LIMIT = 2**17


def fingerprint(image: np.ndarray, where: str = "image") -> str:
    """64 hexadecimal digits for a native image in HU, of any shape. Raises InputError beyond +-131072 HU."""
    if image.min() < -HU_LIMIT or image.max() > HU_LIMIT:
        raise InputError(where, f"holds values beyond +-{HU_LIMIT}", "these are no Hounsfield units: replace the file")
    hu = np.rint(image).astype(np.int32)
    lowest = int(hu.min())
    counts = sum(np.bincount((part - lowest).ravel(), minlength=int(hu.max()) - lowest + 1) for part in hu)
    present = np.flatnonzero(counts)
    histogram = np.stack([present + lowest, counts[present]], axis=1).astype("<i8")
    return hashlib.sha256(histogram.tobytes() + hu.size.to_bytes(8, "little")).hexdigest()


def equal_pairs(scans: Iterable[tuple[tuple[str, str], str]]) -> list[tuple[tuple[str, str], tuple[str, str], str]]:
    """Every pair of equal scans, sorted, from ((source, case), fingerprint) items."""
    by_print = defaultdict(list)
    for key, digits in scans:
        by_print[digits].append(key)
    return sorted((a, b, digits) for digits, keys in by_print.items() for a, b in combinations(sorted(keys), 2))
