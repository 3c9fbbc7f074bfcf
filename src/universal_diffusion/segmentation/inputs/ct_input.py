"""Reading a CT as users have it: NIfTI, NRRD, MetaImage, a folder of DICOM files, or a zip of any of these."""

import gzip
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

from universal_diffusion.datasets.dicom_slices import is_dicom
from universal_diffusion.datasets.hounsfield import BODY_HU, check_hounsfield
from universal_diffusion.datasets.nifti import header_in, read_image
from universal_diffusion.errors import InputError
from universal_diffusion.preparation.extraction import DAMAGED, extract
from universal_diffusion.segmentation.inputs.ct import CT
from universal_diffusion.segmentation.inputs.ct_folder import (
    NIFTI,
    NRRD,
    find_cts,
    holds_dicom,
    image_files,
    is_image,
    only_ct,
)
from universal_diffusion.segmentation.inputs.dicom_input import read_dicom
from universal_diffusion.segmentation.inputs.metaimage import metaimage_header
from universal_diffusion.segmentation.inputs.nrrd import nrrd_header
from universal_diffusion.segmentation.inputs.stored_voxels import read_voxels
from universal_diffusion.volumes import Grid

__all__ = ["CT", "find_cts", "read_ct"]
NARROWEST_HU = 256.0  # from air to water are 1000, from fat to contrast-filled vessels about 300; 8 bits end at 255
KINDS = "a .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd file, a DICOM folder, or a .zip of one"
BY_HAND = "unpack it yourself and give the folder"


def read_ct(path: Path, series: str | None = None) -> CT:
    """Read one CT in Hounsfield units.

    Args:
        path: `.nii`, `.nii.gz`, `.nrrd`, `.nhdr`, `.mha`, `.mhd`; a folder, searched to all depths, that holds DICOM
            series, or else a single such file or one named `ct`; its `.zip`; an enhanced (multi-frame) DICOM file.
        series: of several DICOM series, the number in the list that the error shows, or the beginning of its UID.

    Raises:
        InputError: nothing there, unreadable, not 3-D, without orientation, not finite, constant or not in HU; DICOM
            slices that make no volume (missing ones with their positions); several series of which none is preferred.
    """
    path = Path(path)
    ct = _read(path, path, series)
    check_hounsfield(ct.hu, path)
    lowest, highest = float(ct.hu.min()), float(ct.hu.max())
    if highest - lowest < NARROWEST_HU:
        raise InputError(
            path,
            f"has values from {lowest:g} to {highest:g}, which are not Hounsfield units (air is -1000, water 0) but "
            "look normalised or of 8 bits",
            "give the CT itself, neither scaled nor normalised",
        )
    if min(ct.hu.shape) < 2:
        raise InputError(path, f"is a single slice (shape {ct.hu.shape})", "give the whole CT")
    cropped = (f"no value is below {BODY_HU} HU: cropped inside the body, or clipped",) if lowest > BODY_HU else ()
    return replace(ct, path=path, notes=ct.notes + cropped)


def _read(path: Path, given: Path, series: str | None) -> CT:
    if not path.exists():
        raise InputError(path, "does not exist", f"give {KINDS}")
    if path.is_dir():
        return _read_folder(path, given, series)
    if path.name.upper() == "DICOMDIR":
        return _read_folder(path.parent, given, series)
    if path.name.lower().endswith(".zip"):
        return _read_zip(path, series)
    if is_image(path):
        return _read_file(path, series)
    if _begins_as_dicom(path):
        return _read_dicom_file(path, series)
    raise InputError(path, "is no CT file", f"give {KINDS}")


def _read_file(path: Path, series: str | None) -> CT:
    if series is not None:
        raise InputError("--series", f"is for DICOM, and {path} is none", "leave it out")
    if not path.name.endswith(NIFTI):
        is_nrrd = path.name.lower().endswith(NRRD)
        stored = (nrrd_header if is_nrrd else metaimage_header)(path)
        hu = read_voxels(path, stored)
        return CT(hu, Grid(hu.shape, stored.affine), path, "NRRD" if is_nrrd else "MetaImage", stored.notes)
    image, affine = read_image(path)
    with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as stream:
        dimensions = len(header_in(stream).get_data_shape())
    notes = (f"its axes beyond the third, of length 1, were dropped ({dimensions} in all)",) if dimensions > 3 else ()
    return CT(image, Grid(image.shape, affine), path, "NIfTI", notes)


def _read_folder(folder: Path, given: Path, series: str | None) -> CT:
    """The DICOM CT of a folder, or, where it holds no DICOM, its only image file."""
    if holds_dicom(folder):
        return read_dicom(folder, given, series)
    files = image_files(folder)
    if not files:
        raise InputError(given, "holds no CT series in DICOM format and no other CT file", f"give {KINDS}")
    if (ct := only_ct(files)) is None:
        listed = ", ".join(str(path.relative_to(folder)) for path in files[:8])
        more = f" and {len(files) - 8} more" if len(files) > 8 else ""
        raise InputError(given, f"holds {len(files)} image files: {listed}{more}", "give one of them")
    return _read_file(ct, series)


def _read_dicom_file(path: Path, series: str | None) -> CT:
    """An enhanced CT in one file; of a classic slice, the remedy is its folder."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / path.name).symlink_to(path.resolve())
        try:
            return read_dicom(Path(folder), path, series)
        except InputError as error:
            single = "holds no CT series" in error.problem
            remedy = f"give the folder with all slices: {path.parent}" if single else error.remedy
            raise InputError(error.where.replace(folder, str(path.parent)), error.problem, remedy) from None


def _read_zip(path: Path, series: str | None) -> CT:
    with tempfile.TemporaryDirectory() as folder:
        _unpack(path, folder)
        try:
            return _read_folder(Path(folder), path, series)
        except InputError as error:  # name the user's file, not the folder it was unpacked to
            raise InputError(error.where.replace(folder, str(path)), error.problem, error.remedy) from None


def _unpack(path: Path, folder: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            locked = any(member.flag_bits & 1 for member in archive.infolist())
    except (*DAMAGED, OSError, zipfile.BadZipFile) as error:
        raise InputError(path, f"cannot be unpacked ({error})", "copy it again, or unpack it yourself") from None
    if locked:
        raise InputError(path, "is locked with a password", BY_HAND)
    try:
        extract(path, Path(folder), None)
    except InputError as error:
        raise InputError(path, error.problem, "copy it again, or unpack it yourself and give the folder") from None


def _begins_as_dicom(path: Path) -> bool:
    try:
        return is_dicom(path)
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "make it readable") from None
