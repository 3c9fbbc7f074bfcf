"""Which DICOM series of a folder is the CT to segment, and how a person chooses another.

Other modalities, localizers, reports, files without an image and those that neither Modality nor SOP class calls CT are
passed over. Of the CT series that are left, those
are preferred that have at least three slices at different places, then axial ones, then those that the scanner
reconstructed itself (ImageType ORIGINAL); a preference that no series meets is dropped. When one remains it is taken.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from universal_diffusion.datasets.dicom import dicom_files
from universal_diffusion.datasets.dicom_slices import check_deflated, damage_refused, is_dicom
from universal_diffusion.errors import InputError

TAGS = [
    *("SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "Modality", "SOPClassUID", "ImageType", "Rows"),
    *("ImageOrientationPatient", "ImagePositionPatient", "SliceThickness", "NumberOfFrames", "RescaleType"),
    "SharedFunctionalGroupsSequence",
]
CT_CLASSES = {CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage}
LEAST_PLACES = 3
AXIAL_COSINE = 0.7  # of the slices' normal with the patient's axis: within 45 degrees, as a tilted gantry is


@dataclass
class Series:
    """One CT series of a folder.

    Attributes:
        uid, name: SeriesInstanceUID and SeriesDescription.
        number: SeriesNumber, or 0.
        files: its image files; a multi-frame file is a series of its own.
        slices: images or frames.
        places: positions of the first voxels, for as many as differ; one per frame of a multi-frame file.
        normals: of the slices, absolute LPS components, and how many slices have each.
        thickness_mm: of the slices, as the headers say it.
        original: whether ImageType says ORIGINAL or nothing.
        units: every RescaleType that a slice has.
    """

    uid: str
    name: str
    number: int
    files: list[Path] = field(default_factory=list)
    slices: int = 0
    places: set[tuple] = field(default_factory=set)
    normals: Counter = field(default_factory=Counter)
    thickness_mm: str = ""
    original: bool = True
    units: set[str] = field(default_factory=set)

    @property
    def plane(self) -> str:
        """That of most slices: `axial`, `coronal`, `sagittal` or, between these or unknown, `oblique`."""
        normal = np.array(self.normals.most_common(1)[0][0] if self.normals else (0.0, 0.0, 0.0))
        axis = int(normal.argmax())
        return ("sagittal", "coronal", "axial")[axis] if normal[axis] > AXIAL_COSINE else "oblique"

    def __str__(self) -> str:
        thick = f" of {self.thickness_mm} mm" if self.thickness_mm else ""
        kind = "" if self.original else ", derived"
        return f"{self.slices} slices{thick}, {self.plane}{kind}, UID {self.uid or 'none'}"


def choose_series(folder: Path, given: Path, wanted: str | None) -> tuple[Series, tuple[str, ...]]:
    """The CT series below `folder` to segment, and what to tell of the choice.

    Args:
        given: the folder or zip that the person named.
        wanted: its number in the list that an error shows, or the beginning of its UID; None to choose by preference.

    Raises:
        InputError: no CT series; several, listed, of which none is preferred; or `wanted` is none or several of them.
    """
    found, passed = _find(folder)
    volumes = sorted((one for one in found if one.slices > 1), key=lambda one: (one.number, one.uid, str(one.files[0])))
    if not volumes:
        held = ", ".join(f"{count} {kind}" for kind, count in sorted(passed.items()))
        raise InputError(
            given, f"holds no CT series in DICOM format (passed over: {held})", "give the folder that holds the slices"
        )
    left = _preferred(volumes) if wanted is None else _wanted(volumes, wanted, given)
    if len(left) > 1:
        problem = f"holds {len(volumes)} CT series, of which {len(left)} may be meant: {_listed(volumes)}"
        raise InputError(given, problem, "choose one with --series NUMBER, or --series UID or its beginning")
    others = "; ".join(f"{number}. {one}" for number, one in enumerate(volumes, 1))  # free text may hold names
    notes = [f"series {volumes.index(left[0]) + 1} chosen of {len(volumes)}: {others}"] if len(volumes) > 1 else []
    notes += [f"passed over: {', '.join(f'{n} {kind}' for kind, n in sorted(passed.items()))}"] if passed else []
    return left[0], tuple(notes)


def _preferred(volumes: list[Series]) -> list[Series]:
    left = volumes
    for fits in (
        lambda one: len(one.places) >= LEAST_PLACES,
        lambda one: one.plane == "axial",
        lambda one: one.original,
    ):
        left = [one for one in left if fits(one)] or left
    return left


def _wanted(volumes: list[Series], wanted: str, given: Path) -> list[Series]:
    if wanted.isascii() and wanted.isdecimal() and len(wanted) < 4 and 1 <= int(wanted) <= len(volumes):
        return [volumes[int(wanted) - 1]]
    left = [one for one in volumes if wanted and one.uid.startswith(wanted)]
    exact = [one for one in left if one.uid == wanted]
    if not left:
        problem = f"holds no series {wanted!r}, but: {_listed(volumes)}"
        raise InputError(given, problem, "choose one with --series NUMBER, or --series UID or its beginning")
    return exact if len(exact) == 1 else left


def _listed(volumes: list[Series]) -> str:
    """The series with their descriptions, by which a person tells them apart."""
    return "; ".join(f"{number}. {one.name or 'unnamed'} ({one})" for number, one in enumerate(volumes, 1))


def _find(folder: Path) -> tuple[list[Series], Counter]:
    """CT series below a folder, and how many files of which kind are none of theirs."""
    series: dict[tuple[str, Path | None], Series] = {}
    passed: Counter = Counter()
    for directory in sorted([folder, *(path for path in folder.rglob("*") if path.is_dir())]):
        for path in dicom_files(directory):
            with damage_refused(path):
                check_deflated(path)
                tags = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS, force=is_dicom(path))
                if other := _other_kind(tags):
                    passed[other] += 1
                else:
                    _add(series, tags, path)
    return list(series.values()), passed


def _other_kind(tags: pydicom.Dataset) -> str:
    """What a file is if it is no image of a CT volume."""
    kind = tags.get("SOPClassUID") or tags.file_meta.get("MediaStorageSOPClassUID")
    modality = str(tags.get("Modality") or ("CT" if kind in CT_CLASSES else "of unknown modality"))
    if modality != "CT":
        return modality
    if tags.get("Rows") is None:
        return "without an image"
    return "localizer" if "LOCALIZER" in _image_type(tags) else ""


def _image_type(tags: pydicom.Dataset) -> list[str]:
    kinds = tags.get("ImageType") or []
    return [str(kind).upper() for kind in ([kinds] if isinstance(kinds, str) else kinds)]


def _add(series: dict, tags: pydicom.Dataset, path: Path) -> None:
    frames = int(tags.get("NumberOfFrames") or 1)
    uid = str(tags.get("SeriesInstanceUID") or "")
    key = (uid, path if frames > 1 else None)
    if key not in series:
        number = tags.get("SeriesNumber")
        series[key] = Series(uid, str(tags.get("SeriesDescription") or "").strip(), int(number or 0))
    one = series[key]
    place = np.atleast_1d(np.array(tags.get("ImagePositionPatient") or [], float))
    one.places |= {(frame,) for frame in range(frames)} if frames > 1 else {tuple(place.round(1).tolist())}
    one.files.append(path)
    one.slices += frames
    one.original = one.original and "DERIVED" not in _image_type(tags)
    one.thickness_mm = str(tags.get("SliceThickness") or one.thickness_mm)
    one.units |= {str(unit) for unit in [tags.get("RescaleType")] if unit}
    orientation = np.atleast_1d(np.array(_orientation(tags) or [], float))
    if orientation.size == 6:
        one.normals[tuple(np.abs(np.cross(orientation[:3], orientation[3:])).round(2).tolist())] += 1


def _orientation(tags: pydicom.Dataset) -> list[float] | None:
    """ImageOrientationPatient, of a multi-frame file from what its frames share."""
    shared = tags.get("SharedFunctionalGroupsSequence") or [tags]
    planes = shared[0].get("PlaneOrientationSequence") or [tags]
    return planes[0].get("ImageOrientationPatient")
