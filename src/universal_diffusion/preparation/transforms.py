"""From a CT as its owner ships it to the study's common grid (paper, section 3.1), with MONAI.

The order is the paper's: re-space, scale the intensities, crop to the foreground, pad. What it leaves open is decided
here: axes are brought to RAS first (x grows to the patient's right, y to the front, z to the head); before an axis is
made coarser the image is smoothed, so that a coarse grid shows no aliased noise; the new grid covers the whole scan, so
that nothing at its edge is lost; the foreground is the body without the couch.
"""

import sys
from collections.abc import Mapping, Sequence

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import (
    CropForeground,
    Orientation,
    ScaleIntensityRange,
    SpatialCrop,
    SpatialPad,
    SpatialResample,
)
from scipy import ndimage

from universal_diffusion.boxes import Box
from universal_diffusion.datasets.base import Case
from universal_diffusion.datasets.hounsfield import BODY_HU
from universal_diffusion.errors import InputError
from universal_diffusion.preparation.fingerprints import prints
from universal_diffusion.preparation.label_resampling import centres_inside, resample_labels, smoothed, target_boxes
from universal_diffusion.settings import Preparation
from universal_diffusion.targets import mask, target
from universal_diffusion.volumes import Grid, Volume

RAS_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))
COUCH_MM = 4.0
MARGIN_MM = 10.0
LOST_SHARE, LOST_LEAST_ML = 0.05, 5.0  # of a target, outside the crop to the body, from which a warning is due


def harmonise(case: Case, settings: Preparation) -> Volume:
    """One native case on the common grid; its labels are also kept, unchanged, on the CT's own grid.

    Raises InputError for an image that is constant, not finite or holds no body; warns of a target of which the crop to
    the body leaves out more than a twentieth.
    """
    where = f"{case.source} {case.case}"
    _refuse_empty(case.image, where)
    told = prints(case.image, where)
    body = _scaled_body(case.image, case.affine, settings, where)
    boxes = target_boxes(case.labels)
    _warn_of_loss(case, boxes, _grid(body), where)
    image, grid = _padded(body, settings.patch)
    return Volume(
        source=case.source,
        case=case.case,
        annotated=case.annotated,
        fingerprint=told.fingerprint,
        image=image,
        labels=resample_labels(case.labels, boxes, case.affine, grid),
        grid=grid,
        native_labels=case.labels,
        native_grid=Grid(case.image.shape, case.affine),
        native_hu=told.native_hu,
        slice_prints=told.slice_prints,
    )


def harmonise_image(
    image: np.ndarray, affine: np.ndarray, settings: Preparation, where: str
) -> tuple[np.ndarray, Grid]:
    """The image of any CT on the common grid.

    Args:
        image: 3-D Hounsfield units in any axis order.
        affine: 4 x 4, from its voxel indices to RAS millimetres.
        where: what to call the CT in an error.

    Returns:
        (X, Y, Z) float32 with the HU window scaled to [0, 1], X and Y at least `settings.patch`; and its grid, whose
        affine is exact: the value at index i was sampled at the point affine @ i.
    """
    return _padded(_scaled_body(image, affine, settings, where), settings.patch)


