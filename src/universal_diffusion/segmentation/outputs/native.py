"""From the harmonised grid back to the CT's own: linear interpolation of any box of it, only where something is.

A voxel's value depends on its index in the CT and on the map alone: whichever box it is asked in, its bytes are the
same. Both affines may flip, permute, rotate or shear; only world millimetres matter.
"""

from itertools import product

import numpy as np
from scipy import ndimage

from universal_diffusion.boxes import Box, bounding_box
from universal_diffusion.volumes import Grid

THRESHOLD = 0.5
NEGLIGIBLE = 1e-4  # mean, variance and entropy of a smaller probability are all nearest to level 0 of 255
DECIMALS = 6  # of a place in voxels, so that a point lies on a voxel's centre or edge in spite of rounding
DRIFT = 1e-3  # voxels by which an axis may leave another's direction over the whole CT and be taken as parallel


def to_native(values: np.ndarray, grid: Grid, native: Grid) -> np.ndarray:
    """Interpolate a map linearly onto the CT's own grid; 0 where the CT reaches beyond the map's outermost voxel edges.

    Args:
        values: (X, Y, Z) on `grid`.

    Returns:
        float32 of shape `native.shape`, in the CT's own array order.
    """
    return Resampling(grid, native).box(values.astype(np.float32, copy=False), whole(grid), whole(native))


def whole(grid: Grid) -> Box:
    """The box of a whole grid."""
    return tuple(slice(0, size) for size in grid.shape)


class Resampling:
    """Linear interpolation from the harmonised grid onto the CT's own, box by box."""

    def __init__(self, grid: Grid, native: Grid):
        self.grid, self.native = grid, native
        self._steps = np.linalg.inv(grid.affine) @ native.affine  # native indices to harmonised ones
        self._back = np.linalg.inv(self._steps)
        self._parallel = _parallel_axes(self._steps, native.shape)

    def box(self, values: np.ndarray, held: Box, wanted: Box) -> np.ndarray:
        """The map in a box of the CT, float32; in memory its first axis runs fastest, as in a NIfTI file.

        Args:
            values: float32, the map in the box `held` of the harmonised grid; beyond it the map goes on as at its edge.
        """
        if self._parallel is None:
            return self._oblique(values, held, wanted)
        moved = values.transpose(self._parallel[::-1])
        for axis in (2, 1, 0):  # of the CT; the last one first, where the fewest voxels are
            source = self._parallel[axis]
            indices = np.arange(wanted[axis].start, wanted[axis].stop)
            places = np.round(self._steps[source, axis] * indices + self._steps[source, 3], DECIMALS)
            moved = _interpolated(moved, 2 - axis, places, held[source], self.grid.shape[source])
        return moved.T

    def _oblique(self, values: np.ndarray, held: Box, wanted: Box) -> np.ndarray:
        x, y, z = np.ogrid[wanted]
        x, y, z = x.T, y.T, z.T  # (Z, Y, X)
        places = []
        outside = np.zeros((1, 1, 1), bool)
        for row, part, size in zip(self._steps[:3], held, self.grid.shape, strict=True):
            place = np.round(row[0] * x + row[1] * y + row[2] * z + row[3], DECIMALS)
            outside = outside | _is_outside(place, size)
            places.append(place - part.start)
        moved = ndimage.map_coordinates(values, places, np.float32, order=1, mode="nearest", prefilter=False)
        moved[outside] = 0
        return moved.T

    def occupied(self, content: np.ndarray, wanted: Box) -> tuple[Box, Box] | None:
        """Where in a box of the CT a map can differ from 0, given where it does on the harmonised grid.

        Args:
            content: (X, Y, Z) bool on the harmonised grid.

        Returns:
            The box of the harmonised grid that all content near is in, with a voxel around it, and the part of `wanted`
            that it can reach; None where nothing can.
        """
        near = _reached(self._steps, wanted, 0, self.grid.shape)
        inner = bounding_box(content[near])
        if inner is None:
            return None
        inner = tuple(slice(n.start + i.start, n.start + i.stop) for n, i in zip(near, inner, strict=True))
        reached = _reached(self._back, inner, 1, self.native.shape)
        found = tuple(slice(max(r.start, w.start), min(r.stop, w.stop)) for r, w in zip(reached, wanted, strict=True))
        if any(part.start >= part.stop for part in found):
            return None
        return tuple(slice(max(i.start - 1, 0), i.stop + 1) for i in inner), found


def _parallel_axes(steps: np.ndarray, shape: tuple[int, int, int]) -> tuple[int, ...] | None:
    """The harmonised axis that each axis of the CT runs along; None where they are oblique to each other."""
    axes = np.abs(steps[:3, :3]).argmax(axis=0)
    off = np.abs(steps[:3, :3])
    off[axes, range(3)] = 0
    is_parallel = sorted(axes) == [0, 1, 2] and (off @ np.array(shape)).max() < DRIFT
    return tuple(int(axis) for axis in axes) if is_parallel else None


def _interpolated(array: np.ndarray, axis: int, places: np.ndarray, held: slice, size: int) -> np.ndarray:
    """Along one axis, at places given in voxels of the whole map, which has `size`; the array holds a part of it."""
    before = np.floor(places).astype(int)
    last = array.shape[axis] - 1
    lower = array.take(np.clip(before - held.start, 0, last), axis)
    upper = array.take(np.clip(before + 1 - held.start, 0, last), axis)
    shape = [-1 if other == axis else 1 for other in range(3)]
    upper -= lower
    upper *= (places - before).astype(np.float32).reshape(shape)
    lower += upper
    lower[(*[slice(None)] * axis, _is_outside(places, size))] = 0
    return lower


def _is_outside(places: np.ndarray, size: int) -> np.ndarray:
    return (places < -0.5) | (places > size - 0.5)


def _reached(steps: np.ndarray, box: Box, margin: int, shape: tuple[int, int, int]) -> Box:
    """The smallest box, within `shape`, around another grid's voxels next to a box with a margin."""
    corners = np.array([*product(*((part.start - margin, part.stop - 1 + margin) for part in box))])
    places = corners @ steps[:3, :3].T + steps[:3, 3]
    starts = np.clip(np.floor(places.min(axis=0)), 0, shape)
    stops = np.clip(np.ceil(places.max(axis=0)) + 1, 0, shape)
    return tuple(slice(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True))
