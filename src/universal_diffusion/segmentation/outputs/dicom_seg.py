"""A DICOM segmentation of all targets beside the CT's own slices, with highdicom: one binary segment per target.

Frames are only where a target is, and each says which slice it was made from; targets may share voxels. Coded anatomy
is that of `targets.csv`, colours are those of `colours.csv`. Nothing depends on when or where it was written:
identifiers are hashes of the content, dates are the CT's own.

highdicom takes all frames as one array of bytes, (slices, rows, columns, segments): 6 GB for 29 targets in 800 slices.
So it is given the structure alone, slices of one voxel that say which targets are in them, and the voxels, which were
collected as bits, take their place afterwards.
"""

import hashlib
from collections.abc import Sequence
from copy import copy
from pathlib import Path

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from universal_diffusion import __version__
from universal_diffusion.colours import colour
from universal_diffusion.datasets.dicom import LPS_TO_RAS
from universal_diffusion.files import whole_file
from universal_diffusion.segmentation.outputs.seg_frames import SegFrames
from universal_diffusion.targets import Code, Target, target
from universal_diffusion.volumes import Grid

SEGMENTATION = "segmentation.dcm"
NAME = "universal-diffusion"
SERIES_NUMBER = 300  # beyond what scanners number
PLACE_TOLERANCE_MM = 0.1
NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
UNKNOWN = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyDate")
UNKNOWN += ("StudyTime", "ReferringPhysicianName")  # DICOM wants these, but lets them be empty


def write_dicom_seg(
    path: Path, frames: SegFrames, targets: Sequence[str], headers: Sequence[Dataset], overlap: bool
) -> None:
    """Write the segmentation, whole or not at all; equal masks of equal slices give equal bytes.

    Where no target was found it has one empty frame, for DICOM knows no segmentation without any.

    Args:
        frames: all targets' masks.
        targets: names; the k-th becomes segment k, whether it has a frame or not.
        headers: of the CT's slices, in the order of the third axis; they must fit (`fits`).
        overlap: whether a voxel is in several targets.
    """
    present = np.stack([frames.present(name) for name in targets], axis=1)
    if not present.any():
        present[0, 0] = True
    seed = _fingerprint(frames, targets, headers)
    seg = _structure(present, targets, headers, seed)
    sources = {str(header.SOPInstanceUID): z for z, header in enumerate(headers)}
    order = [(targets[_segment(item) - 1], sources[_source(item)]) for item in seg.PerFrameFunctionalGroupsSequence]
    seg.Rows, seg.Columns = frames.rows, frames.columns
    seg.SegmentsOverlap = "YES" if overlap else "NO"
    seg.PixelData = frames.pixel_data(order)
    seg.DimensionOrganizationSequence[0].DimensionOrganizationUID = _uid(seed, "dimensions")
    for index in seg.DimensionIndexSequence:
        index.DimensionOrganizationUID = _uid(seed, "dimensions")
    seg.ContentCreatorName = ""
    _date_as_source(seg, headers[0])
    with whole_file(path) as partial:
        seg.save_as(partial)


def _structure(present: np.ndarray, targets: Sequence[str], headers: Sequence[Dataset], seed: str) -> Segmentation:
    """The segmentation of slices of one voxel each: `present` is (slices, segments) bool."""
    return Segmentation(
        source_images=[_of_one_voxel(header) for header in headers],
        pixel_array=present[:, None, None].astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[_described(number, target(name), seed) for number, name in enumerate(targets, 1)],
        series_instance_uid=_uid(seed, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=_uid(seed, "instance"),
        instance_number=1,
        manufacturer=NAME,
        manufacturer_model_name=NAME,
        software_versions=__version__,
        device_serial_number="none",
        content_label="SEGMENTATION",
        content_description="Abdominal CT targets, by latent diffusion",
        series_description=f"Segmentation ({NAME})",
    )


def _of_one_voxel(header: Dataset) -> Dataset:
    """A slice's header with its first voxel alone, and with what must be there, if only empty."""
    one = copy(header)
    for keyword in ("Rows", "Columns"):
        del one[keyword]  # and not the header's own
        setattr(one, keyword, 1)
    for keyword in UNKNOWN:
        if keyword not in one:
            setattr(one, keyword, None if keyword.endswith(("Date", "Time")) else "")
    if not one.get("FrameOfReferenceUID"):  # the slices of a series share one
        one.FrameOfReferenceUID = _uid(one.SeriesInstanceUID, "frame of reference")
    return one


def _described(number: int, known: Target, seed: str) -> SegmentDescription:
    algorithm = AlgorithmIdentificationSequence(NAME, codes.cid7162.ArtificialIntelligence, __version__, source=NAME)
    description = SegmentDescription(
        segment_number=number,
        segment_label=known.name,
        segmented_property_category=_concept(known.category),
        segmented_property_type=_concept(known.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=_uid(seed, known.name),
        tracking_id=known.slug,
        anatomic_regions=[_concept(region) for region in known.regions] or None,
        display_color=CIELabColor.from_rgb(*(round(255 * part) for part in colour(known))),
    )
    if known.laterality:
        side = _concept(known.laterality)
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [side]
    return description


def _concept(code: Code) -> CodedConcept:
    return CodedConcept(code.value, "SCT", code.meaning)


def _segment(item: Dataset) -> int:
    return int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _source(item: Dataset) -> str:
    return str(item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)


def fits(headers: Sequence[Dataset], native: Grid) -> bool:
    """Whether frames on a grid can belong to these slices: they lie where its own do, and can be referred to."""
    if not headers or not all(header.get(keyword) for header in headers for keyword in NEEDED):
        return False
    stored = np.array([header.ImagePositionPatient for header in headers], float) @ LPS_TO_RAS
    grid = native.affine[:3, 3] + np.arange(native.shape[2])[:, None] * native.affine[:3, 2]
    return stored.shape == grid.shape and np.abs(stored - grid).max() < PLACE_TOLERANCE_MM


def _fingerprint(frames: SegFrames, targets: Sequence[str], headers: Sequence[Dataset]) -> str:
    """A hash of the version, the slices, the targets and every voxel."""
    order = [(name, z) for name in targets for z in np.flatnonzero(frames.present(name)).tolist()]
    told = hashlib.sha256(repr((__version__, [str(h.SOPInstanceUID) for h in headers], order)).encode())
    told.update(frames.pixel_data(order))
    return told.hexdigest()


def _uid(seed: str, what: str) -> str:
    return str(generate_uid(entropy_srcs=[seed, what]))


def _date_as_source(seg: Segmentation, header: Dataset) -> None:
    """The dates of the CT; a fixed one where it has none, for DICOM demands a date of every content."""
    for part, unknown in (("Date", "19000101"), ("Time", "000000")):
        told = (header.get(f"{what}{part}") for what in ("Content", "Acquisition", "Series", "Study"))
        setattr(seg, f"Content{part}", next(filter(None, told), unknown))
        del seg[f"InstanceCreation{part}"]
    for contribution in seg.ContributingEquipmentSequence:
        contribution.pop("ContributionDateTime", None)
