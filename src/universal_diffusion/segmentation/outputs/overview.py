"""A sheet for a quick look: the CT in three directions and each target's largest section, outlined and named.

Slices hang as radiologists have them: the patient's right on the left of axial and coronal pictures, the front on the
left of sagittal ones, the head up. Pictures are of the CT's own slices: those of an oblique CT are oblique too.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch

from universal_diffusion.colours import colour
from universal_diffusion.files import whole_file
from universal_diffusion.preparation.pictures import outline
from universal_diffusion.segmentation.inputs.ct import CT
from universal_diffusion.segmentation.outputs.facts import TargetFacts
from universal_diffusion.segmentation.outputs.label_map import LabelMap
from universal_diffusion.targets import Target, all_targets, target

OVERVIEW = "overview.png"
LOWEST_HU, HIGHEST_HU, BODY_HU = -160.0, 240.0, -300.0
SAGITTAL, CORONAL, AXIAL = 0, 1, 2  # the axis of the patient that a picture is across
LETTERS = {SAGITTAL: "APSI", CORONAL: "RLSI", AXIAL: "RLAP"}  # at a picture's left, right, top and bottom
LETTER_PLACES = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.97), (0.5, 0.03))
ACROSS, PICTURE_INCH, NAME_INCH, LINE_INCH, LETTERS_INCH = 6, 2.4, 0.25, 0.2, 12
DOTS_PER_INCH = 100


@dataclass(frozen=True)
class _Picture:
    """A slice across an axis of the patient, upright: HU and target ids (rows, columns), `aspect` a pixel's height."""

    axis: int
    hu: np.ndarray
    ids: np.ndarray
    aspect: float
    name: str
    shown: Target | None = None


def write_overview(path: Path, ct: CT, labels: LabelMap, facts: Mapping[str, TargetFacts]) -> None:
    """Draw the sheet of a CT: three slices through most labels, then an axial one through each target found."""
    slices = _Slices(ct, labels)
    large = [
        slices.picture(axis, slices.fullest(axis), name)
        for axis, name in ((CORONAL, "coronal"), (SAGITTAL, "sagittal"), (AXIAL, "axial"))
    ]
    sections = slices.largest_sections()
    small = [
        slices.picture(AXIAL, at, f"{name}  {facts[name].volume_ml:.1f} ml", target(name))
        for name, at in sections.items()
    ]
    figure = _sheet(large, small, _title(ct, facts, sections))
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})


class _Slices:
    """Slices of a CT and its labels, by the axis of the patient that is next to the one they are across."""

    def __init__(self, ct: CT, labels: LabelMap):
        self._hu, self._labels, self._grid = ct.hu, labels, ct.grid
        orientation = nibabel.io_orientation(ct.grid.affine)  # of each array axis: which of the patient's, which way
        self._array_axis = [int(np.flatnonzero(orientation[:, 0] == axis)[0]) for axis in range(3)]
        self._way = [int(orientation[along, 1]) for along in self._array_axis]

    def fullest(self, axis: int) -> int:
        """The slice with most labelled voxels; the middle one where there are none."""
        counts = self._labels.filled(self._array_axis[axis])
        return int(counts.argmax()) if counts.any() else counts.size // 2

    def largest_sections(self) -> dict[str, int]:
        """By target that shows, in the order of ids: the axial slice with most of its voxels."""
        areas = self._labels.areas(self._array_axis[AXIAL])
        return {known.name: int(areas[known.name].argmax()) for known in all_targets() if known.name in areas}

    def picture(self, axis: int, at: int, name: str, shown: Target | None = None) -> _Picture:
        """The slice at an index of the array, without the air around the body."""
        box = [slice(0, size) for size in self._grid.shape]
        box[self._array_axis[axis]] = slice(at, at + 1)
        hu, ids = (self._upright(array, axis) for array in (self._hu[tuple(box)], self._labels.ids(tuple(box))))
        rows, columns = (_extent((hu > BODY_HU) | (ids > 0), over) for over in (1, 0))
        across, up = (self._grid.spacing_mm[self._array_axis[other]] for other in range(3) if other != axis)
        return _Picture(axis, hu[rows, columns], ids[rows, columns], up / across, name, shown)

    def _upright(self, array: np.ndarray, axis: int) -> np.ndarray:
        ras = array.transpose(self._array_axis)[tuple(slice(None, None, way) for way in self._way)]
        return ras.squeeze(axis).T[::-1, ::-1]


