"""The labels of a case on another grid, with the volume of every target kept.

A target's mask goes the way of the image: smoothed along the axes that become coarser, then interpolated linearly. Of
the points that it reaches, those of the highest values are kept, as many as make up the volume that the target has in
the scan. Nearest neighbours would let a small target, or one that the edge of the scan cuts, gain or lose several per
cent, and a threshold of a half would shrink whatever is thin. What lies in another target (`parents`) stays in it.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from scipy import ndimage

from universal_diffusion.boxes import Box, bounding_box, box_of, profiles
from universal_diffusion.targets import all_targets
from universal_diffusion.volumes import Grid

GAUSSIAN_REACH = 4.0  # standard deviations at which the smoothing ends


def smoothed(array: np.ndarray, factors: Sequence[float]) -> np.ndarray:
    """`array` without what a grid coarser by `factors` along its axes cannot show, as float32.

    The Gaussian has sigma (factor - 1) / 2 voxels, the rule of MONAI's and scikit-image's `resize`; along an axis that
    does not become coarser nothing happens.
    """
    values = array.astype(np.float32)
    for axis, factor in enumerate(factors):
        if factor > 1:
            for plane in np.moveaxis(values, axis, -1):  # lines that lie together in memory are filtered fastest
                lines = np.ascontiguousarray(plane)
                plane[...] = ndimage.gaussian_filter1d(lines, (factor - 1) / 2, mode="nearest", truncate=GAUSSIAN_REACH)
    return values


def resample_labels(labels: np.ndarray, boxes: Mapping[np.uint32, Box], affine: np.ndarray, grid: Grid) -> np.ndarray:
    """Label bits on `grid`: each target with its volume inside `grid`, to half a voxel of it.

    Args:
        labels: 3-D uint32 bits in any axis order.
        boxes: their `target_boxes`.
        affine: 4 x 4, from their voxel indices to RAS millimetres.
        grid: where they are wanted.
    """
    steps = np.round(np.linalg.inv(affine) @ grid.affine, 9)  # from indices of `grid` to indices of `labels`
    voxels = abs(np.linalg.det(steps[:3, :3]))  # of `labels` in one of `grid`
    result = np.zeros(grid.shape, np.uint32)
    for target in sorted(all_targets(), key=lambda target: not target.parents):  # a tumour before the organ it lies in
        if target.bit not in boxes:
            continue
        box = boxes[target.bit]
        native = (labels[box] & target.bit) != 0
        values, at = _interpolated(native, box, labels.shape, steps, grid.shape)
        for child in all_targets():
            if target.name in child.parents and child.bit in boxes:
                shared = native & ((labels[box] & child.bit) != 0)
                inner, _ = _interpolated(shared, box, labels.shape, steps, grid.shape)
                values += (inner > 0) & ((result[at] & child.bit) != 0)
        count = centres_inside(native, box, np.linalg.inv(steps), grid.shape)
        result[at][_highest(values, round(count / voxels))] |= target.bit
    return result


def resample_mask(mask: np.ndarray, affine: np.ndarray, grid: Grid) -> np.ndarray:
    """A boolean mask on `grid`, resampled as `resample_labels` does a target on which no other depends.

    Args:
        mask: 3-D, in any axis order.
        affine: 4 x 4, from its voxel indices to RAS millimetres.
        grid: where it is wanted.

    Returns:
        Boolean of the grid's shape, the first axis contiguous.
    """
    result, box = np.zeros(grid.shape, bool, order="F"), bounding_box(mask)
    if box is not None:
        steps = np.round(np.linalg.inv(affine) @ grid.affine, 9)
        values, at = _interpolated(mask[box], box, mask.shape, steps, grid.shape)
        count = centres_inside(mask[box], box, np.linalg.inv(steps), grid.shape)
        result[at][_highest(values, round(count / abs(np.linalg.det(steps[:3, :3]))))] = True
    return result


def target_boxes(labels: np.ndarray) -> dict[np.uint32, Box]:
    """The smallest box around every target that is present, by its bit."""
    held = profiles(labels)
    boxes = {target.bit: box_of([profile & target.bit for profile in held]) for target in all_targets()}
    return {bit: box for bit, box in boxes.items() if box is not None}


def centres_inside(mask: np.ndarray, box: Box, steps: np.ndarray, shape: Sequence[int]) -> int:
    """How many voxels of a mask that fills `box` of a scan have their centre inside a new grid.

    Args:
        mask: boolean, of the box's shape.
        steps: 4 x 4, from the scan's indices to those of the new grid.
        shape: of the new grid.
    """
    start = np.array([side.start for side in box])
    corners = np.array(list(product(*((side.start, side.stop - 1) for side in box))))
    if not _beyond(corners, steps, shape).any():
        return np.count_nonzero(mask)
    return np.count_nonzero(~_beyond(np.argwhere(mask) + start, steps, shape))


def _beyond(places: np.ndarray, steps: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Which voxels (N, 3) have their centre outside a grid of `shape` to whose indices `steps` (4 x 4) leads."""
    indices = places @ steps[:3, :3].T + steps[:3, 3]
    return ((indices < -0.5 - 1e-6) | (indices > np.array(shape) - 0.5 + 1e-6)).any(axis=1)


def _interpolated(
    mask: np.ndarray, box: Box, whole: Sequence[int], steps: np.ndarray, shape: Sequence[int]
) -> tuple[np.ndarray, Box]:
    """A mask that fills `box` of a scan, resampled as the image is: values from 0 to 1, and where they are not all 0.

    Args:
        mask: boolean, of the box's shape.
        whole: shape of the scan; beyond its edge the mask is smoothed as if it went on.
        steps: 4 x 4, from indices of the new grid to the scan's.
        shape: of the new grid.
    """
    factors = np.linalg.norm(steps[:3, :3], axis=1)
    reach = np.ceil(GAUSSIAN_REACH * np.maximum(0, (factors - 1) / 2)).astype(int) + 1
    before = [min(side.start, more) for side, more in zip(box, reach, strict=True)]
    after = [min(end - side.stop, more) for side, more, end in zip(box, reach, whole, strict=True)]
    start = np.array([side.start - more for side, more in zip(box, before, strict=True)])
    wide = smoothed(np.pad(mask, list(zip(before, after, strict=True))), factors)
    corners = np.array(list(product(*zip(start - 1, start + wide.shape, strict=True))))
    there = (corners - steps[:3, 3]) @ np.linalg.inv(steps[:3, :3]).T
    low = np.clip(np.floor(there.min(axis=0)), 0, shape).astype(int)
    high = np.clip(np.ceil(there.max(axis=0)) + 1, low, shape).astype(int)
    offset = steps[:3, :3] @ low + steps[:3, 3] - start
    values = ndimage.affine_transform(
        wide, steps[:3, :3], offset, tuple(high - low), order=1, mode="grid-constant", prefilter=False
    )
    return values, tuple(slice(a, b) for a, b in zip(low, high, strict=True))


def _highest(values: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
    """Indices of the `count` highest positive values, and of equal ones the first."""
    places = np.flatnonzero(values > 0)
    order = np.argsort(-values.ravel()[places], kind="stable")
    return np.unravel_index(places[order[:count]], values.shape)
