"""One DICOM series, read into a volume with its place in the patient.

Positions and orientation come from the headers of all slices (pydicom), so that the order of files does not matter and
a missing slice is noticed; the pixels, compressed or not, and their rescaling to Hounsfield units come from SimpleITK.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK
from pydicom.errors import InvalidDicomError

from universal_diffusion.datasets.base import natural_key
from universal_diffusion.errors import InputError

GEOMETRY = ["Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"]
TAGS = ["SeriesInstanceUID", "Modality", "NumberOfFrames", "SamplesPerPixel", *GEOMETRY]
GAP_TOLERANCE = 0.1  # share of the slice spacing by which a gap may differ (positions are stored rounded)
SHEAR_TOLERANCE = 0.01  # sideways shift per millimetre between slices (gantry tilt)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Slice:
    """The header of one slice: `position` of its first voxel, `row` and `column` directions (DICOM's LPS), in mm."""

    path: Path
    series: str
    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    position: np.ndarray
    row: np.ndarray
    column: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        """Direction at right angles to the slice."""
        return np.cross(self.row, self.column)


def read_folder(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """`read_series` of the DICOM files directly in a folder, which must hold one series."""
    files = dicom_files(folder)
    if not files:
        raise InputError(folder, "holds no DICOM file", "unpack or download it again")
    return read_series(files)


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files directly in a folder (any suffix or none), naturally sorted; other files are passed over."""
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted((path for path in files if _has_preamble(path)), key=lambda path: natural_key(path.name))


def read_series(files: Sequence[Path], series: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Read the slices of one series, in any order.

    Args:
        files: DICOM files, one slice each.
        series: SeriesInstanceUID of the one to read where `files` hold several.

    Returns:
        (columns, rows, slices) float32 Hounsfield units, and the 4 x 4 affine to RAS millimetres. Slices run along the
        normal of the image plane (row x column direction).

    Raises:
        InputError: for files that are no CT slices, for several series of which none is chosen, and for slices that do
            not make a volume: of other size, spacing or direction, doubled, missing, or sheared.
    """
    slices = _sorted_slices(files, series)
    _check_alike(slices)
    affine = _affine(slices)
    return np.stack([_pixels(one) for one in slices], axis=-1), affine


def slice_order(files: Sequence[Path]) -> list[Path]:
    """The files of one series in the order in which `read_series` stacks them."""
    return [one.path for one in _sorted_slices(files, None)]


def _sorted_slices(files: Sequence[Path], series: str | None) -> list[Slice]:
    slices = _of_one_series([_header(Path(path)) for path in files], series)
    return sorted(slices, key=lambda one: float(one.position @ slices[0].normal))


def _has_preamble(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM" and path.name.upper() != "DICOMDIR"


def _header(path: Path) -> Slice:
    """Header of a CT slice; an InputError says what is missing in it."""
    try:
        tags = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
    except (OSError, InvalidDicomError, EOFError, ValueError) as error:
        raise InputError(path, f"is no DICOM file ({error})", "export or download the series again") from None
    if tags.get("Modality", "CT") != "CT":
        raise InputError(path, f"is {tags.Modality}, not CT", "give a CT series")
    if int(tags.get("NumberOfFrames") or 1) > 1:
        raise InputError(path, "holds several frames", "convert it to NIfTI, or export one file per slice")
    missing = [name for name in GEOMETRY if tags.get(name) is None]
    if missing or tags.get("SamplesPerPixel", 1) != 1:
        raise InputError(
            path,
            f"is no CT slice (it lacks {', '.join(missing) or 'grey values'})",
            "remove scouts and screen captures",
        )
    spacing_mm, position, orientation = (np.atleast_1d(np.array(tags[name].value, float)) for name in GEOMETRY[2:])
    if (spacing_mm.size, position.size, orientation.size) != (2, 3, 6) or not (spacing_mm > 0).all():
        raise InputError(path, f"has impossible {', '.join(GEOMETRY[2:])}", "export or download the series again")
    return Slice(
        path=path,
        series=str(tags.get("SeriesInstanceUID") or ""),
        shape=(int(tags.Columns), int(tags.Rows)),
        spacing_mm=tuple(spacing_mm.tolist()),
        position=position,
        row=orientation[:3],
        column=orientation[3:],
    )


def _of_one_series(slices: list[Slice], series: str | None) -> list[Slice]:
    if not slices:
        raise InputError("DICOM series", "no files were given", "give a folder that holds DICOM files")
    folder = slices[0].path.parent
    found = {one.series: sum(other.series == one.series for other in slices) for one in slices}
    if series is None and len(found) > 1:
        listed = ", ".join(f"{uid or '(no identifier)'} ({count} slices)" for uid, count in sorted(found.items()))
        raise InputError(folder, f"holds {len(found)} series: {listed}", "choose one, or keep each in its own folder")
    if series is not None and series not in found:
        raise InputError(folder, f"does not hold series {series}", f"it holds {', '.join(sorted(found))}")
    return [one for one in slices if series in (None, one.series)]


def _check_alike(slices: list[Slice]) -> None:
    """Stop at the first slice that differs from the first one, or leaves a wrong gap to the one before it."""
    first = slices[0]
    if len(slices) == 1:
        raise InputError(first.path, "is the only slice of its series", "give the whole series")
    for one in slices:
        same = one.shape == first.shape and np.allclose(one.spacing_mm, first.spacing_mm, atol=1e-4)
        if not (same and np.allclose((one.row, one.column), (first.row, first.column), atol=1e-3)):
            raise InputError(
                one.path,
                f"differs from {first.path.name} in size, spacing or direction",
                "remove slices of other views",
            )
    places_mm = [float(one.position @ first.normal) for one in slices]
    usual_mm = float(np.median(np.diff(places_mm)))
    for (before, place), (after, next_place) in pairwise(zip(slices, places_mm, strict=True)):
        gap_mm = next_place - place
        if gap_mm < 1e-3 or abs(gap_mm - usual_mm) > GAP_TOLERANCE * usual_mm:
            problem = "two slices at the same place" if gap_mm < 1e-3 else f"a gap of {gap_mm:g} mm"
            raise InputError(
                before.path.parent,
                f"has {problem}, from {place:g} mm ({before.path.name}) to {next_place:g} mm ({after.path.name}), "
                f"where slices are {usual_mm:g} mm apart",
                "export the series again, whole and once",
            )


def _affine(slices: list[Slice]) -> np.ndarray:
    """Voxel indices (column, row, slice) to RAS millimetres (DICOM PS3.3, C.7.6.2.1.1); no sheared stack."""
    first, last = slices[0], slices[-1]
    step = (last.position - first.position) / (len(slices) - 1)
    along = float(step @ first.normal)
    if np.linalg.norm(step - along * first.normal) > SHEAR_TOLERANCE * along:
        raise InputError(
            first.path.parent, "has slices that are shifted sideways (gantry tilt)", "convert it with dcm2niix first"
        )
    axes = np.column_stack([first.row * first.spacing_mm[1], first.column * first.spacing_mm[0], along * first.normal])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = LPS_TO_RAS @ axes, LPS_TO_RAS @ first.position
    return affine


def _pixels(one: Slice) -> np.ndarray:
    """(columns, rows) float32 values, rescaled by the file's slope and intercept."""
    try:
        image = SimpleITK.ReadImage(str(one.path), SimpleITK.sitkFloat32, "GDCMImageIO")
    except RuntimeError:
        raise InputError(one.path, "has pixels that cannot be decoded", "export or download the series again") from None
    return SimpleITK.GetArrayFromImage(image)[0].T
