"""NIfTI files as the datasets ship them: CTs in Hounsfield units and integer label maps, checked while read."""

import gzip
import zlib
from pathlib import Path

import nibabel
import numpy as np

from universal_diffusion.datasets.hounsfield import check_hounsfield
from universal_diffusion.errors import InputError

VOXEL_EDGES_MM = (0.01, 100.0)
LEAST_VOXEL_MM3 = 1e-6  # below, the axes do not span a volume
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    MemoryError,  # a header that promises more than there can be
    zlib.error,
    nibabel.filebasedimages.ImageFileError,
    nibabel.spatialimages.HeaderDataError,
)


def read_image(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a CT.

    Returns:
        3-D float32 Hounsfield units in the file's own axis order, and the 4 x 4 affine to RAS millimetres.

    Raises:
        InputError: if it is unreadable, not 3-D, says nothing of its orientation, or cannot be in Hounsfield units.
    """
    values, affine = read_values(path)
    image = np.asarray(values, np.float32)
    check_hounsfield(image, path)
    return image, affine


def read_label(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a label map: an integer array of native codes, and its affine. Codes that are no integers: InputError."""
    values, affine = read_values(path)
    if np.issubdtype(values.dtype, np.integer):
        return values, affine
    with np.errstate(invalid="ignore"):
        codes = values.astype(np.int32)
    if not np.array_equal(codes, values):  # so neither fractions, nor NaN, nor what 32 bits cannot hold
        raise InputError(
            path, "holds label values that are no whole numbers", "give the label map, not a resampled or soft one"
        )
    return codes, affine


def read_values(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The stored values of a 3-D file with the header's scaling, and its affine, which spans a volume.

    Raises:
        InputError: as `read_image`, but for what the values mean.
    """
    try:
        file = nibabel.load(path)
        values = np.asanyarray(file.dataobj)
        _require_end(path)
    except FileNotFoundError:
        raise InputError(path, "does not exist", "check the archive it should come from") from None
    except UNREADABLE as error:
        reason = str(error) or type(error).__name__
        raise InputError(path, f"is no whole NIfTI file ({reason})", "unpack or download its archive again") from None
    if values.dtype.kind not in "iuf":
        raise InputError(
            path, "holds colours or complex numbers, expected one number a voxel", "give a grey-value file"
        )
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise InputError(path, f"has {values.ndim} dimensions instead of 3", "give a single 3-D volume")
    if file.header["sform_code"] == 0 and file.header["qform_code"] == 0:
        raise InputError(
            path, "does not say how it lies in the patient (sform_code and qform_code are 0)", "convert the scan again"
        )
    _check_affine(file.affine, path)
    return values, np.asarray(file.affine, np.float64)


def _check_affine(affine: np.ndarray, path: Path) -> None:
    shortest, longest = VOXEL_EDGES_MM
    axes = affine[:3, :3]
    edges_mm = np.linalg.norm(axes, axis=0)
    spans = np.isfinite(affine).all() and abs(np.linalg.det(axes)) > LEAST_VOXEL_MM3
    if not (spans and (edges_mm >= shortest).all() and (edges_mm <= longest).all()):
        problem = f"has an affine that spans no volume, expected voxel edges of {shortest:g} to {longest:g} mm"
        raise InputError(path, problem, "convert it again from the DICOM files")


def _require_end(path: Path) -> None:
    """Read a gzip file to its checksum, which nibabel leaves unread; EOFError or OSError where it does not hold."""
    if path.name.endswith(".gz"):
        with gzip.open(path) as file:
            while file.read(2**20):
                pass
