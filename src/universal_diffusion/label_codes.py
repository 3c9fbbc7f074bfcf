"""Label bits as small codes: a case shows few of the 2^29 unions of targets, so one byte a voxel holds them."""

import numpy as np

from universal_diffusion.targets import all_targets


def encode(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The unions of targets that occur in uint32 label bits, and the code of every voxel.

    Returns:
        `unions`, (n,) uint32, ascending from 0; and `codes`, of the shape of `labels` and the smallest unsigned type
        that counts to n - 1, such that `unions[codes]` is `labels`.
    """
    slowest = int(np.argmax(labels.strides))  # planes across it lie together in memory
    planes = np.moveaxis(labels, slowest, 0)
    unions = np.unique(np.concatenate([[np.uint32(0)], *(np.unique(plane[plane != 0]) for plane in planes)]))
    order = "F" if labels.flags.f_contiguous else "C"
    codes = np.zeros(labels.shape, np.min_scalar_type(len(unions) - 1), order)
    for plane, coded in zip(planes, np.moveaxis(codes, slowest, 0), strict=True):
        labelled = plane != 0
        coded[labelled] = np.searchsorted(unions, plane[labelled])
    return unions, codes


def holding(unions: np.ndarray) -> np.ndarray:
    """Which of the unions hold which of the targets: (29, n) bool."""
    return (unions & np.array([[target.bit] for target in all_targets()])) != 0


def slice_counts(unions: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Voxels of every target in every axial slice of encoded (X, Y, Z) labels: (29, Z) int32."""
    slices = np.moveaxis(codes, 2, 0)
    counts = np.stack([np.bincount(part.ravel(), minlength=len(unions)) for part in slices], axis=1)  # (n, Z)
    return (holding(unions).astype(np.int64) @ counts).astype(np.int32)
