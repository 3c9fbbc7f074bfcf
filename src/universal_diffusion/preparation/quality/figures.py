"""One figure a dataset: spacing, field of view, Hounsfield units, and the volume of every label."""

from collections.abc import Mapping

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from universal_diffusion.native_hu import EDGES
from universal_diffusion.preparation.quality.limits import limits
from universal_diffusion.targets import all_targets

SHOWN_HU = (-1200, 1600)
WHOLE, CUT, LIMIT = "#1f5a94", "#e07b00", "#d9d9d9"


def figure(scans: pd.DataFrame, targets: pd.DataFrame, title: str, hu_window: tuple[float, float]) -> plt.Figure:
    """The figure of one dataset.

    Args:
        scans: its rows of `measures.ScanMeasures`.
        targets: its rows of `checks.with_volumes`.
        title: stands above.
        hu_window: of the harmonised images, shaded.
    """
    drawn = plt.figure(figsize=(13, 8))
    left = drawn.add_gridspec(2, 2, left=0.055, right=0.57, bottom=0.08, top=0.92, hspace=0.28, wspace=0.25)
    spacings = {"in the slice": "right_mm", "between slices": "up_mm"}
    extents = {"right to left": "extent_right_mm", "foot to head": "extent_up_mm"}
    _lengths(drawn.add_subplot(left[0, 0]), scans, spacings, "spacing (mm)")
    _lengths(drawn.add_subplot(left[0, 1]), scans, extents, "field of view (mm)")
    _hounsfield(drawn.add_subplot(left[1, :]), scans, hu_window)
    _volumes(drawn.add_axes((0.755, 0.08, 0.225, 0.84)), targets)
    drawn.suptitle(title, x=0.01, ha="left")
    return drawn


def _lengths(axes: Axes, scans: pd.DataFrame, columns: Mapping[str, str], label: str) -> None:
    lengths = scans.rename(columns={column: name for name, column in columns.items()})[list(columns)]
    seaborn.histplot(lengths, bins=20, ax=axes, element="step", alpha=0.4)
    axes.set(xlabel=label, ylabel="scans")
    axes.yaxis.get_major_locator().set_params(integer=True)


def _hounsfield(axes: Axes, scans: pd.DataFrame, hu_window: tuple[float, float]) -> None:
    """Mean share of a scan's voxels in each bin, a line for every source; not clipped to the study's window."""
    centres = (EDGES[:-1] + EDGES[1:]) / 2
    axes.axvspan(*hu_window, color="#cfe3f5", label="HU window of the study")
    for source, group in scans.groupby("source"):
        counts = np.array([text.split("|") for text in group["native_hu"]], np.float64)
        totals = counts.sum(axis=1, keepdims=True)
        if totals.all():
            axes.step(centres, np.clip((counts / totals).mean(axis=0), 1e-7, None), where="mid", lw=1, label=source)
    axes.set(xlim=SHOWN_HU, ylim=(1e-6, 1), yscale="log")
    axes.set(xlabel="Hounsfield units as shipped (nothing clipped)", ylabel="share of voxels per 20 HU")
    axes.legend(fontsize=8, loc="upper right")


def _volumes(axes: Axes, targets: pd.DataFrame) -> None:
    """Native volume of every label that is not empty, before the limits that `limits.csv` gives for adults."""
    held = targets[targets["native_ml"] > 0]
    names = [known.name for known in all_targets() if known.name in set(held["target"])]
    for row, name in enumerate(names):
        limit = limits()[name]
        low, high = max(limit.low_ml, 1e-3), limit.high_ml
        axes.barh(row, high - low, left=low, height=0.75, color=LIMIT, zorder=0)
        for cut, colour in ((False, WHOLE), (True, CUT)):
            volumes = held.loc[(held["target"] == name) & (held["cut"] == cut), "native_ml"]
            axes.plot(volumes, np.full(len(volumes), row), "|", ms=11, mew=1.3, color=colour, alpha=0.75)
    axes.set(xscale="log", xlabel="volume of the label on the CT's own grid (ml)")
    axes.set_yticks(range(len(names)), [f"{name} ({(held['target'] == name).sum()})" for name in names], fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(max(1e-3, held["native_ml"].min() / 2) if len(held) else 1e-3, 1e4)
    marks = [Line2D([], [], marker="|", ms=11, lw=0, color=WHOLE), Line2D([], [], marker="|", ms=11, lw=0, color=CUT)]
    bar = plt.Rectangle((0, 0), 1, 1, color=LIMIT)
    names = ["whole", "reaches the scan's edge", "plausible in adults"]
    axes.legend([*marks, bar], names, fontsize=8, loc="lower left", bbox_to_anchor=(-0.75, 1), ncols=3, frameon=False)
