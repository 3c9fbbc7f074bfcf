"""A DICOM segmentation of all targets beside the CT's own slices, with highdicom: one binary segment per target.

Frames are only where a target is, and each says which slice it was made from; targets may share voxels. Coded anatomy
is that of `targets.csv`, colours are those of `colours.csv`. Nothing depends on when or where it was written:
identifiers are hashes of the content. Who the patient is, and the dates of the study, stay out unless they are asked
for (`SegSource.patient`); the UIDs of study, series and slices, without which it would belong to no CT, are in it.

highdicom takes all frames as one array of bytes, (slices, rows, columns, segments): 6 GB for 29 targets in 800 slices.
So it is given the structure alone, slices of one voxel that say which targets are in them, and the voxels, which were
collected as bits, take their place afterwards.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes

from universal_diffusion import __version__
from universal_diffusion.colours import colour
from universal_diffusion.files import whole_file
from universal_diffusion.segmentation.outputs.seg_frames import SegFrames
from universal_diffusion.segmentation.outputs.seg_source import SegSource, hashed_uid
from universal_diffusion.targets import Code, Target, target

SEGMENTATION = "segmentation.dcm"
NAME = "universal-diffusion"
SERIES_NUMBER = 300  # beyond what scanners number


def write_dicom_seg(path: Path, frames: SegFrames, targets: Sequence[str], source: SegSource, overlap: bool) -> None:
    """Write the segmentation, whole or not at all; equal masks of equal slices give equal bytes.

    Where no target was found it has one empty frame, for DICOM knows no segmentation without any.

    Args:
        frames: all targets' masks.
        targets: names; the k-th becomes segment k, whether it has a frame or not.
        source: the CT's slices, which nothing must keep from being referred to (`seg_obstacle`).
        overlap: whether a voxel is in several targets.
    """
    present = np.stack([frames.present(name) for name in targets], axis=1)
    if not present.any():
        present[0, 0] = True
    seed = _fingerprint(frames, targets, source)
    seg = _structure(present[source.order], targets, source, seed)
    slices = {name: z for z, name in enumerate(source.names)}
    order = [
        (targets[_segment(item) - 1], slices[source.name_of(item)]) for item in seg.PerFrameFunctionalGroupsSequence
    ]
    seg.Rows, seg.Columns = frames.rows, frames.columns
    seg.SegmentsOverlap = "YES" if overlap else "NO"
    seg.PixelData = frames.pixel_data(order)
    seg.DimensionOrganizationSequence[0].DimensionOrganizationUID = hashed_uid(seed, "dimensions")
    for index in seg.DimensionIndexSequence:
        index.DimensionOrganizationUID = hashed_uid(seed, "dimensions")
    seg.ContentCreatorName = ""
    _date_as_source(seg, source.dated)
    with whole_file(path) as partial:
        seg.save_as(partial)


def _structure(present: np.ndarray, targets: Sequence[str], source: SegSource, seed: str) -> Segmentation:
    """The segmentation of slices of one voxel each: `present` is (slices, segments) bool."""
    return Segmentation(
        source_images=source.of_one_voxel(),
        pixel_array=present[:, None, None].astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[_described(number, target(name), seed) for number, name in enumerate(targets, 1)],
        series_instance_uid=hashed_uid(seed, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=hashed_uid(seed, "instance"),
        instance_number=1,
        manufacturer=NAME,
        manufacturer_model_name=NAME,
        software_versions=__version__,
        device_serial_number="none",
        content_label="SEGMENTATION",
        content_description="Abdominal CT targets, by latent diffusion",
        series_description=f"Segmentation ({NAME})",
    )


def _described(number: int, known: Target, seed: str) -> SegmentDescription:
    algorithm = AlgorithmIdentificationSequence(NAME, codes.cid7162.ArtificialIntelligence, __version__, source=NAME)
    description = SegmentDescription(
        segment_number=number,
        segment_label=known.name,
        segmented_property_category=_concept(known.category),
        segmented_property_type=_concept(known.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=hashed_uid(seed, known.name),
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


def _fingerprint(frames: SegFrames, targets: Sequence[str], source: SegSource) -> str:
    """A hash of the version, the slices, the targets and every voxel."""
    order = [(name, z) for name in targets for z in np.flatnonzero(frames.present(name)).tolist()]
    told = hashlib.sha256(repr((__version__, source.names, order)).encode())
    told.update(frames.pixel_data(order))
    return told.hexdigest()


def _date_as_source(seg: Segmentation, header: Dataset) -> None:
    """The dates that the header has; a fixed one where it has none, for DICOM demands a date of every content."""
    for part, unknown in (("Date", "19000101"), ("Time", "000000")):
        told = (header.get(f"{what}{part}") for what in ("Content", "Acquisition", "Series", "Study"))
        setattr(seg, f"Content{part}", next(filter(None, told), unknown))
        del seg[f"InstanceCreation{part}"]
    for contribution in seg.ContributingEquipmentSequence:
        contribution.pop("ContributionDateTime", None)
