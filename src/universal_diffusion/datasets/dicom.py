"""One DICOM series, read into a volume with its place in the patient.

Positions and orientation come from the headers of all slices (pydicom), so that the order of files does not matter and
a missing slice is noticed; the pixels, compressed or not, and their rescaling to Hounsfield units come from SimpleITK.
"""

import math
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from universal_diffusion.datasets.base import natural_key
from universal_diffusion.datasets.dicom_slices import Slice, is_dicom, read_header, read_pixels
from universal_diffusion.datasets.grids import MOST_VOXELS, check_affine
from universal_diffusion.errors import InputError

GAP_TOLERANCE = 0.1  # share of the slice spacing by which a gap may differ (positions are stored rounded)
MOST_MISSING = 10_000  # slices; more are no CT's
NAMED = 8  # missing slices whose places an error lists
SHEAR_TOLERANCE = 0.01  # sideways shift per millimetre between slices (gantry tilt)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def read_folder(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """`read_series` of the DICOM files directly in a folder, which must hold one series."""
    files = dicom_files(folder)
    if not files:
        raise InputError(folder, "holds no DICOM file", "unpack or download it again")
    return read_series(files)


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files directly in a folder (any suffix or none), naturally sorted; other files are passed over."""
    try:
        files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        named = (path for path in files if path.name.upper() != "DICOMDIR")
        return sorted((path for path in named if is_dicom(path)), key=lambda path: natural_key(path.name))
    except OSError as error:
        raise InputError(error.filename, f"cannot be read ({error.strerror})", "make it readable") from None


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

    Slices that are missing at an end leave no gap. Where the headers' numbers or counts suggest it, one line on stderr
    warns of it; series are also cut on purpose, so this is no error.
    """
    slices = checked_slices(files, series)
    if tilt_deg(slices):
        problem = f"has slices that are shifted sideways (gantry tilt of {tilt_deg(slices):.1f} degrees)"
        raise InputError(slices[0].path.parent, problem, "convert it with dcm2niix first")
    if hint := missing_ends(slices):
        print(f"warning: {slices[0].path.parent}: {hint}", file=sys.stderr)
    return stack_pixels(slices), stack_affine(slices)


def checked_slices(files: Sequence[Path], series: str | None = None) -> list[Slice]:
    """The slices of one series in order along their normal. Raises InputError as `read_series`, but not for a tilt."""
    slices = _sorted_slices(files, series)
    check_stack(slices)
    return slices


def slice_order(files: Sequence[Path]) -> list[Path]:
    """The files of one series in the order in which `read_series` stacks them."""
    return [one.path for one in _sorted_slices(files, None)]


def _sorted_slices(files: Sequence[Path], series: str | None) -> list[Slice]:
    slices = _of_one_series([read_header(Path(path)) for path in files], series)
    return in_order(slices)


def in_order(slices: Sequence[Slice]) -> list[Slice]:
    """The slices sorted along the normal of the first."""
    return sorted(slices, key=lambda one: float(one.position @ slices[0].normal))


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


def check_stack(slices: list[Slice]) -> None:
    """Stop at the first slice, of those in order, that differs from the first one or leaves a wrong gap before it."""
    first = slices[0]
    if len(slices) == 1:
        raise InputError(first.path, "is the only slice of its series", "give the whole series")
    if math.prod(first.shape) * len(slices) > MOST_VOXELS:
        problem = (
            f"has {len(slices)} slices of {first.shape[0]} x {first.shape[1]} voxels, more than {MOST_VOXELS} in all"
        )
        raise InputError(first.path.parent, problem, "give a part of the series")
    for one in slices:
        same = one.shape == first.shape and np.allclose(one.spacing_mm, first.spacing_mm, atol=1e-4)
        if not (same and np.allclose((one.row, one.column), (first.row, first.column), atol=1e-3)):
            raise InputError(
                one.path,
                f"differs from {first.path.name} in size, spacing or direction",
                "remove slices of other views",
            )
    _check_gaps(slices)
    _check_line(slices)


