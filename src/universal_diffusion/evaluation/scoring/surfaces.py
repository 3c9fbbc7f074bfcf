"""How far the surfaces of two masks lie from each other, exactly and wherever the masks lie.

Surface voxels are those of MONAI's metrics: voxels of the mask with a face that borders on none of it (the edge of the
volume borders on nothing). Distances run between centres of voxels.

A transform of the whole volume would give the distance of every voxel, and only those of the surfaces are asked for. So
they are looked up in a k-d tree of the other surface; where a prediction is scattered so densely that nearly every
voxel is surface, a transform of the box around both masks is cheaper. Both are exact.
"""

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

# A look-up in the tree took 0.4 to 9 microseconds, the transform 70 to 180 nanoseconds a voxel (384 x 384 x 100).
VOXELS_PER_LOOK_UP = 50


def surface(mask: np.ndarray) -> np.ndarray:
    """The voxels of a boolean mask (X, Y, Z) that have at least one of their six faces at its border."""
    outside = ~np.pad(mask, 1)
    inside = tuple(slice(1, -1) for _ in mask.shape)
    bordering = np.zeros_like(mask)
    for axis in range(mask.ndim):
        for neighbour in (slice(None, -2), slice(2, None)):
            bordering |= outside[(*inside[:axis], neighbour, *inside[axis + 1 :])]
    return bordering & mask


def distances(first: np.ndarray, second: np.ndarray, spacing_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Millimetres from each surface voxel of `first` to the nearest one of `second`, and back: (n,) and (m,).

    Args:
        first, second: boolean masks of equal shape (X, Y, Z); neither is empty.
        spacing_mm: (3,) edge lengths of a voxel.
    """
    axes = np.argsort(first.strides)[::-1]  # as they lie in memory, where looking through them is fastest
    spacing_mm = spacing_mm[axes]
    surfaces = surface(first.transpose(axes)), surface(second.transpose(axes))
    places = [np.argwhere(voxels) for voxels in surfaces]
    return (
        _nearest(places[0], places[1], surfaces[1], spacing_mm),
        _nearest(places[1], places[0], surfaces[0], spacing_mm),
    )


def _nearest(asked: np.ndarray, places: np.ndarray, voxels: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Distance of each place in `asked` (n, 3) to the nearest of `places` (m, 3), where `voxels` is true."""
    if len(asked) * VOXELS_PER_LOOK_UP > voxels.size:
        indices = distance_transform_edt(~voxels, spacing_mm, return_distances=False, return_indices=True)
        found = indices[:, *asked.T].T
    else:
        tree = KDTree(places * spacing_mm, compact_nodes=False, balanced_tree=False)
        found = places[tree.query(asked * spacing_mm)[1]]
    return np.linalg.norm((asked - found) * spacing_mm, axis=1)
