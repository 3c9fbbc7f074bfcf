"""Table and figure of the sampling sweep: Dice against seconds."""

import textwrap

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from universal_diffusion.evaluation import tables
from universal_diffusion.segmentation.presets import GATE

MODES = ("no gate", "gate", "gate, warm start")
KEYS = ["mode", "ensemble", "steps"]
NOTE = (
    "Dice: ensemble mean at 0.5 on the harmonised grid, mean over the annotated targets that the cases hold. Seconds: "
    "from the harmonised volume in memory to its masks, mean over the cases, once each; reading, writing and the way "
    "back to the CT's grid are not in them. "
    f"Gate: every {GATE.every} slices, probability {GATE.threshold:g}, {GATE.margin_mm:g} mm. Warm start: the gate's "
    "estimates noised to 0.3 T, and the steps spread over what is left."
)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per setting: cases, n (targets in them), mean Dice, and per case seconds and network calls.

    A network call is a denoiser step of one sample in one window; the gate's are counted.
    """
    found = []
    for key, own in rows.groupby(KEYS, sort=False):
        cases = own.drop_duplicates(["source", "case"])
        means = {"dice": own["dice"].mean(), "seconds": cases["seconds"].mean(), "calls": cases["calls"].mean()}
        found.append(dict(zip(KEYS, key, strict=True)) | {"cases": len(cases), "n": len(own)} | means)
    return pd.DataFrame(found)


def printed_table(found: pd.DataFrame, where: str, cohort: str) -> tables.Printed:
    """A row per mode and ensemble size, a column per number of steps: Dice and seconds."""
    texts = []
    for (mode, ensemble), own in found.groupby(["mode", "ensemble"], sort=False):
        cells = {
            f"{row.steps} step{'s' if row.steps > 1 else ''}": f"{100 * row.dice:.1f} ({row.seconds:.2f} s)"
            for row in own.itertuples()
        }
        texts.append({"": mode, "Ensemble": str(ensemble)} | cells)
    frame = pd.DataFrame(texts).fillna(tables.NOTHING)
    caption = f"Mean Dice, % (seconds per case) of mask/CLIP; {_n(found)}; {where}. Measured here: {cohort}."
    return tables.Printed(frame, tables.unmarked(frame), caption, (NOTE,), "tab:sampling")


def draw(found: pd.DataFrame, where: str, cohort: str) -> Figure:
    """Dice against seconds, a line per mode and ensemble size, its points named by their steps."""
    with sns.axes_style("whitegrid"):
        figure, axes = plt.subplots(figsize=(7.2, 6.2))
    shown = found.assign(ensemble=found["ensemble"].astype(str), dice=100 * found["dice"])
    sns.lineplot(
        shown,
        x="seconds",
        y="dice",
        hue="mode",
        style="ensemble",
        hue_order=list(MODES),
        palette=sns.color_palette("colorblind", len(MODES)),
        markers=True,
        sort=False,
        estimator=None,
        ax=axes,
    )
    for row in shown.itertuples():
        axes.annotate(str(row.steps), (row.seconds, row.dice), (3, 4), textcoords="offset points", fontsize=7)
    axes.set(xscale="log", xlabel=f"seconds per case ({where})", ylabel="mean Dice, %")
    axes.legend(fontsize=8, frameon=False)
    sns.despine(ax=axes)
    told = f"Dice against seconds of mask/CLIP; a point's number is its steps; {_n(found)}. {NOTE} Cohort: {cohort}."
    caption = textwrap.fill(told, 125)
    figure.text(0.01, 0.01, caption, fontsize=8, va="bottom")
    figure.tight_layout(rect=(0, (0.15 + 0.15 * len(caption.splitlines())) / 6.2, 1, 1))
    return figure


def _n(found: pd.DataFrame) -> str:
    return f"n = {found['n'].iloc[0]} targets in {found['cases'].iloc[0]} cases"
