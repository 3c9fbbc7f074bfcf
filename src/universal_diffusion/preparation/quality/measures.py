"""What is measured of one harmonised case: its scan, and each annotated target's place, pieces and Hounsfield units."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from universal_diffusion.datasets.sides import midline
from universal_diffusion.preparation.label_resampling import target_boxes
from universal_diffusion.targets import Target, mask, target
from universal_diffusion.volumes import Grid, Volume

AIR_HU = -1000  # what stands for the values that the lower end of the HU window has clipped
COARSE_MM = 4.0  # grid on which the body's outside is looked for
FAR_MM = 15.0  # outside the body, from which a label is astray
NEIGHBOURS = np.ones((3, 3, 3), bool)
NOWHERE = (slice(0),) * 3
IN_SLICE = ndimage.generate_binary_structure(2, 1)[:, :, None]


@dataclass(frozen=True)
class ScanMeasures:
    """One scan.

    Attributes:
        source, case: which.
        right_mm, front_mm, up_mm: native spacing along the patient's axes.
        extent_right_mm, extent_front_mm, extent_up_mm: native field of view.
        soft_hu: median Hounsfield units of what is neither air nor beyond the HU window, of the harmonised image.
        native_hu: voxels by Hounsfield units (in the bins of `native_hu`), joined by "|".
    """

    source: str
    case: str
    right_mm: float
    front_mm: float
    up_mm: float
    extent_right_mm: float
    extent_front_mm: float
    extent_up_mm: float
    soft_hu: float
    native_hu: str


@dataclass(frozen=True)
class TargetMeasures:
    """One annotated target of a scan; the figures of an empty one are NaN, 0 or False.

    Attributes:
        source, case, target: which.
        components: pieces of the label on the CT's own grid (26 neighbours).
        cut: the label reaches the edge of the CT, so that the structure is not all in it.
        right_of_spine_mm: how far the label's centre lies to the right of the patient's mid-line.
        median_hu: of the harmonised image in the label, so within the HU window.
        inside_parents: share of the label in its annotated parents; NaN where none is annotated.
        astray: share of the label that lies more than 15 mm outside the body.
    """

    source: str
    case: str
    target: str
    components: int
    cut: bool
    right_of_spine_mm: float
    median_hu: float
    inside_parents: float
    astray: float


def scan_measures(volume: Volume, hu_window: tuple[float, float]) -> ScanMeasures:
    """Measure the scan of a case; `hu_window` is the one that its image was scaled from."""
    spacing, extent = patient_axes(volume.native_grid)
    low, high = hu_window
    soft = volume.image[(volume.image > 0) & (volume.image < 1)]
    return ScanMeasures(
        volume.source,
        volume.case,
        *spacing,
        *extent,
        soft_hu=low + (high - low) * float(np.median(soft)) if soft.size else float("nan"),
        native_hu="|".join(map(str, volume.native_hu.tolist())),
    )


def patient_axes(grid: Grid) -> tuple[list[float], list[float]]:
    """Spacing and extent in mm along the patient's axes (right, front, up), whatever the order of the array's."""
    along = np.abs(grid.affine[:3, :3] / grid.spacing_mm).argmax(axis=1)
    return grid.spacing_mm[along].tolist(), (grid.spacing_mm * grid.shape)[along].tolist()


def target_measures(volume: Volume, hu_window: tuple[float, float]) -> Iterator[TargetMeasures]:
    """Measure every annotated target of a case, by id."""
    low, high = hu_window
    hu = np.where(volume.image > 0, low + (high - low) * volume.image, np.float32(AIR_HU))
    spine_mm = midline(hu, volume.grid.affine, Path(f"{volume.source} {volume.case}"))
    outside, step = _outside(volume)
    edge, boxes = edge_bits(volume.native_labels), target_boxes(volume.native_labels)
    for known in map(target, volume.annotated):
        inside = mask(volume.labels, known.name)
        coarse = inside[tuple(slice(None, None, length) for length in step)]
        there = inside.any()
        yield TargetMeasures(
            volume.source,
            volume.case,
            known.name,
            components=components(mask(volume.native_labels[boxes.get(known.bit, NOWHERE)], known.name)),
            cut=bool(edge & known.bit),
            right_of_spine_mm=_centre_x_mm(inside, volume.grid) - spine_mm if there else float("nan"),
            median_hu=float(np.median(np.clip(hu[inside], low, high))) if there else float("nan"),
            inside_parents=_inside_parents(volume, known, inside),
            astray=float(outside[coarse].mean()) if coarse.any() else 0.0,
        )


def edge_bits(labels: np.ndarray) -> np.uint32:
    """Bits of the targets that reach any of the six faces of a label volume."""
    faces = [np.moveaxis(labels, axis, 0)[end] for axis in range(3) for end in (0, -1)]
    return np.bitwise_or.reduce([np.bitwise_or.reduce(face, axis=None) for face in faces])


def components(inside: np.ndarray) -> int:
    """Pieces of a boolean mask, corners counted as neighbours."""
    return int(ndimage.label(inside, structure=NEIGHBOURS)[1])


def _centre_x_mm(inside: np.ndarray, grid: Grid) -> float:
    """World x of the centre of a mask that is not empty, on a harmonised grid (whose first axis is the world's)."""
    counts = inside.sum(axis=(1, 2))
    return float(grid.affine[0, 3] + grid.affine[0, 0] * (counts @ np.arange(counts.size)) / counts.sum())


def _inside_parents(volume: Volume, child: Target, inside: np.ndarray) -> float:
    parents = [name for name in child.parents if name in volume.annotated]
    if not parents or not inside.any():
        return float("nan")
    return float(np.any([mask(volume.labels[inside], name) for name in parents], axis=0).mean())


def _outside(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Where a coarser grid is far from the body, and its step in voxels of the harmonised one."""
    spacing = volume.grid.spacing_mm
    step = np.maximum(1, np.rint(COARSE_MM / spacing)).astype(int)
    coarse = tuple(slice(None, None, length) for length in step)
    tissue = ndimage.binary_opening(volume.image[coarse] > 0, IN_SLICE)
    regions, count = ndimage.label(tissue)
    body = regions == 1 + np.bincount(regions.ravel())[1:].argmax() if count else tissue
    body = np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(body, 2, 0)], axis=2)
    if not (volume.labels[coarse] != 0)[~body].any():
        return np.zeros(body.shape, bool), step
    return ndimage.distance_transform_edt(~body, sampling=step * spacing) > FAR_MM, step
