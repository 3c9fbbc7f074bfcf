"""What the frames of a DICOM segmentation refer to: the CT's slices, in files of their own or in one enhanced file."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.uid import generate_uid
from pydicom.valuerep import DA, TM

from universal_diffusion.datasets.dicom import LPS_TO_RAS
from universal_diffusion.segmentation.inputs.ct import CT
from universal_diffusion.volumes import Grid

PLACE_TOLERANCE_MM = 0.1
NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
UNKNOWN = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyDate")
UNKNOWN += ("StudyTime", "ReferringPhysicianName")  # DICOM wants these, but lets them be empty
NAMELESS = (  # all that a segmentation needs of its slices; nothing here says who the patient is, or when it was
    *NEEDED,
    *("FrameOfReferenceUID", "Modality", "InstanceNumber", "NumberOfFrames", "Rows", "Columns", "SliceThickness"),
    *("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)


@dataclass(frozen=True)
class SegSource:
    """The CT's slices, in the order of its third axis.

    Attributes:
        headers: of the slices, or of the one enhanced file.
        frames: of an enhanced file the number, from 1, of each slice's frame.
        patient: whether the segmentation repeats who the patient is, and the dates of the study.
    """

    headers: Sequence[Dataset]
    frames: Sequence[int] = ()
    patient: bool = False

    @property
    def names(self) -> list[str]:
        """Of each slice what a frame of a segmentation calls it."""
        if self.frames:
            return [f"{self.headers[0].SOPInstanceUID} frame {number}" for number in self.frames]
        return [str(header.SOPInstanceUID) for header in self.headers]

    @property
    def order(self) -> list[int]:
        """The slices in the order of the files, or of the enhanced file's frames."""
        return [int(z) for z in np.argsort(self.frames)] if self.frames else list(range(len(self.headers)))

    def name_of(self, item: Dataset) -> str:
        """The slice, as in `names`, that a frame of a segmentation was made from, by its functional groups."""
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        uid = str(source.ReferencedSOPInstanceUID)
        return f"{uid} frame {int(source.ReferencedFrameNumber)}" if self.frames else uid

    def places(self) -> np.ndarray:
        """(slices, 3) RAS mm of each slice's first voxel."""
        if not self.frames:
            return np.array([header.ImagePositionPatient for header in self.headers], float) @ LPS_TO_RAS
        own = self.headers[0].PerFrameFunctionalGroupsSequence
        placed = [own[number - 1].PlanePositionSequence[0].ImagePositionPatient for number in self.frames]
        return np.array(placed, float) @ LPS_TO_RAS

    def of_one_voxel(self) -> list[Dataset]:
        """The headers, slices of one voxel each, with what must be there, if only empty."""
        return [_of_one_voxel(header if self.patient else _nameless(header)) for header in self.headers]

    @property
    def dated(self) -> Dataset:
        """A header with the dates that may be repeated."""
        return self.headers[0] if self.patient else Dataset()


def seg_obstacle(ct: CT) -> str | None:
    """Why no DICOM segmentation of a CT can be written, or None where one can.

    Its frames refer to the CT's slices, and have their places.
    """
    if ct.format != "DICOM":
        return "the CT is no DICOM"
    lacking = [keyword for keyword in NEEDED if not all(header.get(keyword) for header in ct.headers)]
    if lacking:
        return f"the CT's headers have no {', '.join(lacking)}, by which it would refer to them"
    astray_mm = _astray_mm(SegSource(ct.headers, ct.frames), ct.grid)
    if astray_mm > PLACE_TOLERANCE_MM:
        return f"the CT's slices lie up to {astray_mm:.2g} mm beside an even grid, on which the masks are"
    return None


def seg_notes(ct: CT) -> tuple[str, ...]:
    """What to tell of a CT in DICOM of which no DICOM segmentation can be written."""
    obstacle = seg_obstacle(ct)
    return (f"no DICOM-SEG: {obstacle}",) if ct.format == "DICOM" and obstacle else ()


def _astray_mm(source: SegSource, native: Grid) -> float:
    """How far the slices lie from where the grid has them."""
    even = native.affine[:3, 3] + np.arange(native.shape[2])[:, None] * native.affine[:3, 2]
    return float(np.abs(source.places() - even).max())


def _nameless(header: Dataset) -> Dataset:
    kept = Dataset()
    for keyword in NAMELESS:
        if keyword in header:
            kept[keyword] = header[keyword]
    return kept


def _of_one_voxel(header: Dataset) -> Dataset:
    one = Dataset()
    one.update(header)  # its elements stay the header's own
    for keyword in ("Rows", "Columns"):
        del one[keyword]
        setattr(one, keyword, 1)
    for keyword in UNKNOWN:
        if keyword not in one or not _is_sound(one, keyword):
            setattr(one, keyword, None if keyword.endswith(("Date", "Time")) else "")
    if not one.get("FrameOfReferenceUID"):  # the slices of a series share one
        one.FrameOfReferenceUID = hashed_uid(one.SeriesInstanceUID, "frame of reference")
    return one


def _is_sound(header: Dataset, keyword: str) -> bool:
    """Whether a date or time is one; what is none cannot be repeated."""
    kind = {"Date": DA, "Time": TM}.get(keyword[-4:], str)
    try:
        kind(header[keyword].value or "")
    except ValueError:
        return False
    return True


def hashed_uid(seed: str, what: str) -> str:
    """A UID that follows from a seed and what it is for."""
    return str(generate_uid(entropy_srcs=[seed, what]))
