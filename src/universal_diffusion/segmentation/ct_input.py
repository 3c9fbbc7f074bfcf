"""Reading a CT as users have it: a NIfTI file, a folder of DICOM files, or a zip of one."""

import shutil
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pydicom

from universal_diffusion.datasets.dicom import dicom_files, read_series
from universal_diffusion.datasets.dicom_slices import damage_refused
from universal_diffusion.datasets.hounsfield import check_hounsfield
from universal_diffusion.datasets.nifti import read_image
from universal_diffusion.errors import InputError
from universal_diffusion.volumes import Grid

NARROWEST_HU = 100.0  # from air to water are 1000, from fat to liver about 150
LARGEST_ZIP = 20 * 10**9  # bytes; a CT of 4000 slices has 2


def read_ct(path: Path) -> tuple[np.ndarray, Grid]:
    """Read one CT in Hounsfield units.

    Args:
        path: `.nii` or `.nii.gz`; a folder, searched to all depths, that holds one CT series; or its `.zip`.

    Returns:
        (X, Y, Z) float32 in the file's own array order, and its grid.

    Raises:
        InputError: nothing there, unreadable, not 3-D, without orientation, not finite, constant or not in HU; several
            series, with their names.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(path, "does not exist", "give a .nii or .nii.gz file, a DICOM folder or a .zip of one")
    if path.is_dir():
        image, affine = _read_dicom(path, path)
    elif path.name.endswith((".nii", ".nii.gz")):
        image, affine = _read_nifti(path)
    elif zipfile.is_zipfile(path):
        image, affine = _read_zip(path)
    else:
        raise InputError(path, "is no .nii, .nii.gz or .zip file", "convert it, or give its DICOM folder")
    _refuse_other_scales(image, path)
    return image, Grid(image.shape, affine)


def _read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image, affine = read_image(path)
    if min(image.shape) < 2:
        raise InputError(path, f"is a single slice (shape {image.shape})", "give the whole CT")
    return image, affine


def _read_zip(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                _refuse_overflow(path, archive, Path(folder))
                archive.extractall(folder)
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
            raise InputError(path, f"cannot be unpacked ({error})", "copy it again, or unpack it yourself") from None
        try:
            return _read_dicom(Path(folder), path)
        except InputError as error:  # name the user's file, not the folder it was unpacked to
            where = error.where.replace(folder, str(path))
            raise InputError(where, error.problem, error.remedy) from None


def _refuse_overflow(path: Path, archive: zipfile.ZipFile, folder: Path) -> None:
    size = sum(member.file_size for member in archive.infolist())
    if size > min(LARGEST_ZIP, shutil.disk_usage(folder).free):
        raise InputError(path, f"would expand to {size / 1e9:.1f} GB", "unpack it yourself and give the folder")


def _read_dicom(folder: Path, given: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the one CT series below `folder`; series of a single file (scouts, reports) do not count."""
    series, names = _ct_series(folder)
    volumes = {uid: files for uid, files in series.items() if len(files) > 1}
    if not volumes:
        raise InputError(given, "holds no CT series in DICOM format", "give the folder that holds the slices")
    if len(volumes) > 1:
        listed = "; ".join(
            f"{names[uid]} ({len(files)} slices, in {files[0].parent.relative_to(folder)})"
            for uid, files in volumes.items()
        )
        raise InputError(given, f"holds {len(volumes)} CT series: {listed}", "give a folder with one of them")
    (files,) = volumes.values()
    image, affine = read_series(files)
    check_hounsfield(image, given)
    return image, affine


def _ct_series(folder: Path) -> tuple[dict[str, list[Path]], dict[str, str]]:
    """Files and descriptions of the CT series in a folder, by SeriesInstanceUID."""
    series: dict[str, list[Path]] = defaultdict(list)
    names: dict[str, str] = {}
    for directory in sorted([folder, *(path for path in folder.rglob("*") if path.is_dir())]):
        for path in dicom_files(directory):
            with damage_refused(path):
                header = pydicom.dcmread(
                    path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "SeriesDescription", "Modality"]
                )
                modality, uid = header.get("Modality", "CT"), str(header.get("SeriesInstanceUID") or "")
                name = str(header.get("SeriesDescription") or uid or "without a name")
            if modality == "CT":
                series[uid].append(path)
                names[uid] = name
    return series, names


def _refuse_other_scales(image: np.ndarray, path: Path) -> None:
    lowest, highest = float(image.min()), float(image.max())
    if highest - lowest < NARROWEST_HU:
        raise InputError(
            path,
            f"has values from {lowest:g} to {highest:g}, which are not Hounsfield units (air is -1000, water 0)",
            "give the CT itself, neither scaled nor normalised",
        )
