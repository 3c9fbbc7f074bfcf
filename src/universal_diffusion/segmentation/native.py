"""From the harmonised grid back to the CT's own: probabilities by linear interpolation, masks and maps as NIfTI."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK

from universal_diffusion.files import whole_file
from universal_diffusion.targets import target
from universal_diffusion.volumes import Grid

THRESHOLD = 0.5
MAXIMUM_VARIANCE = 0.25  # of numbers between 0 and 1
_SCANNER = 1  # NIfTI code of coordinates in the scanner's frame


def to_native(probability: np.ndarray, grid: Grid, native: Grid) -> np.ndarray:
    """Interpolate a map linearly onto the CT's own grid; 0 where the CT reaches beyond the map's outermost voxel edges.

    Both affines may flip, permute, rotate or shear: only world millimetres matter.

    Args:
        probability: (X, Y, Z) on `grid`.

    Returns:
        float32 of shape `native.shape`, in the CT's own array order.
    """
    resample = SimpleITK.ResampleImageFilter()
    resample.SetReferenceImage(_image(np.broadcast_to(np.uint8(0), native.shape), native))
    resample.SetInterpolator(SimpleITK.sitkLinear)
    resample.SetDefaultPixelValue(0)
    moved = resample.Execute(_image(probability.astype(np.float32), grid))
    return np.ascontiguousarray(SimpleITK.GetArrayViewFromImage(moved).T)


def _image(array: np.ndarray, grid: Grid) -> SimpleITK.Image:
    # SimpleITK arrays have the last index first; its world is taken as RAS here, which is all right for both images.
    image = SimpleITK.GetImageFromArray(array.T)
    image.SetSpacing(grid.spacing_mm.tolist())
    directions = grid.affine[:3, :3] / grid.spacing_mm
    image.SetDirection(np.round(directions, 12).ravel().tolist())  # ITK's inverse fails on denormal numbers
    image.SetOrigin(grid.affine[:3, 3].tolist())
    return image


def write_prediction(
    folder: Path, name: str, mean: np.ndarray, variance: np.ndarray, grid: Grid, native: Grid
) -> float:
    """Write `<slug>.nii.gz`, `<slug>_mean.nii.gz` and `<slug>_variance.nii.gz` of one target on the CT's own grid.

    Args:
        mean, variance: (X, Y, Z) maps on the harmonised `grid`.

    Returns:
        The mask's volume in millilitres.
    """
    stem = Path(folder) / target(name).slug
    native_mean = to_native(mean, grid, native)
    mask = native_mean >= THRESHOLD
    write_mask(stem.with_name(f"{stem.name}.nii.gz"), mask, native)
    write_map(stem.with_name(f"{stem.name}_mean.nii.gz"), native_mean, 1.0, native)
    native_variance = to_native(variance, grid, native)
    write_map(stem.with_name(f"{stem.name}_variance.nii.gz"), native_variance, MAXIMUM_VARIANCE, native)
    return int(mask.sum()) * native.voxel_ml


def write_mask(path: Path, mask: np.ndarray, grid: Grid) -> None:
    """Write a boolean mask as uint8 0/1 NIfTI (`.nii.gz`), whole or not at all; equal masks give equal bytes."""
    _write(path, mask.astype(np.uint8), None, grid)


def write_map(path: Path, values: np.ndarray, maximum: float, grid: Grid) -> None:
    """Write values from 0 to `maximum` as NIfTI of 256 levels: uint8 that readers scale by `scl_slope`."""
    levels = np.rint(np.clip(values / maximum, 0, 1) * 255).astype(np.uint8)
    _write(path, levels, maximum / 255, grid)


def _write(path: Path, array: np.ndarray, slope: float | None, grid: Grid) -> None:
    if array.shape != tuple(grid.shape):
        raise ValueError(f"{Path(path).name} has shape {array.shape}, its grid {grid.shape}")
    image = nibabel.Nifti1Image(array, grid.affine)
    image.header.set_xyzt_units("mm")
    if slope is not None:
        image.header.set_slope_inter(slope, 0)
    image.set_sform(grid.affine, _SCANNER)
    image.set_qform(grid.affine, 0 if _is_sheared(grid.affine) else _SCANNER)
    with whole_file(path) as partial:
        partial.write_bytes(gzip.compress(image.to_bytes(), compresslevel=3, mtime=0))


def _is_sheared(affine: np.ndarray) -> bool:
    """Whether the axes are not at right angles, which a qform cannot say."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return not np.allclose(axes.T @ axes, np.eye(3), atol=1e-4)
