"""NIfTI files as the datasets ship them: CTs in Hounsfield units and integer label maps, checked while read."""

import gzip
import io
import math
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy

from universal_diffusion.datasets.grids import MOST_VOXELS, axis_codes, check_affine
from universal_diffusion.datasets.hounsfield import check_hounsfield
from universal_diffusion.errors import InputError

DEFLATE_MOST = 1032  # bytes that gzip can pack into one
AT_ONCE = 2**22  # bytes of voxels that are read and scaled at a time
# Share of a voxel edge by which sform and qform may differ along it: a tenth is 6 degrees, or 10 % of the spacing. It
# covers rounding, and the shear of headers (AbdomenCT-1K's) that a qform cannot say.
FORM_TOLERANCE = 0.1
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    OverflowError,
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
    with np.errstate(over="ignore"):  # what 32 bits cannot hold becomes infinite, and is refused
        image, affine = _read(path, lambda values: values.astype(np.float32, copy=False))
    check_hounsfield(image, path)
    return image, affine


def read_label(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a label map: an integer array of native codes, and its affine. Codes that are no integers: InputError."""

    def codes(values: np.ndarray) -> np.ndarray:
        if np.issubdtype(values.dtype, np.integer):
            return values
        with np.errstate(invalid="ignore"):
            whole = values.astype(np.int32)
        if not np.array_equal(whole, values):  # so neither fractions, nor NaN, nor what 32 bits cannot hold
            raise InputError(
                path, "holds label values that are no whole numbers", "give the label map, not a resampled or soft one"
            )
        return whole

    return _read(path, codes)


def read_values(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The stored values of a 3-D file with the header's scaling, and its affine, which spans a volume.

    Whole numbers keep their type; others, and what the header scales, come as float32.

    The affine is the sform's where there is one, else the qform's (NIfTI's order). Where both are given they must turn
    and scale alike: programs follow the one or the other, so the label's author may have seen another left and right
    than we would. Their origins may differ; no side, volume or pairing depends on it.

    Raises:
        InputError: as `read_image`, but for what the values mean.
    """
    return _read(path, lambda values: values.astype(np.float32, copy=False) if values.dtype.kind == "f" else values)


def _read(path: Path, converted: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """`read_values`, `converted` some slices at a time as they are decompressed."""
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as stream:
            header = header_in(stream)
            _check_size(header, path)
            check_affine(header.get_best_affine(), path)
            _check_forms(header, path)
            values = _values(_voxels(header, stream, path), converted)
            while path.name.endswith(".gz") and stream.read(2**20):
                pass  # gzip compares the checksum at the end, also of what follows the voxels
    except FileNotFoundError:
        raise InputError(path, "does not exist", "check the archive it should come from") from None
    except UNREADABLE as error:
        reason = textwrap.shorten(str(error), 160) or type(error).__name__
        raise InputError(path, f"is no whole NIfTI file ({reason})", "unpack or download its archive again") from None
    return values, np.asarray(header.get_best_affine(), np.float64)


def header_in(stream: BinaryIO) -> nibabel.Nifti1Header:
    """The NIfTI-1 or -2 header that a stream begins with, without its extensions.

    nibabel takes those into memory as long as they say they are, and parses them. Raises ImageFileError for no header.
    """
    start = stream.read(nibabel.Nifti2Header.sizeof_hdr)
    for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        if kind.may_contain_header(start):
            return kind.from_fileobj(io.BytesIO(start[: kind.sizeof_hdr]))
    raise nibabel.filebasedimages.ImageFileError("it does not begin with a NIfTI header")


def _voxels(header: nibabel.Nifti1Header, stream: BinaryIO, path: Path) -> ArrayProxy:
    """The file's voxels as read from `stream`, without trailing axes of length 1."""
    stored = ArrayProxy(stream, header)
    if stored.dtype.kind not in "iuf":
        raise InputError(
            path, "holds colours or complex numbers, expected one number a voxel", "give a grey-value file"
        )
    shape = stored.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise InputError(path, f"has {len(shape)} dimensions instead of 3", "give a single 3-D volume")
    return ArrayProxy(stream, (shape, stored.dtype, stored.offset, stored.slope, stored.inter))


def _values(voxels: ArrayProxy, converted: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """All voxels, in the order of the file (the first axis fastest)."""
    depth = voxels.shape[2]
    together = max(1, AT_ONCE // (math.prod(voxels.shape[:2]) * voxels.dtype.itemsize))
    for first in range(0, depth, together):
        part = converted(voxels[..., first : first + together])
        if first == 0:
            values = np.empty(voxels.shape, part.dtype, order="F")
        values[..., first : first + together] = part
    return values


def _check_size(header: nibabel.Nifti1Header, path: Path) -> None:
    """Stop before memory is taken for voxels that the header promises and the file cannot hold."""
    shape = tuple(map(int, header.get_data_shape()))
    voxels = math.prod(shape)
    promised = voxels * header.get_data_dtype().itemsize
    held = path.stat().st_size * (DEFLATE_MOST if path.name.endswith(".gz") else 1)
    if min(shape, default=0) < 1 or voxels > MOST_VOXELS or promised > held:
        problem = f"promises {' x '.join(map(str, shape))} voxels, which its {path.stat().st_size} bytes cannot hold"
        raise InputError(path, problem, "unpack or download its archive again")


def _check_forms(header: nibabel.Nifti1Header, path: Path) -> None:
    (sform, sform_code), (qform, qform_code) = header.get_sform(coded=True), header.get_qform(coded=True)
    if sform_code == 0 and qform_code == 0:
        raise InputError(
            path, "does not say how it lies in the patient (sform_code and qform_code are 0)", "convert the scan again"
        )
    if sform_code == 0 or qform_code == 0:
        return
    apart = np.linalg.norm((sform - qform)[:3, :3], axis=0) / np.linalg.norm(sform[:3, :3], axis=0)
    if not apart.max() <= FORM_TOLERANCE:
        codes = f"sform {axis_codes(sform)}, qform {axis_codes(qform)}, {apart.max():.0%} of a voxel apart at each step"
        problem = f"says two things of how it lies in the patient ({codes})"
        raise InputError(path, problem, "find out which holds, and give the file one of them")
