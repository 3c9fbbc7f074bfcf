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
MOST_VOXELS = 2**31  # 8192 slices of 512 x 512
VOXEL_EDGES_MM = (0.01, 100.0)
FARTHEST_MM = 1e6
LEAST_VOXEL_MM3 = 1e-6  # below, the axes do not span a volume


def check_affine(affine: np.ndarray, where: Path) -> None:
    """Stop with an InputError unless the affine spans a volume of credible size and place."""
    shortest, longest = VOXEL_EDGES_MM
    finite = np.isfinite(affine).all() and abs(affine).max() < FARTHEST_MM
    edges_mm = np.linalg.norm(affine[:3, :3], axis=0)
    spans = finite and abs(np.linalg.det(affine[:3, :3])) > LEAST_VOXEL_MM3
    if not (spans and (edges_mm >= shortest).all() and (edges_mm <= longest).all()):
        problem = f"has an affine that spans no volume, expected voxel edges of {shortest:g} to {longest:g} mm"
        raise InputError(where, problem, "convert it again from the DICOM files")


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
    """Directions in which the array axes run, e.g. "RAS" (right, anterior, superior); "?" for an axis without one."""
    return "".join(code or "?" for code in nibabel.aff2axcodes(affine))


def in_axis_order(array: np.ndarray, affine: np.ndarray, wanted_affine: np.ndarray) -> np.ndarray:
    """`array` with its axes permuted and flipped so that they run as those of `wanted_affine` do; no resampling."""
    change = orientations.ornt_transform(
        orientations.io_orientation(affine), orientations.io_orientation(wanted_affine)
    )
    return orientations.apply_orientation(array, change)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
