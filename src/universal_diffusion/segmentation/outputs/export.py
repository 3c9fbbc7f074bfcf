"""Everything that is written of a segmented CT: masks, maps, label map, DICOM-SEG, overview; and its facts."""

from dataclasses import dataclass
from pathlib import Path

from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.inputs.ct import CT
from universal_diffusion.segmentation.outputs.dicom_seg import SEGMENTATION, write_dicom_seg
from universal_diffusion.segmentation.outputs.facts import TargetFacts
from universal_diffusion.segmentation.outputs.label_map import LabelMap
from universal_diffusion.segmentation.outputs.native_files import write_native
from universal_diffusion.segmentation.outputs.overview import OVERVIEW, write_overview
from universal_diffusion.segmentation.outputs.seg_frames import SegFrames
from universal_diffusion.segmentation.outputs.seg_source import SegSource, seg_obstacle
from universal_diffusion.segmentation.sampling.slab_store import SlabStore
from universal_diffusion.volumes import Grid


@dataclass(frozen=True)
class Outputs:
    """Which files to write.

    Attributes:
        masks: `<slug>.nii.gz` of each target, 0 and 1.
        multilabel: `segmentation.nii.gz`, whose values are target ids, with the names for ITK-SNAP
            (`segmentation_labels.txt`) and for 3D Slicer (`segmentation_labels.ctbl`). A voxel of several targets is
            the tumour's, then the smaller one's.
        maps: `<slug>_mean.nii.gz`, `<slug>_variance.nii.gz` and `<slug>_entropy.nii.gz` of each target.
        dicom_seg: `segmentation.dcm`, for a CT in DICOM.
        overview: `overview.png`.
        patient: let the DICOM-SEG say who the patient is and when the CT was made, as its headers do.
    """

    masks: bool
    multilabel: bool
    maps: bool
    dicom_seg: bool
    overview: bool
    patient: bool = False


def export(
    store: SlabStore, native: Grid, folder: Path, outputs: Outputs, ct: CT | None = None, threads: int = 2
) -> dict[str, TargetFacts]:
    """Write a store's targets on the CT's own grid, in one pass over its maps.

    Args:
        native: the CT's grid.
        ct: the CT itself, for the density inside the masks, the overview and the DICOM-SEG.
        threads: targets under way at a time; no file depends on it.

    Returns:
        Facts by target, in the store's order.

    Raises:
        InputError: a DICOM-SEG of a CT that has no slices in DICOM is asked for, or an overview of none.
    """
    _check(outputs, ct)
    folder = Path(folder)
    kinds = [*(["mask"] if outputs.masks else []), *(["mean", "variance", "entropy"] if outputs.maps else [])]
    labels = LabelMap(store, native) if outputs.multilabel or outputs.overview or outputs.dicom_seg else None
    frames = SegFrames(native) if outputs.dicom_seg else None
    folds = [fold for fold in (labels, frames) if fold is not None]
    facts = write_native(store, native, folder, kinds, None if ct is None else ct.hu, folds, threads)
    if outputs.multilabel:
        labels.write(folder)
    if outputs.dicom_seg:
        source = SegSource(ct.headers, ct.frames, outputs.patient)
        write_dicom_seg(folder / SEGMENTATION, frames, store.targets, source, labels.overlap)
    if outputs.overview:
        write_overview(folder / OVERVIEW, ct, labels, facts)
    return facts


def _check(outputs: Outputs, ct: CT | None) -> None:
    if outputs.overview and ct is None:
        raise InputError("overview", "shows the CT, and none is given", "give the CT, or do without")
    obstacle = seg_obstacle(ct) if ct else "the CT is not given"
    if outputs.dicom_seg and obstacle:
        raise InputError(ct.path if ct else "DICOM-SEG", f"gives no DICOM-SEG: {obstacle}", "do without it")
