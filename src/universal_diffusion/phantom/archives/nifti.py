"""NIfTI files in any axis order, as equal bytes."""

from collections.abc import Sequence
from typing import Literal

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from universal_diffusion.phantom.archives.codes import Code, paint
from universal_diffusion.phantom.archives.containers import gzipped
from universal_diffusion.phantom.scanner import Scan


def in_axes(array: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """Permute and flip a volume to the given axis codes, e.g. "LAS"; every voxel keeps its place in the world.

    Args:
        array: 3-D.
        affine: 4 x 4, from its voxel indices to RAS millimetres.
        codes: for each axis the direction in which its index grows.

    Returns:
        The rearranged array and its affine.
    """
    change = ornt_transform(io_orientation(affine), axcodes2ornt(tuple(codes)))
    return nib.apply_orientation(array, change), affine @ inv_ornt_aff(change, array.shape)


def image_and_label(scan: Scan, codes: Sequence[Code], axes: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A scan's int16 image, its uint8 label map in native codes, and their common affine, in the given axis order."""
    image, affine = in_axes(scan.image, scan.affine, axes)
    label, _ = in_axes(paint(scan.labels, codes), scan.affine, axes)
    return image, label, affine


def nifti_gz(array: np.ndarray, affine: np.ndarray, form: Literal["sform", "qform"] = "sform") -> bytes:
    """The bytes of a `.nii.gz` in the array's own type; `form` is the one header field that carries the affine."""
    image = nib.Nifti1Image(np.asarray(array), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=2 if form == "sform" else 0)
    image.set_qform(affine, code=1 if form == "qform" else 0)
    return gzipped(image.to_bytes())


def without_spacing(affine: np.ndarray) -> np.ndarray:
    """The affine with its directions kept and every spacing forced to 1 mm."""
    return affine @ np.diag([*(1 / np.linalg.norm(affine[:3, :3], axis=0)), 1])
