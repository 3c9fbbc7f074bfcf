"""Sheets of validation patches that show what a network has learnt so far: a column per patch, a row per view of it.

The patient's right is on the left, the front on top, as everywhere. A target has its colour of `colours`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.transforms import Affine2D
from torch import Tensor

from universal_diffusion.colours import colour
from universal_diffusion.preparation.pictures import outline
from universal_diffusion.targets import Target, all_targets

SHOWN = 8  # patches of a sheet
TILE = 160  # pixels: a patch is magnified by a whole number until it is as wide
GAP, MARGIN = 4, 24  # pixels between patches, and left of and above them for names
DOTS_PER_INCH, GROUND = 100, 50  # grey of what lies around the patches
NAME = {"fontsize": 7, "ha": "center", "va": "center"}
THRESHOLD = 0.5  # probability at which an outline is drawn
LARGEST_ERROR = 0.2  # of a reconstruction, in full colour; the intensity window is 1


@dataclass(frozen=True)
class View:
    """One row: patches (N, rows, columns) shown from `low` to `high`, with outlines of masks of that shape if any."""

    name: str
    patches: np.ndarray
    outlined: np.ndarray | None = None
    low: float = 0.0
    high: float = 1.0
    colours: str = "gray"

    def painted(self, column: int) -> np.ndarray:
        """One patch as (rows, columns, 3) uint8."""
        shown = np.clip((self.patches[column] - self.low) / (self.high - self.low), 0, 1)
        return colormaps[self.colours](shown, bytes=True)[..., :3]


def mask_sheet(truth: Tensor, probability: Tensor, target_ids: Tensor) -> np.ndarray:
    """True masks over what the mask auto-encoder makes of them, each (N, 1, P, P) from 0 to 1: (H, W, 3) uint8."""
    true = upright(truth)
    views = [View("true mask", true), View("reconstruction", upright(probability), true > THRESHOLD)]
    return _sheet(views, _targets(target_ids))


def image_sheet(image: Tensor, reconstruction: Tensor) -> np.ndarray:
    """CT, the image auto-encoder's reconstruction and its error, each (N, 1, P, P): (H, W, 3) uint8."""
    given, back = upright(image), upright(reconstruction)
    most = LARGEST_ERROR
    error = View(f"error, −{most} to {most}", back - given, low=-most, high=most, colours="RdBu_r")
    return _sheet([View("CT", given), View("reconstruction", back), error], [None] * len(given))


def segmentation_sheet(image: Tensor, truth: Tensor, probability: Tensor, target_ids: Tensor) -> np.ndarray:
    """CT with the true outline, P(voxel in target), CT with the predicted one, each (N, 1, P, P): (H, W, 3) uint8."""
    ct, predicted = upright(image), upright(probability)
    views = [
        View("CT, true outline", ct, upright(truth) > THRESHOLD),
        View("predicted probability", predicted),
        View("CT, predicted outline", ct, predicted > THRESHOLD),
    ]
    return _sheet(views, _targets(target_ids))


def choice(mask: Tensor, target_ids: Tensor) -> Tensor:
    """Which `SHOWN` of patches (N, 1, P, P) to show: the fullest of each target, in their order, then others; (n,)."""
    area = mask.flatten(1).sum(dim=1).tolist()
    fullest: dict[int, int] = {}
    for place, known in sorted(enumerate(target_ids.tolist()), key=lambda one: -area[one[0]]):
        if area[place]:
            fullest.setdefault(known, place)
    first = sorted(fullest.values())
    return torch.tensor([*first, *(place for place in range(len(mask)) if place not in first)][:SHOWN])


def upright(patches: Tensor) -> np.ndarray:
    """Patches (N, 1, x, y) as they hang: (N, rows, columns)."""
    return patches[:, 0].detach().float().cpu().numpy().transpose(0, 2, 1)[:, ::-1, ::-1]


def _targets(target_ids: Tensor) -> list[Target]:
    by_id = {known.id: known for known in all_targets()}
    return [by_id[number] for number in target_ids.tolist()]


def _sheet(views: Sequence[View], targets: Sequence[Target | None]) -> np.ndarray:
    """Patches painted pixel by pixel, then names and outlines drawn over them."""
    size = views[0].patches.shape[-1]
    scale = -(-TILE // size)
    tile = scale * size
    lefts = [MARGIN + (tile + GAP) * column for column in range(len(targets))]
    tops = [MARGIN + (tile + GAP) * row for row in range(len(views))]
    ground = np.full((tops[-1] + tile + GAP, lefts[-1] + tile + GAP, 3), GROUND, np.uint8)
    axes = _axes(ground)
    axes.text(MARGIN + 2 * GAP, MARGIN + tile / 2, "R", **NAME, color="white")
    for view, top in zip(views, tops, strict=True):
        axes.text(MARGIN / 2, top + tile / 2, view.name, **NAME, rotation=90, color="white")
        for column, (left, known) in enumerate(zip(lefts, targets, strict=True)):
            ground[top : top + tile, left : left + tile] = view.painted(column).repeat(scale, 0).repeat(scale, 1)
            if view.outlined is not None and known is not None:
                place = Affine2D().translate(0.5, 0.5).scale(scale).translate(left, top)
                edge = place.transform_path(outline(view.outlined[column]))
                axes.add_artist(PathPatch(edge, fill=False, edgecolor=colour(known), linewidth=1.1))
    for left, known in zip(lefts, targets, strict=True):
        if known is not None:
            axes.text(left + tile / 2, MARGIN / 2, known.name, **NAME, color=colour(known))
    return _drawn(axes, ground)


def _axes(ground: np.ndarray) -> Axes:
    """Axes over a whole picture, whose units are its pixels."""
    height, width = ground.shape[:2]
    figure = Figure((width / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH, facecolor="none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return axes


def _drawn(axes: Axes, ground: np.ndarray) -> np.ndarray:
    """What is drawn on the axes, over the ground."""
    axes.figure.figimage(ground, zorder=-1)
    canvas = FigureCanvasAgg(axes.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