def _extent(shown: np.ndarray, over: int) -> slice:
    places = np.flatnonzero(shown.any(axis=over))
    return slice(places[0], places[-1] + 1) if places.size else slice(None)


def _title(ct: CT, facts: Mapping[str, TargetFacts], sections: Mapping[str, int]) -> str:
    shape, spacing = ("x".join(f"{n:.4g}" for n in numbers) for numbers in (ct.grid.shape, ct.grid.spacing_mm))
    missing = [name for name in facts if not facts[name].voxels]
    hidden = [name for name in facts if facts[name].voxels and name not in sections]
    said = [
        f"{ct.path.name}: {shape} voxels of {spacing} mm. {len(facts) - len(missing)} of {len(facts)} targets found."
    ]
    said += [f"Not found: {', '.join(missing)}."] if missing else []
    said += [f"Hidden by others: {', '.join(hidden)}."] if hidden else []
    return " ".join(said)


def _sheet(large: Sequence[_Picture], small: Sequence[_Picture], title: str) -> Figure:
    """The large pictures side by side, the small ones in rows below."""
    rows, width = math.ceil(len(small) / ACROSS), ACROSS * PICTURE_INCH
    lines = textwrap.wrap(title, int(LETTERS_INCH * width))
    head = LINE_INCH * len(lines) + 0.1
    cell, high = PICTURE_INCH + NAME_INCH, 2 * PICTURE_INCH + NAME_INCH
    height = head + high + rows * cell
    figure = Figure((width, height), facecolor="black")
    FigureCanvasAgg(figure)
    figure.text(0.005, 1 - 0.05 / height, "\n".join(lines), color="white", fontsize=10, va="top", linespacing=1.3)
    wide = width / len(large)
    for k, one in enumerate(large):
        place = (k * wide, height - head - high, wide, high - NAME_INCH)
        _draw(_axes(figure, place), one)
    for k, one in enumerate(small):
        row, column = divmod(k, ACROSS)
        place = (column * PICTURE_INCH, height - head - high - (row + 1) * cell, PICTURE_INCH, PICTURE_INCH)
        _draw(_axes(figure, place), one)
    return figure


def _axes(figure: Figure, place: tuple[float, float, float, float]) -> Axes:
    """Axes at (left, bottom, width, height) in inches."""
    width, height = figure.get_size_inches()
    left, bottom, wide, high = place
    gap = 0.03
    return figure.add_axes(((left + gap) / width, bottom / height, (wide - 2 * gap) / width, high / height))


def _draw(axes: Axes, one: _Picture) -> None:
    axes.imshow(one.hu, cmap="gray", vmin=LOWEST_HU, vmax=HIGHEST_HU, aspect=one.aspect, interpolation="nearest")
    limits = axes.get_xlim(), axes.get_ylim()
    for known in all_targets():
        inside = one.ids == known.id
        if inside.any():
            thick = 1.6 if known == one.shown else 0.9
            axes.add_artist(PathPatch(outline(inside), fill=False, edgecolor=colour(known), linewidth=thick))
    axes.set(xlim=limits[0], ylim=limits[1])
    for letter, (x, y) in zip(LETTERS[one.axis], LETTER_PLACES, strict=True):
        axes.text(x, y, letter, transform=axes.transAxes, color="white", fontsize=7, ha="center", va="center")
    axes.set_title(one.name, color=colour(one.shown) if one.shown else "white", fontsize=8, pad=3)
    axes.set_axis_off()
