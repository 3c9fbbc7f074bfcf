"""Voxel grids of an image and its label: are they the same, and how one array is brought into another's axis order."""

from itertools import product
from pathlib import Path

import nibabel
import numpy as np
from nibabel import orientations

from universal_diffusion.errors import InputError

# Corners of two grids may lie this share of the smallest voxel edge apart. Headers store angles and spacings as
# rounded 32-bit numbers, which moves a corner by some micrometres; a shift below a tenth of a voxel moves no label.
CORNER_TOLERANCE = 0.1


def check_same_grid(
    image_shape: tuple[int, ...], image_affine: np.ndarray, shape: tuple[int, ...], affine: np.ndarray, where: Path
) -> None:
    """Stop with an InputError naming the label `where` unless it has its image's shape and, at every corner, place."""
    if tuple(shape) != tuple(image_shape):
        raise InputError(
            where,
            f"has shape {_by(shape)}, its image {_by(image_shape)}",
            "give the label that was drawn on this image, on its grid",
        )
    corners = np.array([(*corner, 1) for corner in product(*((0, length - 1) for length in shape))])
    apart_mm = np.linalg.norm((corners @ (np.asarray(affine) - image_affine).T)[:, :3], axis=1).max()
    allowed_mm = CORNER_TOLERANCE * np.linalg.norm(image_affine[:3, :3], axis=0).min()
    if apart_mm > allowed_mm:
        raise InputError(
            where,
            f"lies up to {apart_mm:.2f} mm away from its image (axes {axis_codes(affine)} and "
            f"{axis_codes(image_affine)}; {allowed_mm:.2f} mm allowed)",
            "give the label that was drawn on this image, or correct the header that is wrong",
        )


def axis_codes(affine: np.ndarray) -> str:
    """Directions in which the array axes run, e.g. "RAS" (right, anterior, superior)."""
    return "".join(nibabel.aff2axcodes(affine))


def in_axis_order(array: np.ndarray, affine: np.ndarray, wanted_affine: np.ndarray) -> np.ndarray:
    """`array` with its axes permuted and flipped so that they run as those of `wanted_affine` do; no resampling."""
    change = orientations.ornt_transform(
        orientations.io_orientation(affine), orientations.io_orientation(wanted_affine)
    )
    return orientations.apply_orientation(array, change)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
