"""One DICOM file of a CT series: its header (pydicom), checked, and its pixels in Hounsfield units (SimpleITK)."""

import struct
import textwrap
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
import SimpleITK
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian

from universal_diffusion.datasets.base import itk_name
from universal_diffusion.datasets.dicom_codestreams import check_codestreams
from universal_diffusion.datasets.dicom_types import check_types
from universal_diffusion.errors import InputError

GEOMETRY = ["Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"]
GREY = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}
RESCALE = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}
COUNTS = ["InstanceNumber", "ImagesInAcquisition"]
LONGEST_FIRST = 64  # bytes of the first element of a file without preamble
DEFLATED_MOST, DEFLATED_ALLOWANCE = 64, 2**24  # bytes of a slice to one deflated, and a slice of air beside that
AT_ONCE = 2**16  # bytes that are inflated at a time
LARGEST_EDGE = 4096  # pixels; CT matrices have 512 to 2048
RIGHT_ANGLE_TOLERANCE = 1e-3  # of the two directions' lengths and of their cosine
UNREADABLE = (
    *(OSError, InvalidDicomError, EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError),
    *(
        NotImplementedError,
        ArithmeticError,
        RecursionError,
        MemoryError,
        struct.error,
        zlib.error,
        BytesLengthException,
    ),
)


@dataclass(frozen=True)
class Slice:
    """The header of one slice.

    Attributes:
        path: its file; of a frame, `file/frame n`.
        series: SeriesInstanceUID.
        shape: columns, rows.
        spacing_mm: distance of the rows, of the columns.
        position: of the first voxel, DICOM's LPS mm.
        row, column: directions in which the columns and the rows follow each other, in LPS.
        number: InstanceNumber, or None.
        counted: ImagesInAcquisition, or None.
    """

    path: Path
    series: str
    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    position: np.ndarray
    row: np.ndarray
    column: np.ndarray
    number: int | None
    counted: int | None

    @property
    def normal(self) -> np.ndarray:
        """Direction at right angles to the slice."""
        return np.cross(self.row, self.column)


def read_header(path: Path) -> Slice:
    """Header of a CT slice.

    Raises:
        InputError: for a file that is no DICOM, of another modality, colour or several frames, that lacks its geometry,
            or whose geometry or rescaling is impossible.
    """
    with damage_refused(path), open(path, "rb") as file:
        check_deflated(path)
        tags = pydicom.dcmread(file, stop_before_pixels=True, force=is_dicom(path))
        if int(tags.get("NumberOfFrames") or 1) > 1:
            raise InputError(path, "holds several frames", "convert it to NIfTI, or export one file per slice")
        one = slice_of(tags, path)
        pixels = file.tell()
        _check_pixel_bytes(tags, file, one)
        file.seek(pixels)
        check_types(tags, file, path)
        return one


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does: with its preamble, or without one at once with group 0002 or 0008."""
    with open(path, "rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM":
        return True
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return start[:2] in (b"\2\0", b"\10\0") and (explicit or 0 < int.from_bytes(start[4:8], "little") <= LONGEST_FIRST)


def check_deflated(path: Path) -> None:
    """Stop at a deflated file that is a bomb; pydicom and GDCM inflate such files whole, at once and without bound.

    To be called before either sees the file, within `damage_refused`. Raises InputError.
    """
    with open(path, "rb") as file:
        read_preamble(file, force=True)
        meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        left, inflater = DEFLATED_MOST * path.stat().st_size + DEFLATED_ALLOWANCE, zlib.decompressobj(-zlib.MAX_WBITS)
        waiting = file.read(AT_ONCE)
        while waiting and left > 0 and not inflater.eof:
            left -= len(inflater.decompress(waiting, AT_ONCE))
            waiting = inflater.unconsumed_tail or file.read(AT_ONCE)
    if left <= 0:
        problem = f"would inflate to more than {DEFLATED_MOST} times its size, which no honest slice does"
        raise InputError(path, problem, "do not trust it: export the series again, uncompressed")


def slice_of(tags: pydicom.Dataset, path: Path) -> Slice:
    """The slice that `tags` describe, its kind, geometry and rescaling checked. Raises InputError as `read_header`."""
    _check_kind(tags, path)
    return _slice(tags, path)


@contextmanager
def damage_refused(path: Path) -> Iterator[None]:
    """Turn whatever pydicom stumbles over in a file, at once or when a value is looked at, into an InputError.

    Its warnings quote values, a patient's name among them, and are not passed on.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pydicom")
            yield
    except UNREADABLE as error:
        reason = textwrap.shorten(str(error), 160) or type(error).__name__
        raise InputError(path, f"is no DICOM file ({reason})", "export or download the series again") from None


