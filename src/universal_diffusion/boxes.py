"""The smallest box around what an array holds, so that only there is looked."""

import numpy as np

Box = tuple[slice, ...]


def profiles(array: np.ndarray) -> list[np.ndarray]:
    """For each axis the union (bitwise or) of the values in every slice across it; booleans or label bits."""
    axes = range(array.ndim)
    return [np.bitwise_or.reduce(array, axis=tuple(other for other in axes if other != axis)) for axis in axes]


def box_of(held: list[np.ndarray]) -> Box | None:
    """The smallest box around the voxels whose profiles (`profiles`) are not zero; None where there is none."""
    places = [np.flatnonzero(profile) for profile in held]
    if not places[0].size:
        return None
    return tuple(slice(int(along[0]), int(along[-1]) + 1) for along in places)


def bounding_box(mask: np.ndarray) -> Box | None:
    """The smallest box around a boolean mask; None around an empty one."""
    return box_of(profiles(mask))
