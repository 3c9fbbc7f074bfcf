"""Slices of harmonised cases with their labels outlined, as radiologists hang them: the patient's right on the left."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from universal_diffusion.colours import colour
from universal_diffusion.targets import Target, all_targets, mask
from universal_diffusion.volumes import Volume

AXIAL, CORONAL = 2, 1
BACKGROUND = "black"
MARGIN_MM = 10.0  # of air around what a picture shows
HEAD_INCH = 0.4  # above each picture
TITLE_INCH, TITLE_LETTERS = 0.2, 12  # of a line of a sheet's title: its height, and letters an inch


@dataclass(frozen=True)
class Picture:
    """One slice, upright: `image` (rows, columns) from 0 to 1, `labels` its bits, `aspect` the height of its pixels."""

    image: np.ndarray
    labels: np.ndarray
    aspect: float


@dataclass(frozen=True)
class Tile:
    """One case on a sheet: its name, a remark, an axial and a coronal picture."""

    name: str
    remark: str
    pictures: tuple[Picture, Picture]


def views(volume: Volume, name: str | None = None) -> tuple[Picture, Picture]:
    """An axial and a coronal picture of a case: through the largest section of a target, else the fullest slice."""
    pictures = []
    for axis in (AXIAL, CORONAL):
        others = tuple(k for k in range(3) if k != axis)
        sizes = mask(volume.labels, name).sum(axis=others) if name else None
        at = int(sizes.argmax()) if name else fullest_slice(volume.image, volume.labels, axis)
        pictures.append(picture(volume, axis, at))
    return pictures[0], pictures[1]


def picture(volume: Volume, axis: int, at: int) -> Picture:
    """The slice of a case across an axis (`AXIAL`, `CORONAL`), without the air around the body and the labels."""
    image, labels = (np.take(array, at, axis) for array in (volume.image, volume.labels))
    spacing = [volume.grid.spacing_mm[k] for k in range(3) if k != axis]
    box = tuple(_extent((image > 0) | (labels > 0), other, spacing[1 - other]) for other in (1, 0))
    return Picture(image[box].T[::-1, ::-1], labels[box].T[::-1, ::-1], spacing[1] / spacing[0])


def _extent(shown: np.ndarray, over: int, spacing_mm: float) -> slice:
    """Along the axis that is not `over`: where a 2-D mask has voxels, and a margin; everything if it has none."""
    places = np.flatnonzero(shown.any(axis=over))
    if not places.size:
        return slice(None)
    margin = round(MARGIN_MM / spacing_mm)
    return slice(max(0, places[0] - margin), places[-1] + 1 + margin)


def fullest_slice(image: np.ndarray, labels: np.ndarray, axis: int) -> int:
    """Index along `axis` of the slice with the most targets, then the most labelled voxels, then the least air."""
    others = tuple(k for k in range(3) if k != axis)
    counts = np.stack([mask(labels, target.name).sum(axis=others) for target in all_targets()])
    tissue = (image > 0).sum(axis=others)
    return int(np.lexsort((tissue, counts.sum(axis=0), (counts > 0).sum(axis=0)))[-1])


def draw(axes: Axes, shown: Picture) -> None:
    """Draw a slice with the outline of every target in it, and an R at the patient's right."""
    rows, columns = shown.image.shape
    axes.imshow(shown.image, cmap="gray", vmin=0, vmax=1, aspect=shown.aspect, interpolation="nearest")
    for target in all_targets():
        inside = mask(shown.labels, target.name)
        if inside.any():
            axes.add_artist(PathPatch(outline(inside), fill=False, edgecolor=colour(target), linewidth=1.1))
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.text(0.02, 0.5, "R", transform=axes.transAxes, color="white", fontsize=7, va="center")
    axes.set_axis_off()


def sheet(tiles: Sequence[Tile], title: str, across: int, picture_inch: float) -> Figure:
    """The tiles in rows of up to `across`, each an axial beside a coronal picture, with the legend of the outlines."""
    across = min(across, len(tiles))
    rows = math.ceil(len(tiles) / across)
    named = named_targets(one for shown in tiles for one in shown.pictures)
    width = 2 * across * picture_inch
    foot = legend_inch(named, width)
    lines = textwrap.wrap(title, int(TITLE_LETTERS * width))
    top = 0.1 + TITLE_INCH * len(lines)
    size = (width, rows * (picture_inch + HEAD_INCH) + top + foot)
    figure = plt.figure(figsize=size, facecolor=BACKGROUND)
    frame = {"left": 0.005, "right": 0.995, "bottom": foot / size[1], "top": 1 - (top + HEAD_INCH) / size[1]}
    grid = figure.add_gridspec(rows, 2 * across, hspace=HEAD_INCH / picture_inch, wspace=0.03, **frame)
    for index, shown in enumerate(tiles):
        row, column = divmod(index, across)
        for k, one in enumerate(shown.pictures):
            draw(figure.add_subplot(grid[row, 2 * column + k]), one)
        corner = grid[row, 2 * column].get_position(figure)
        figure.text(corner.x0, corner.y1 + 0.21 / size[1], shown.name, color="white", fontsize=8)
        figure.text(corner.x0, corner.y1 + 0.05 / size[1], shown.remark[:72], color="orange", fontsize=8)
    figure.text(0.005, 1 - 0.08 / size[1], "\n".join(lines), color="white", fontsize=10, va="top", linespacing=1.3)
    add_legend(figure, named)
    return figure


def outline(inside: np.ndarray) -> Path:
    """The edges between pixels of a 2-D mask and others, in picture coordinates (x across, y down)."""
    padded = np.pad(inside, 1)
    y, x = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    upright = np.stack([x - 0.5, y - 0.5, x - 0.5, y + 0.5], axis=1)
    y, x = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    level = np.stack([x - 0.5, y - 0.5, x + 0.5, y - 0.5], axis=1)
    vertices = np.concatenate([upright, level]).reshape(-1, 2)
    return Path(vertices, np.tile([Path.MOVETO, Path.LINETO], len(vertices) // 2))


def named_targets(shown: Iterable[Picture]) -> list[Target]:
    """The targets that the pictures show, by id."""
    union = np.bitwise_or.reduce([np.bitwise_or.reduce(one.labels, axis=None) for one in shown])
    return [target for target in all_targets() if union & target.bit]


def legend_inch(named: Sequence[Target], width_inch: float) -> float:
    """Height of the legend of a figure of that width."""
    return 0.2 * math.ceil(len(named) / _columns(width_inch)) + 0.2


def add_legend(figure: Figure, named: Sequence[Target]) -> None:
    """Name the targets' colours at the foot of a figure with a dark background."""
    handles = [Line2D([], [], color=colour(target), linewidth=3, label=target.name) for target in named]
    columns = _columns(figure.get_figwidth())
    figure.legend(handles=handles, loc="lower center", ncols=columns, fontsize=9, frameon=False, labelcolor="white")


def _columns(width_inch: float) -> int:
    return max(1, int(width_inch / 2.4))
