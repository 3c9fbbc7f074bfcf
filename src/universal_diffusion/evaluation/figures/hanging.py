"""Axial slices as radiologists hang them, and outlines on them that print shows without colour."""

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes

TRUTH, PREDICTION = "#ffd92f", "#8fdcff"  # both light on a CT, and told apart by their dashes
_EDGE = [patheffects.Stroke(linewidth=2.2, foreground="black"), patheffects.Normal()]


def hung(plane: np.ndarray) -> np.ndarray:
    """A plane (x, y) of a RAS volume with the patient's right on the left of the picture and the front on top."""
    return plane.T[::-1, ::-1]


def show(axes: Axes, plane: np.ndarray, **how) -> None:
    """Draw a plane (x, y) without ticks."""
    axes.imshow(hung(plane), interpolation="nearest", **how)
    axes.set(xticks=[], yticks=[])


def outline(axes: Axes, mask: np.ndarray, colour: str, line: str = "-", rim: bool = True) -> None:
    """The edge of a mask (x, y), if it has one; with a dark rim it stands out of bright and dark alike."""
    if mask.any():
        padded = np.pad(hung(mask).astype(float), 1)
        lines = axes.contour(
            np.arange(-1, padded.shape[1] - 1),
            np.arange(-1, padded.shape[0] - 1),
            padded,
            [0.5],
            colors=[colour],
            linewidths=1.1 if rim else 0.7,
            linestyles=[line],
        )
        if rim:
            lines.set_path_effects(_EDGE)


def body_square(image: np.ndarray) -> tuple[slice, slice]:
    """The smallest square of a plane (x, y) of values in [0, 1] around all but air; the whole where all is air."""
    inside = np.argwhere(image > 0)
    if not len(inside):
        return slice(None), slice(None)
    low, high = inside.min(axis=0), inside.max(axis=0) + 1
    edge = min(int((high - low).max()), *image.shape)
    starts = [
        int(np.clip(middle - edge / 2, 0, n - edge)) for middle, n in zip((low + high) / 2, image.shape, strict=True)
    ]
    return slice(starts[0], starts[0] + edge), slice(starts[1], starts[1] + edge)
