"""A CT from the DICOM files of a folder: one file a slice, or one enhanced file of many frames.

A series of a tilted gantry is not resampled: its slices are kept, and the grid's affine is sheared as the slices are.
For networks that look at axial slices one by one, and for masks as DICOM-SEG, this is exact. A NIfTI mask then has a
sheared sform: nibabel, FSLeyes and niivue follow it, and ITK (ITK-SNAP, 3D Slicer) refuses it rather than misplace it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom

from universal_diffusion.datasets.dicom import checked_slices, missing_ends, stack_affine, stack_pixels, tilt_deg
from universal_diffusion.datasets.dicom_slices import Slice, damage_refused, is_dicom
from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.inputs.ct import CT
from universal_diffusion.segmentation.inputs.dicom_series import choose_series
from universal_diffusion.segmentation.inputs.enhanced_ct import frame_header, frames_of, read_frames
from universal_diffusion.volumes import Grid

HOUNSFIELD = {"HU", "US"}  # RescaleType; "US" is "unspecified"
LARGE_GROUPS = (*range(0x5000, 0x5100, 2), *range(0x6000, 0x6100, 2))  # curves and overlays
ICON = (0x0088, 0x0200)
TILT = (
    "tilted gantry ({degrees:.1f} degrees): kept as it is, its grid is sheared; DICOM-SEG, nibabel, FSLeyes and niivue "
    "place the masks right, ITK-SNAP and 3D Slicer refuse a sheared NIfTI file"
)
SOFT_HU, LEAST_VALUES = (-500, -50), 16  # lung's edge to fat: every CT in HU has most of these values
UNSCALED = "lacks RescaleIntercept; its values have air and fat where Hounsfield units have them, and are taken as such"


def read_dicom(folder: Path, given: Path, series: str | None) -> CT:
    """Read the CT series below `folder` that `choose_series` takes.

    Args:
        given: the path that the person named, for errors of the whole.
        series: which, as `choose_series` takes it.

    Raises:
        InputError: as `choose_series` and `read_series` do, but a tilted series is read; values that are no HU.
    """
    chosen, notes = choose_series(folder, given, series)
    if strange := chosen.units - HOUNSFIELD:
        problem = f"has values in {', '.join(sorted(strange))} (series {chosen}), which are not Hounsfield units"
        raise InputError(given, problem, "give a series in HU, or choose one with --series")
    if chosen.slices > len(chosen.files):
        header, slices = frames_of(chosen.files[0])
        frames = tuple(int(one.path.name.removeprefix("frame ")) for one in slices)
        scaled = [frame_header(header, number - 1) for number in frames]
        hu, headers = read_frames(chosen.files[0], header, slices), (_stripped(header),)
    else:
        slices, frames = checked_slices(chosen.files), ()
        hu, headers = stack_pixels(slices), tuple(_header(one.path) for one in slices)
        scaled = headers
    notes += _told(slices) + _without_intercept(hu, scaled, given)
    return CT(hu, Grid(hu.shape, stack_affine(slices)), given, "DICOM", notes, headers, frames)


def _told(slices: list[Slice]) -> tuple[str, ...]:
    degrees, ends = tilt_deg(slices), missing_ends(slices)
    return (*([TILT.format(degrees=degrees)] if degrees else []), *([ends] if ends else []))


def _without_intercept(hu: np.ndarray, headers: Sequence[pydicom.Dataset], given: Path) -> tuple[str, ...]:
    """What to tell of slices (of `hu`'s third axis) whose header has no RescaleIntercept, which DICOM demands.

    Their values may be Hounsfield units or stored ones, which have an offset, and below 0 at most padding.

    Raises:
        InputError: they are stored ones.
    """
    lacking = [z for z, header in enumerate(headers) if header.get("RescaleIntercept") is None]
    if not lacking:
        return ()
    values = hu[..., lacking]
    lowest, highest = float(values.min()), float(values.max())
    if len(np.unique(values[(values > SOFT_HU[0]) & (values < SOFT_HU[1])])) < LEAST_VALUES:
        problem = (
            f"lacks RescaleIntercept in {len(lacking)} of {len(headers)} slices, whose values from {lowest:g} to "
            f"{highest:g} hold next to none between {SOFT_HU[0]} and {SOFT_HU[1]}, so they are no Hounsfield units but "
            "stored values, with padding below 0"
        )
        raise InputError(given, problem, "export the series again, with its rescaling")
    return (UNSCALED,)


def _header(path: Path) -> pydicom.Dataset:
    """The header of a slice as `_stripped` leaves it."""
    with damage_refused(path):
        return _stripped(pydicom.dcmread(path, stop_before_pixels=True, force=is_dicom(path)))


def _stripped(header: pydicom.Dataset) -> pydicom.Dataset:
    """The header itself, without private elements, overlays, curves and icon."""
    for tag in list(header.keys()):
        if tag.is_private or tag.group in LARGE_GROUPS or tag == ICON:
            del header[tag]
    return header
