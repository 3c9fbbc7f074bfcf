"""Native label codes and structure masks, written as target bits; no voxel loses a label.

Targets take bits 0 to 28 (`targets.Target.bit`). A label that merges both sides gets a bit of its own above them, which
`sides.split` replaces by the two targets it stands for.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from universal_diffusion.datasets.catalogue import MERGED
from universal_diffusion.errors import InputError
from universal_diffusion.targets import target

MERGED_BITS: Mapping[str, np.uint32] = {name: np.uint32(1 << bit) for name, bit in zip(MERGED, (30, 31), strict=True)}
UNKNOWN = np.uint32(1 << 29)  # in a look-up table: a code that the dataset does not have


def bits_of(names: Iterable[str]) -> np.uint32:
    """The union of the bits of targets and merged labels."""
    union = np.uint32(0)
    for name in names:
        union |= MERGED_BITS[name] if name in MERGED_BITS else target(name).bit
    return union


def encode(codes: np.ndarray, table: Mapping[int, tuple[str, ...]], where: Path) -> np.ndarray:
    """Target bits of an array of native label codes.

    Args:
        codes: (X, Y, Z) integers; 0 is background.
        table: native code -> names of the targets and merged labels its voxels belong to.
        where: the label file, for the error message.

    Returns:
        uint32 bits of the same shape.

    Raises:
        InputError: for a code that is not in the table.
    """
    if codes.min() >= 0 and codes.max() <= max(table):
        by_code = np.array([bits_of(table.get(code, ())) for code in range(max(table) + 1)], np.uint32)
        by_code[[code for code in range(1, max(table)) if code not in table]] = UNKNOWN
        bits = np.zeros(codes.shape, np.uint32, order="F" if codes.flags.f_contiguous else "C")
        union = np.uint32(0)
        slowest = int(np.argmax(codes.strides))
        planes = zip(np.moveaxis(bits, slowest, 0), np.moveaxis(codes, slowest, 0), strict=True)
        for plane, plane_codes in planes:  # the background's memory is never written, and so never taken
            labelled = plane_codes != 0
            held = by_code[plane_codes[labelled]]
            plane[labelled] = held
            union |= np.bitwise_or.reduce(held)
        if not union & UNKNOWN:
            return bits
    unknown = sorted(set(np.unique(codes).tolist()) - {0, *table})
    raise InputError(
        where,
        f"holds label code {', '.join(map(str, unknown[:5]))}; known codes are 0, {', '.join(map(str, table))}",
        "check that it is this dataset's label file, and the release it is from",
    )


def add_structure(labels: np.ndarray, mask: np.ndarray, names: Iterable[str]) -> None:
    """Give the voxels of a boolean `mask` the named targets as well, in place; fast where both lie alike in memory."""
    np.bitwise_or(labels, bits_of(names), out=labels, where=mask)
