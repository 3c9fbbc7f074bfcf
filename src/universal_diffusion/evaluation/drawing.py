"""Figures whose bytes depend on what they show and on nothing else, fit for print: 7 inches wide, 200 dots per inch."""

import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from universal_diffusion.files import whole_file

DOTS_PER_INCH = 200
CAPTION_SIZE, CAPTION_LINE = 7.5, 0.135  # points; inches from one line to the next
LETTER = 0.0555  # inches, mean width of a caption's letter


def save(figure: Figure, png: Path, svg: Path) -> None:
    """Write a figure as PNG and as SVG, without dates or software names, and with fixed SVG identifiers; close it."""
    with whole_file(png) as partial:
        figure.savefig(partial, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    with whole_file(svg) as partial, matplotlib.rc_context({"svg.hashsalt": "universal-diffusion"}):
        figure.savefig(partial, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)


def put_caption(figure: Figure, text: str) -> float:
    """Write `text` below everything, wrapped to the figure's width. Returns the share of the height that it takes."""
    width, height = figure.get_size_inches()
    caption = textwrap.fill(text, int((width - 0.2) / LETTER))
    figure.text(0.1 / width, 0.06 / height, caption, fontsize=CAPTION_SIZE, va="bottom", linespacing=1.25)
    return (0.1 + CAPTION_LINE * len(caption.splitlines())) / height
