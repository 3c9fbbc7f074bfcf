"""Right or left: labels that merge both kidneys, or both adrenal glands, split by where they lie in the patient.

Counting components goes wrong on patients with one kidney, a horseshoe kidney, or a speck of label. Here each
component is judged by its place relative to the patient's mid-line: the spine. RAS world coordinates grow towards the
patient's right, so what lies beyond the mid-line in x is right. The mid-line is upright: grids may be oblique as they
like, but a patient who lies more than some 10 degrees askew may have the edge of an adrenal gland on the wrong side.
"""

from pathlib import Path

import numpy as np
from scipy import ndimage

from universal_diffusion.boxes import bounding_box
from universal_diffusion.datasets.catalogue import MERGED
from universal_diffusion.datasets.hounsfield import BODY_HU
from universal_diffusion.datasets.labels import MERGED_BITS, bits_of
from universal_diffusion.errors import InputError
from universal_diffusion.targets import all_targets

BONE_HU = 200
COARSE_MM = 3.0  # grid on which the mid-line is looked for
SPINE_HALF_WIDTHS_MM = (60.0, 40.0, 40.0)  # successive windows around the mid-line in which bone is the spine's
SPINE_LEAST_ML = 5.0
HORSESHOE_SHARE = 0.2  # of a component, on its smaller side, from which it is two fused organs
SPECK_SHARE = 0.03  # of the largest component's volume (for a horseshoe: of tissue), below which one is no organ
NEIGHBOURS = np.ones((3, 3, 3), bool)


def resolve(labels: np.ndarray, image: np.ndarray, affine: np.ndarray, where: Path) -> np.ndarray:
    """Replace every merged label by its two sides, with the mid-line found in the scan itself.

    Args:
        labels: (X, Y, Z) uint32 bits that may hold `labels.MERGED_BITS`.
        image: Hounsfield units of the same shape.
        affine: 4 x 4 to RAS millimetres.
        where: the scan, for the error message.
    """
    if not np.bitwise_or.reduce(labels, axis=None) & bits_of(MERGED):
        return labels
    return split(labels, affine, midline(image, affine, where))


def midline(image: np.ndarray, affine: np.ndarray, where: Path) -> float:
    """The x (RAS mm) of the patient's mid-line.

    It is the median x of the body, moved to the median x of the bone behind the body's centre (the spine) in ever
    narrower windows around it. A scan that shows no bone there (below 5 ml) keeps the body's median.

    Raises:
        InputError: if the scan shows no body.
    """
    step = np.maximum(1, np.rint(COARSE_MM / np.linalg.norm(affine[:3, :3], axis=0))).astype(int)
    coarse = image[tuple(slice(None, None, length) for length in step)]
    to_mm = affine @ np.diag([*step, 1])
    body = ndimage.binary_opening(coarse > BODY_HU, iterations=2)
    components, count = ndimage.label(body)
    if count == 0:
        raise InputError(where, "shows no body, so right and left cannot be told apart", "check that it is a CT in HU")
    body = components == 1 + np.bincount(components.ravel())[1:].argmax()
    x_mm, y_mm = (_coordinate(coarse.shape, to_mm, axis) for axis in (0, 1))
    middle = float(np.median(x_mm[body]))
    bone = body & (coarse > BONE_HU) & (y_mm < np.median(y_mm[body]))
    bone_x_mm = x_mm[bone]
    voxel_ml = abs(np.linalg.det(to_mm[:3, :3])) / 1000
    for half_width in SPINE_HALF_WIDTHS_MM:
        near = bone_x_mm[abs(bone_x_mm - middle) < half_width]
        if near.size * voxel_ml >= SPINE_LEAST_ML:
            middle = float(np.median(near))
    return middle


def split(labels: np.ndarray, affine: np.ndarray, midline_x_mm: float) -> np.ndarray:
    """Replace merged labels by their sides; every voxel of a merged label gets exactly one.

    A component (26 neighbours) belongs to the side on which most of it lies, tumours and cysts not counted unless it is
    all lesion. One whose tissue reaches across the mid-line with a fifth of its volume or more, where nothing else
    lies, is two fused organs (a horseshoe kidney) and is cut at the mid-line. A speck joins the organ on its side, or
    the only one there is.

    Args:
        labels: (X, Y, Z) uint32 bits.
        affine: 4 x 4 to RAS millimetres.
        midline_x_mm: x of the mid-line.

    Returns:
        A copy without merged bits.
    """
    merged_bits = bits_of(MERGED)
    result = labels & ~merged_bits
    for name, pair in MERGED.items():
        merged = (labels & MERGED_BITS[name]) != 0
        box = bounding_box(merged)
        if box is None:
            continue
        start = np.eye(4)
        start[:3, 3] = [extent.start for extent in box]
        right = _coordinate(merged[box].shape, affine @ start, 0) > midline_x_mm
        lesion = (labels[box] & _lesion_bits(pair)) != 0
        is_right = _right_part(merged[box], lesion, right)
        sides = np.where(is_right, bits_of(pair[:1]), bits_of(pair[1:]))
        result[box] |= np.where(merged[box], sides, np.uint32(0))
    return result


def _right_part(merged: np.ndarray, lesion: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Which voxels of the components of `merged` belong to the right-hand organ; all arguments (x, y, z) boolean."""
    components, count = ndimage.label(merged, structure=NEIGHBOURS)

    def volumes(mask: np.ndarray) -> np.ndarray:
        """Voxels of each component (0: none) left and right of the mid-line: (2, count + 1)."""
        return np.stack([np.bincount(components[mask & there], minlength=count + 1) for there in (~right, right)])

    whole, tissue = volumes(merged), volumes(merged & ~lesion)
    size, tissue_size = whole.sum(axis=0), tissue.sum(axis=0)
    organ = size >= SPECK_SHARE * size.max()
    on_right = np.argmax(np.where(tissue_size > 0, tissue, whole), axis=0) == 1
    held_left, held_right = (organ & ~on_right).any(), (organ & on_right).any()
    across = tissue.min(axis=0) >= HORSESHOE_SHARE * tissue_size
    solid = tissue_size > SPECK_SHARE * tissue_size.max()
    fused = organ & solid & across & ~np.where(on_right, held_left, held_right)
    if held_left != held_right and not fused.any():
        on_right[~organ] = held_right
    return np.where(fused[components], right, on_right[components])


def _coordinate(shape: tuple[int, ...], affine: np.ndarray, axis: int) -> np.ndarray:
    """World coordinate `axis` of every voxel of a grid, in mm."""
    i, j, k = np.ogrid[tuple(slice(length) for length in shape)]
    a, b, c, offset = affine[axis]
    return (a * i + offset) + b * j + c * k


def _lesion_bits(sides: tuple[str, str]) -> np.uint32:
    """Bits of the targets that lie within these organs."""
    return bits_of(known.name for known in all_targets() if set(sides) & set(known.parents))
