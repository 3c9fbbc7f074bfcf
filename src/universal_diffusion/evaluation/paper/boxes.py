"""Boxes and arrows of Figure 1, placed in inches."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

LINE = "#444444"
TEXT = 6.5  # points
Place = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A labelled rectangle around (x, y)."""

    x: float
    y: float
    text: str
    colour: str
    width: float = 1.0
    height: float = 0.48

    def side(self, where: str) -> tuple[float, float]:
        """The middle of its "left", "right", "top" or "bottom" edge."""
        across, along = {"left": (-0.5, 0), "right": (0.5, 0), "top": (0, 0.5), "bottom": (0, -0.5)}[where]
        return self.x + across * self.width, self.y + along * self.height


def draw_boxes(axes: Axes, *boxes: Box) -> None:
    """Draw boxes with their texts."""
    for box in boxes:
        corner = box.x - box.width / 2, box.y - box.height / 2
        style = "round,pad=0,rounding_size=0.05"
        axes.add_patch(FancyBboxPatch(corner, box.width, box.height, style, fc=box.colour, ec=LINE, lw=0.8))
        axes.text(box.x, box.y, box.text, ha="center", va="center", fontsize=TEXT)


def draw_arrow(axes: Axes, start: Place, end: Place, label: str = "", colour: str = LINE, line: str = "-") -> None:
    """Draw an arrow with a label above its middle."""
    style = {
        "arrowstyle": "-|>",
        "color": colour,
        "lw": 1,
        "mutation_scale": 7,
        "linestyle": line,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    axes.annotate("", xy=end, xytext=start, arrowprops=style)
    middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.03
    axes.text(*middle, label, ha="center", va="bottom", fontsize=TEXT, color=colour)
