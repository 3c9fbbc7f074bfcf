"""What the page's list and pictures are made of: a row per target, with its mask, maps, truth and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import nibabel
import numpy as np

from universal_diffusion.colours import colour
from universal_diffusion.viewer.reduction import Reduction
from universal_diffusion.viewer.volumes import Shown

TRUTH = 100  # is added to a target's number for its truth


@dataclass(frozen=True)
class Column:
    """A column of figures in the list: its heading, and what it means."""

    name: str
    told: str


@dataclass(frozen=True)
class Layer:
    """A target on the page.

    Attributes:
        shown: its mask and maps.
        voxels: of the mask at full size; the smaller lies on top, a tumour on every organ.
        figures: by the name of their column; "" or left out where there is none.
        truth: a mask to compare with, drawn as a black and white line on top of everything; None where there is none.
        remark: why a figure is missing, below the target's name.
    """

    shown: Shown
    voxels: int
    figures: Mapping[str, str] = field(default_factory=dict)
    truth: Shown | None = None
    remark: str = ""

    @property
    def number(self) -> int:
        """Which tells it from the others, 1 to 29."""
        return self.shown.target.id


def facts(layers: Sequence[Layer], columns: Sequence[Column], coarse: Reduction) -> dict:
    """What the page's script reads of them; columns without a figure are left out."""
    below = sorted(layers, key=lambda one: (one.shown.target.kind != "organ", -one.voxels, one.number))
    used = [column for column in columns if any(one.figures.get(column.name) for one in layers)]
    return {
        "columns": [[column.name, column.told] for column in used],
        "targets": [_row(one, used, coarse) for one in layers],
        "layers": [one.number for one in below if one.shown.mask]
        + [TRUTH + one.number for one in below if one.truth and one.truth.mask],
        "largest": max(layers, key=lambda one: (one.voxels, -one.number)).number,
        "shape": coarse.grid.shape,
        "file_axes": _file_axes(coarse.grid.affine),
        "to_voxels": np.linalg.inv(coarse.grid.affine)[:3].tolist(),
    }


def volumes(layers: Sequence[Layer]) -> dict[str, str]:
    """Packed masks and maps by their names on the page."""
    masks = {f"mask-{one.number}": one.shown.mask for one in layers if one.shown.mask}
    masks |= {f"mask-{TRUTH + one.number}": one.truth.mask for one in layers if one.truth and one.truth.mask}
    return masks | {f"{kind}-{one.number}": text for one in layers for kind, text in one.shown.maps.items()}


def _row(one: Layer, columns: Sequence[Column], coarse: Reduction) -> dict:
    known = one.shown.target
    seen = one.shown if one.shown.mask or not one.truth else one.truth
    return {
        "id": one.number,
        "name": known.name,
        "colour": [round(255 * channel) for channel in colour(known)],
        "found": bool(one.shown.mask),
        "start": one.shown.start,
        "centre": (coarse.grid.affine @ [*seen.centre, 1])[:3].tolist(),
        "maps": sorted(one.shown.maps),
        "figures": [one.figures.get(column.name, "") for column in columns],
        "remark": one.remark,
        "truth": one.truth and {"id": TRUTH + one.number, "found": bool(one.truth.mask), "start": one.truth.start},
    }


def _file_axes(affine: np.ndarray) -> list[int]:
    """The array axis that runs most along each of R, A and S."""
    along = nibabel.io_orientation(affine)[:, 0].astype(int).tolist()
    return [along.index(axis) for axis in range(3)]
