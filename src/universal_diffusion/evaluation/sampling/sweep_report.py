"""Tables and figures of the sampling sweep: Dice against steps, counted operations and seconds."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.drawing import put_caption
from universal_diffusion.segmentation.presets import GATE

MODES = ("no gate", "gate", "gate, warm start")
NARROWEST = 10  # points of Dice that the axis spans at least: what few cases say of less is chance
DICE_NOTE = (
    "Dice: ensemble mean at 0.5 on the harmonised grid, mean over the annotated targets that the cases hold; too few "
    "cases for an interval, so that small differences mean nothing. "
    f"Gate: every {GATE.every} slices, probability {GATE.threshold:g}, {GATE.margin_mm:g} mm. Warm start: the gate's "
    "estimates noised to 0.3 T, and the steps spread over what is left."
)
GFLOP_NOTE = (
    "GFLOP: operations per case, two per multiplication and addition, counted: encoding, features, steps and decoding "
    "of the gate's looks and of every sample."
)
SECONDS_NOTE = (
    "Seconds: from the harmonised volume in memory to its masks, mean over the cases, once each; reading, writing and "
    "the way back to the CT's grid are not in them. Other work on the machine slows them."
)


def printed_table(found: pd.DataFrame, cost: str, unit: str, cohort: str) -> tables.Printed:
    """A row per mode and ensemble size, a column per number of steps: Dice and the column `cost`."""
    texts = []
    for (mode, ensemble), own in found.groupby(["mode", "ensemble"], sort=False):
        cells = {
            f"{row.steps} step{'s' if row.steps > 1 else ''}": f"{100 * row.dice:.1f} ({getattr(row, cost):.3g})"
            for row in own.itertuples()
        }
        texts.append({"Mode": mode, "Ensemble": str(ensemble)} | cells)
    frame = pd.DataFrame(texts).fillna(tables.NOTHING)
    caption = f"Mean Dice, % ({unit} per case) of mask/CLIP; {_n(found)}. Measured here: {cohort}."
    notes = (DICE_NOTE, GFLOP_NOTE if cost == "gflop" else SECONDS_NOTE)
    return tables.Printed(frame, tables.unmarked(frame), caption, notes, f"tab:sampling-{cost}")


def draw(found: pd.DataFrame, cohort: str) -> Figure:
    """Dice against steps, and against the operations they cost; a line per mode and ensemble size."""
    with sns.axes_style("whitegrid"):
        figure, (steps, cost) = plt.subplots(1, 2, figsize=(7.0, 4.4), sharey=True)
    _lines(steps, found, "steps", "sampling steps")
    _lines(cost, found, "gflop", "GFLOP per case")
    steps.set_xticks(sorted(found["steps"].unique()), labels=map(str, sorted(found["steps"].unique())))
    cost.get_legend().remove()
    cost.set_ylabel("")
    _name_steps(cost, found, "gflop")
    told = f"What sampling buys, mask/CLIP; right, a point's number is its steps; {_n(found)}. {DICE_NOTE} {GFLOP_NOTE}"
    figure.tight_layout(rect=(0, put_caption(figure, f"{told} Cohort: {cohort}."), 1, 1))
    return figure


def draw_seconds(found: pd.DataFrame, where: str, cohort: str) -> Figure:
    """Dice against seconds per case, a line per mode and ensemble size, its points named by their steps."""
    with sns.axes_style("whitegrid"):
        figure, axes = plt.subplots(figsize=(7.0, 4.8))
    _lines(axes, found, "seconds", f"seconds per case ({where})")
    _name_steps(axes, found, "seconds")
    told = f"Dice against seconds of mask/CLIP; a point's number is its steps; {_n(found)}. {DICE_NOTE} {SECONDS_NOTE}"
    figure.tight_layout(rect=(0, put_caption(figure, f"{told} Cohort: {cohort}."), 1, 1))
    return figure


def _lines(axes: Axes, found: pd.DataFrame, x: str, label: str) -> None:
    """Colour and marker tell the mode, the dashes the ensemble, so that print without colour tells both."""
    ensembles = sorted(found["ensemble"].unique())
    dashes = ["-", "--", ":", "-."]
    palette = sns.color_palette("colorblind", len(MODES))
    for (mode, ensemble), own in found.groupby(["mode", "ensemble"], sort=False):
        number, line = MODES.index(mode), ensembles.index(ensemble)
        axes.plot(
            own[x],
            100 * own["dice"],
            dashes[line % len(dashes)],
            marker="osD"[number],
            color=palette[number],
            markersize=4.5,
            markerfacecolor=palette[number] if line else "white",
            linewidth=1.2,
            label=f"{mode}, {ensemble} sample{'s' if ensemble > 1 else ''}",
        )
    middle, span = 100 * found["dice"].agg(["min", "max"]).mean(), 100 * np.ptp(found["dice"])
    reach = max(0.6 * span, NARROWEST / 2)
    axes.set(xscale="log", ylim=(middle - reach, middle + reach))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label, fontsize=8)
    axes.set_ylabel("mean Dice, %", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=7, frameon=True, framealpha=0.8)
    sns.despine(ax=axes)


def _name_steps(axes: Axes, found: pd.DataFrame, x: str) -> None:
    for row in found.itertuples():
        place = getattr(row, x), 100 * row.dice
        axes.annotate(str(row.steps), place, (3, 3), textcoords="offset points", fontsize=6.5)


def _n(found: pd.DataFrame) -> str:
    return f"n = {found['n'].iloc[0]} targets in {found['cases'].iloc[0]} cases"
