"""Picture sheets that a person can look through: every case of a dataset, or as many as one looks at, worst first."""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt

from universal_diffusion.preparation.pictures import (
    AXIAL,
    BACKGROUND,
    CORONAL,
    Picture,
    add_legend,
    draw,
    fullest_slice,
    legend_inch,
    named_targets,
    picture,
)
from universal_diffusion.preparation.quality.findings import SEVERITIES, Finding
from universal_diffusion.targets import mask
from universal_diffusion.volumes import Volume

CASES, SHEETS = 24, 4  # cases a sheet, sheets a dataset
ACROSS = 4  # cases a row
TILE_INCH, HEAD_INCH = 2.5, 0.4  # of a picture, and of what stands above it
TITLE_INCH, TITLE_LETTERS = 0.2, 12  # of a line of the title: its height, and letters an inch
DOTS_PER_INCH = 100

Key = tuple[str, str]  # source and case


@dataclass(frozen=True)
class Tile:
    """One case on a sheet: its name, what was found (errors and warnings), an axial and a coronal picture."""

    name: str
    remark: str
    pictures: tuple[Picture, Picture]


def pictured(cases: Sequence[Key], findings: Mapping[Key, Sequence[Finding]]) -> list[Key]:
    """The cases to show: those with errors and warnings first, then others at even steps through the dataset.

    Args:
        cases: of one dataset, in natural order.
        findings: what was found in them.
    """
    grave = [key for key in cases if _grave(findings.get(key, ()))]
    grave.sort(key=lambda key: min(SEVERITIES.index(hit.severity) for hit in findings[key]))
    others = [key for key in cases if not _grave(findings.get(key, ()))]
    room = min(max(0, CASES * SHEETS - len(grave)), len(others))
    return [*grave[: CASES * SHEETS], *(others[len(others) * k // room] for k in range(room))]


def tile(volume: Volume, findings: Sequence[Finding]) -> Tile:
    """A case's pictures, through the largest section of the first target with an error or a warning if there is one."""
    grave = _grave(findings)
    at_fault = next((hit.target for hit in grave if hit.target and mask(volume.labels, hit.target).any()), None)
    pictures = []
    for axis in (AXIAL, CORONAL):
        others = tuple(k for k in range(3) if k != axis)
        sizes = mask(volume.labels, at_fault).sum(axis=others) if at_fault else None
        at = int(sizes.argmax()) if at_fault else fullest_slice(volume.image, volume.labels, axis)
        pictures.append(picture(volume, axis, at))
    remark = "; ".join(dict.fromkeys(f"{hit.kind} {hit.target}".strip() for hit in grave))
    return Tile(f"{volume.source} {volume.case}", remark, (pictures[0], pictures[1]))


def sheet(tiles: Sequence[Tile], title: str) -> plt.Figure:
    """Up to `CASES` cases, each as an axial beside a coronal picture, with the legend of the outlines below."""
    across = min(ACROSS, len(tiles))
    rows = math.ceil(len(tiles) / across)
    named = named_targets(one for shown in tiles for one in shown.pictures)
    width = 2 * across * TILE_INCH
    foot = legend_inch(named, width)
    lines = textwrap.wrap(title, int(TITLE_LETTERS * width))
    top = 0.1 + TITLE_INCH * len(lines)
    size = (width, rows * (TILE_INCH + HEAD_INCH) + top + foot)
    figure = plt.figure(figsize=size, facecolor=BACKGROUND)
    frame = {"left": 0.005, "right": 0.995, "bottom": foot / size[1], "top": 1 - (top + HEAD_INCH) / size[1]}
    grid = figure.add_gridspec(rows, 2 * across, hspace=HEAD_INCH / TILE_INCH, wspace=0.03, **frame)
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


def sheets(tiles: Sequence[Tile], title: str) -> Iterator[plt.Figure]:
    """The tiles on as many sheets as they need."""
    count = math.ceil(len(tiles) / CASES)
    for number in range(count):
        yield sheet(tiles[CASES * number : CASES * (number + 1)], f"{title} (sheet {number + 1} of {count})")


def _grave(findings: Sequence[Finding]) -> list[Finding]:
    return [hit for hit in findings if hit.severity != "note"]