def _check_kind(tags: pydicom.Dataset, path: Path) -> None:
    if (tags.get("Modality") or "CT") != "CT":
        raise InputError(path, f"is {tags.Modality}, not CT", "give a CT series")
    missing = [name for name in GEOMETRY if tags.get(name) is None]
    if missing or any(tags.get(name, usual) != usual for name, usual in GREY.items()):
        raise InputError(
            path,
            f"is no CT slice (it lacks {', '.join(missing) or 'grey values'})",
            "remove scouts and screen captures",
        )
    slope, intercept = (float(usual if tags.get(name) is None else tags[name].value) for name, usual in RESCALE.items())
    if not (slope > 0 and np.isfinite([slope, intercept]).all()):
        problem = f"is rescaled by slope {slope:g} and intercept {intercept:g}, which gives no Hounsfield units"
        raise InputError(path, problem, "export or download the series again")


def _slice(tags: pydicom.Dataset, path: Path) -> Slice:
    spacing_mm, position, orientation = (np.atleast_1d(np.array(tags[name].value, float)) for name in GEOMETRY[2:])
    columns, rows = int(tags.Columns), int(tags.Rows)
    possible = {
        "Rows": 0 < rows <= LARGEST_EDGE,
        "Columns": 0 < columns <= LARGEST_EDGE,
        "PixelSpacing": spacing_mm.size == 2 and np.isfinite(spacing_mm).all() and (spacing_mm > 0).all(),
        "ImagePositionPatient": position.size == 3 and np.isfinite(position).all(),
        "ImageOrientationPatient": orientation.size == 6 and _at_right_angles(orientation),
    }
    if not all(possible.values()):
        impossible = ", ".join(name for name, fits in possible.items() if not fits)
        raise InputError(path, f"has impossible {impossible}", "export or download the series again")
    number, counted = (None if tags.get(name) is None else int(tags[name].value) for name in COUNTS)
    return Slice(
        path=path,
        series=str(tags.get("SeriesInstanceUID") or ""),
        shape=(columns, rows),
        spacing_mm=tuple(spacing_mm.tolist()),
        position=position,
        row=orientation[:3],
        column=orientation[3:],
        number=number,
        counted=counted,
    )


def _check_pixel_bytes(tags: pydicom.Dataset, file: BinaryIO, one: Slice) -> None:
    """Compare the pixels, which begin where `file` stands, with the header's size and type.

    SimpleITK reads uncompressed rows or bits of another number as garbage, or beyond the end of its buffer.
    """
    syntax = tags.file_meta.get("TransferSyntaxUID")
    if syntax and syntax.is_compressed and not syntax.is_deflated:
        check_codestreams(file, syntax, 1, one.shape, one.path)
        return
    if syntax and syntax.is_deflated:
        length = len(pydicom.dcmread(one.path)["PixelData"].value)
    else:
        implicit, little_endian = tags.original_encoding
        element = file.read(12)  # tag, type unless implicit, length
        length = int.from_bytes(element[4:8] if implicit else element[8:12], "little" if little_endian else "big")
    bits = int(tags.BitsAllocated)
    expected = one.shape[0] * one.shape[1] * bits // 8
    if length != expected + expected % 2:
        problem = f"holds {length} bytes of pixels, its header says {one.shape[0]} x {one.shape[1]} of {bits} bits"
        raise InputError(one.path, problem, "export or download the series again")


def _at_right_angles(orientation: np.ndarray) -> bool:
    directions = orientation.reshape(2, 3)
    return np.allclose(directions @ directions.T, np.eye(2), rtol=0, atol=RIGHT_ANGLE_TOLERANCE)


def read_pixels(one: Slice) -> np.ndarray:
    """(columns, rows) float32 values, rescaled by the file's slope and intercept. InputError if they are not there."""
    try:
        image = SimpleITK.ReadImage(itk_name(one.path), SimpleITK.sitkFloat32, "GDCMImageIO")
    except RuntimeError:
        raise InputError(one.path, "has pixels that cannot be decoded", "export or download the series again") from None
    pixels = SimpleITK.GetArrayFromImage(image)[0].T
    if pixels.shape != one.shape:
        problem = f"has {pixels.shape} pixels, its header says {one.shape}"
        raise InputError(one.path, problem, "export or download the series again")
    return pixels
