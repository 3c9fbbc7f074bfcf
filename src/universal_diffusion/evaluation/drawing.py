"""Figures whose bytes depend on what they show and on nothing else."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure

from universal_diffusion.files import whole_file

DOTS_PER_INCH = 120


def save(figure: Figure, png: Path, svg: Path) -> None:
    """Write a figure as PNG and as SVG, without dates or software names, and with fixed SVG identifiers."""
    with whole_file(png) as partial:
        figure.savefig(partial, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    with whole_file(svg) as partial, matplotlib.rc_context({"svg.hashsalt": "universal-diffusion"}):
        figure.savefig(partial, format="svg", metadata={"Date": None, "Creator": None})