def body_mask(hu: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Boolean (X, Y, Z): the largest connected region above -300 HU.

    Each axial slice is first opened by about `COUCH_MM`, which severs sheets, tubes and the shell of the couch.
    """
    body = (hu > BODY_HU).astype(np.uint8)
    for keep in (ndimage.minimum_filter1d, ndimage.maximum_filter1d):
        for axis in (0, 1):
            reach = max(1, round(COUCH_MM / spacing_mm[axis]))
            body = keep(body, 2 * reach + 1, axis, mode="nearest")
    regions, _ = ndimage.label(body)
    sizes = np.bincount(regions.ravel())
    return (regions == 1 + sizes[1:].argmax()) if sizes.size > 1 else np.zeros(hu.shape, bool)


def _scaled_body(image: np.ndarray, affine: np.ndarray, settings: Preparation, where: str) -> MetaTensor:
    """`harmonise_image` before the padding: (1, X, Y, Z)."""
    _refuse_empty(image, where)
    order = np.argsort(np.abs(image.strides))[::-1]  # as it lies in memory, where filters are fastest
    stored = torch.from_numpy(np.ascontiguousarray(image.transpose(order), np.float32))[None]
    native = MetaTensor(stored, affine=affine[:, [*order, 3]])
    patient_axes = nibabel.io_orientation(native.affine.numpy())[:, 0].astype(int)
    respaced = _respace(native, np.asarray(settings.spacing_mm)[patient_axes])
    hu = Orientation("RAS", labels=RAS_LABELS)(respaced)
    return ScaleIntensityRange(*settings.hu_window, b_min=0.0, b_max=1.0, clip=True)(_crop_to_body(hu, where))


def _padded(scaled: MetaTensor, patch: int) -> tuple[np.ndarray, Grid]:
    padded = SpatialPad((patch, patch, -1))(scaled)
    return padded.numpy()[0].astype(np.float32, copy=False), _grid(padded)


def _grid(image: MetaTensor) -> Grid:
    return Grid(tuple(image.shape[1:]), image.affine.numpy().astype(np.float64))


def _warn_of_loss(case: Case, boxes: Mapping[np.uint32, Box], body: Grid, where: str) -> None:
    """One line on stderr for each annotated target over 5 ml that lies to more than 5 % outside the grid `body`."""
    steps, voxel_ml = np.linalg.inv(body.affine) @ case.affine, Grid(case.labels.shape, case.affine).voxel_ml
    for name in case.annotated:
        if target(name).bit not in boxes:
            continue
        box = boxes[target(name).bit]
        held = mask(case.labels[box], name)
        voxels = np.count_nonzero(held)
        lost = voxels - centres_inside(held, box, steps, body.shape)
        if voxels * voxel_ml > LOST_LEAST_ML and lost > LOST_SHARE * voxels:
            print(f"warning: {where}: {lost / voxels:.0%} of {name} lies outside the body found", file=sys.stderr)


def _refuse_empty(image: np.ndarray, where: str) -> None:
    lowest, highest = image.min(), image.max()  # NaN if any voxel is
    if image.ndim != 3 or not np.isfinite([lowest, highest]).all():
        raise InputError(where, "has voxels that are NaN or infinite, or is not 3-D", "replace the file")
    if lowest == highest:
        raise InputError(where, f"is constant ({lowest:g} HU everywhere)", "replace the file")


def _respace(native: MetaTensor, spacing_mm: np.ndarray) -> MetaTensor:
    """The CT on the grid of that spacing along its axes which shares its centre and covers all of it."""
    affine = native.affine.numpy()
    factors = spacing_mm / np.linalg.norm(affine[:3, :3], axis=0)
    extent = np.array(native.shape[1:])
    shape = np.ceil(np.round(extent / factors, 6)).astype(int)
    first = ((extent - 1) - (shape - 1) * factors) / 2
    steps = np.diag([*factors, 1.0])
    steps[:3, 3] = first
    image = MetaTensor(torch.from_numpy(smoothed(native.numpy()[0], factors))[None], affine=native.affine)
    resample = SpatialResample(mode="bilinear", padding_mode="border", dtype=torch.float32)
    return resample(image, dst_affine=affine @ steps, spatial_size=shape.tolist())


def _crop_to_body(hu: MetaTensor, where: str) -> MetaTensor:
    spacing_mm = np.linalg.norm(hu.affine[:3, :3].numpy(), axis=0)
    body = body_mask(hu.numpy()[0], spacing_mm)
    if not body.any():
        raise InputError(where, f"holds no body (nothing coherent above {BODY_HU:g} HU)", "check that it is a CT in HU")
    margin = [int(np.ceil(MARGIN_MM / step)) for step in spacing_mm]
    start, end = CropForeground(margin=margin, allow_smaller=True).compute_bounding_box(torch.from_numpy(body)[None])
    return SpatialCrop(roi_start=start, roi_end=end)(hu)
