"""What the page shows, from a result folder: the CT, each target's mask and maps, as gzipped NIfTI in base64."""

import base64
import gzip
import textwrap
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.wrapstruct import WrapStructError

from universal_diffusion.datasets.nifti import UNREADABLE, header_in
from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.outputs.facts import entropy
from universal_diffusion.targets import Target
from universal_diffusion.viewer.reduction import Part, Reduction, block_means, reduced_levels
from universal_diffusion.volumes import Grid

LOWEST_HU, HIGHEST_HU = -1024, 3071  # what 12 bits hold: metal is cut, air outside the scanner's circle is air
MAPS = ("mean", "variance", "entropy")
MULTILABEL = "segmentation.nii.gz"
_SCANNER = 1  # NIfTI code of coordinates in the scanner's frame


@dataclass(frozen=True)
class Shown:
    """One target on the page.

    Attributes:
        target: which.
        mask: its mask's box as a packed volume, "" where nothing was found.
        start: that box's first voxel in the page's CT.
        centre: the mask's voxel nearest to its centroid, in the page's CT.
        maps: packed boxes of those of `MAPS` that the result has, or that follow from its mean, and that are not zero
            everywhere.
    """

    target: Target
    mask: str
    start: tuple[int, int, int]
    centre: tuple[int, int, int]
    maps: dict[str, str]


def packed(values: np.ndarray, grid: Grid, slope: float = 1.0) -> str:
    """A volume as base64 of gzipped NIfTI; equal volumes give equal text."""
    image = nibabel.Nifti1Image(values, grid.affine)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(slope, 0)
    image.set_sform(grid.affine, _SCANNER)
    image.set_qform(None, 0)
    return base64.b64encode(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)).decode("ascii")


def packed_ct(hu: np.ndarray, reduced: Reduction) -> str:
    """The CT in whole Hounsfield units."""
    means = block_means(np.clip(hu, LOWEST_HU, HIGHEST_HU), reduced.factors)
    return packed(np.rint(means).astype(np.int16), reduced.grid)


def shown(folder: Path, target: Target, masks: Reduction, maps: Reduction) -> Shown:
    """Mask and maps of one target from their files.

    Raises:
        InputError: neither a mask nor the multi-label file, an unreadable file, or one on another grid than the CT's.
    """
    found = {kind: _map(folder / f"{target.slug}_{kind}.nii.gz", maps) for kind in MAPS}
    found["entropy"] = found["entropy"] or _entropy(folder / f"{target.slug}_mean.nii.gz", maps)
    present = {kind: text for kind, text in found.items() if text}
    return shown_mask(_mask(folder, target, masks.full), target, masks, present)


def shown_mask(levels: np.ndarray, target: Target, reduced: Reduction, maps: dict[str, str]) -> Shown:
    """A mask, uint8 on the full grid of `reduced`, and packed `maps`."""
    part = reduced_levels(levels, reduced)
    if part is None:
        return Shown(target, "", (0, 0, 0), (0, 0, 0), maps)
    return Shown(target, packed(part.values, part.grid), part.start, _centre(part), maps)


def _mask(folder: Path, target: Target, grid: Grid) -> np.ndarray:
    path = folder / f"{target.slug}.nii.gz"
    if path.exists():
        return levels_of(path, grid)[0]
    if (folder / MULTILABEL).exists():
        return (levels_of(folder / MULTILABEL, grid)[0] == target.id).astype(np.uint8)
    raise InputError(path, "is missing", "run `universal-diffusion segment` again with masks as NIfTI")


def _map(path: Path, reduced: Reduction) -> str:
    if not path.exists():
        return ""
    levels, slope = levels_of(path, reduced.full)
    part = reduced_levels(levels, reduced)
    return packed(part.values, part.grid, slope) if part else ""


def _entropy(mean: Path, reduced: Reduction) -> str:
    """The entropy that follows from a map of the mean, to 1/255 bit, for results that keep none."""
    if not mean.exists():
        return ""
    levels, slope = levels_of(mean, reduced.full)
    bits = np.rint(255 * entropy(np.arange(256) * slope)).astype(np.uint8)
    part = reduced_levels(bits[levels], reduced)
    return packed(part.values, part.grid, 1 / 255) if part else ""


def levels_of(path: Path, grid: Grid) -> tuple[np.ndarray, float]:
    """The numbers of a file from 0 to 255, and what one of them is worth."""
    again = "run `universal-diffusion segment` again"
    try:
        with gzip.open(path) as stream:
            header = header_in(stream)
            same = header.get_data_shape() == tuple(grid.shape)
            same = same and np.allclose(header.get_best_affine(), grid.affine, atol=1e-2)
            if header.get_data_dtype() != np.uint8 or not same:
                raise InputError(path, "is not on the grid of the CT", again)
            stored = ArrayProxy(stream, header)
            levels = np.asarray(stored.get_unscaled())
            while stream.read(2**20):
                pass  # gzip compares the checksum at the end
    except (*UNREADABLE, WrapStructError) as error:
        reason = textwrap.shorten(str(error), 160) or type(error).__name__
        raise InputError(path, f"cannot be read ({reason})", again) from None
    return levels, float(stored.slope)


def _centre(part: Part) -> tuple[int, int, int]:
    voxels = np.argwhere(part.values)
    nearest = voxels[np.argmin(np.sum((voxels - voxels.mean(axis=0)) ** 2, axis=1))]
    return tuple(int(n) for n in nearest + part.start)