def _check_gaps(slices: list[Slice]) -> None:
    places_mm = [float(one.position @ slices[0].normal) for one in slices]
    usual_mm = float(np.median(np.diff(places_mm)))
    for (before, place), (after, next_place) in pairwise(zip(slices, places_mm, strict=True)):
        gap_mm = next_place - place
        if gap_mm < 1e-3 or abs(gap_mm - usual_mm) > GAP_TOLERANCE * usual_mm:
            problem = "two slices at the same place" if gap_mm < 1e-3 else f"a gap of {gap_mm:g} mm"
            raise InputError(
                before.path.parent,
                f"has {problem}, from {place:g} mm ({before.path.name}) to {next_place:g} mm ({after.path.name}), "
                f"where slices are {usual_mm:g} mm apart{_missing(places_mm, usual_mm)}",
                "export the series again, whole and once",
            )


def _missing(places_mm: list[float], usual_mm: float) -> str:
    """Where slices are missing, if all gaps are whole numbers of the usual distance."""
    steps = np.diff(places_mm) / max(usual_mm, 1e-3)
    if steps.sum() > MOST_MISSING or (abs(steps - np.rint(steps)) > GAP_TOLERANCE * np.rint(steps)).any():
        return ""
    absent = [
        place + usual_mm * number
        for place, count in zip(places_mm, np.rint(steps).astype(int), strict=False)
        for number in range(1, count)
    ]
    named = ", ".join(f"{place:.1f}" for place in absent[:NAMED])
    more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
    return f": {len(absent)} missing, at {named}{more} mm" if absent else ""


def _check_line(slices: list[Slice]) -> None:
    """The first voxels of all slices must lie on one line; one that strays moves its anatomy sideways."""
    places = np.array([one.position for one in slices])
    share = (places - places[0]) @ slices[0].normal / ((places[-1] - places[0]) @ slices[0].normal)
    astray_mm = np.linalg.norm(places - places[0] - np.outer(share, places[-1] - places[0]), axis=1)
    if astray_mm.max() > min(slices[0].spacing_mm) / 2:
        strayed = slices[int(astray_mm.argmax())]
        problem = f"lies {astray_mm.max():.1f} mm beside the line of the other slices"
        raise InputError(strayed.path, problem, "export the series again, or remove slices of other views")


def missing_ends(slices: list[Slice]) -> str | None:
    """What the headers' numbers or counts say of slices that are missing at an end, where no gap shows it."""
    numbers, counted = [one.number for one in slices], max(one.counted or 0 for one in slices)
    hints = [f"its headers count {counted} images"] if counted > len(slices) else []
    if None not in numbers and min(numbers) > 1:
        hints.append(f"they are numbered from {min(numbers)}")
    return f"slices may be missing at an end of the {len(slices)}: {', '.join(hints)}" if hints else None


def stack_pixels(slices: list[Slice]) -> np.ndarray:
    """(columns, rows, slices) float32 Hounsfield units; in memory the first axis runs fastest."""
    stacked = np.empty((*slices[0].shape, len(slices)), np.float32, order="F")
    for index, one in enumerate(slices):
        stacked[..., index] = read_pixels(one)
    return stacked


def tilt_deg(slices: list[Slice]) -> float:
    """Angle between the way from slice to slice and the slices' normal; 0 below what rounded positions explain."""
    step, along = _step(slices)
    sideways = float(np.linalg.norm(step - along * slices[0].normal))
    return float(np.degrees(np.arctan2(sideways, along))) if sideways > SHEAR_TOLERANCE * along else 0.0


def stack_affine(slices: list[Slice]) -> np.ndarray:
    """Voxel indices (column, row, slice) to RAS millimetres (DICOM PS3.3, C.7.6.2.1.1); sheared where tilted."""
    first, (step, along) = slices[0], _step(slices)
    onward = step if tilt_deg(slices) else along * first.normal
    axes = np.column_stack([first.row * first.spacing_mm[1], first.column * first.spacing_mm[0], onward])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = LPS_TO_RAS @ axes, LPS_TO_RAS @ first.position
    check_affine(affine, first.path)
    return affine


def _step(slices: list[Slice]) -> tuple[np.ndarray, float]:
    """From one slice to the next in LPS mm, and the part of it along the normal."""
    step = (slices[-1].position - slices[0].position) / (len(slices) - 1)
    return step, float(step @ slices[0].normal)
