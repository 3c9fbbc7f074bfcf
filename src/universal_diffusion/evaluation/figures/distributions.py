"""Step: the distribution behind every mean - each case's Dice as a point, per target and system.

python -m universal_diffusion.evaluation.figures.distributions --cases F --cohort TEXT --output-png F --output-svg F
"""

import argparse
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.drawing import put_caption, save
from universal_diffusion.evaluation.scoring.cases import of_system, read_cases
from universal_diffusion.evaluation.tables import add_outputs
from universal_diffusion.systems import SYSTEMS, System
from universal_diffusion.targets import all_targets

KINDS = {
    "test case": ("o", "full"),
    "validation case": ("o", "none"),
    "false positive": ("x", "full"),
}
CAPTION = (
    "Dice on the CT's own grid: every case with a defined Dice is a point; bar: mean of a target's points. A cross at "
    "0 is a false positive, a mask where an annotated target is absent. Beside each target: n test + n validation "
    "cases that hold it; both masks empty: no Dice, no point."
)


def points(cases: pd.DataFrame) -> pd.DataFrame:
    """The rows with a defined Dice, with `kind` of `KINDS` and `place`, the target's line in the figure."""
    shown = cases[cases["dice"].notna()].copy()
    shown["kind"] = shown["part"] + " case"
    shown.loc[shown["outcome"] == "false_positive", "kind"] = "false positive"
    names = [known.name for known in all_targets() if known.name in set(shown["target"])]
    return shown.assign(place=shown["target"].map({name: place for place, name in enumerate(names)}))


def held(cases: pd.DataFrame) -> pd.DataFrame:
    """By target the numbers of `test` and `validation` cases that hold it."""
    distinct = cases[cases["truth_ml"] > 0].drop_duplicates(["source", "case", "target"])
    counts = distinct.groupby(["target", "part"]).size().unstack(fill_value=0)
    return counts.reindex(columns=["test", "validation"], fill_value=0)


def draw(cases: pd.DataFrame, cohort: str) -> Figure:
    """A panel per system, a line per target."""
    shown, counts = points(cases), held(cases)
    names = shown.drop_duplicates("target").sort_values("place")["target"].tolist()
    present = [system for system in SYSTEMS if len(of_system(shown, system))]
    height = 2.0 + 0.2 * len(names)
    with sns.axes_style("whitegrid"):
        figure, panels = plt.subplots(1, len(present), figsize=(7.0, height), sharey=True, squeeze=False)
    palette = sns.color_palette("colorblind", len(SYSTEMS))
    for axes, system in zip(panels[0], present, strict=True):
        _draw_system(axes, of_system(shown, system), system, palette[SYSTEMS.index(system)])
    told = counts.reindex(names, fill_value=0)
    labels = [f"{name} ({row.test} + {row.validation})" for name, row in zip(names, told.itertuples(), strict=True)]
    panels[0][0].set_yticks(range(len(names)), labels, fontsize=7)
    panels[0][0].set_ylim(len(names) - 0.4, -0.6)
    below = put_caption(figure, f"{CAPTION} Cohort: {cohort}.")
    marks = [
        Line2D([], [], linestyle="", marker=marker, fillstyle=fill, color="black", label=kind, markersize=4.5)
        for kind, (marker, fill) in KINDS.items()
    ]
    figure.legend(handles=marks, loc="upper center", ncols=3, fontsize=7.5, frameon=False)
    figure.tight_layout(rect=(0, below, 1, 1 - 0.22 / height), w_pad=0.4)
    return figure


def _draw_system(axes: Axes, own: pd.DataFrame, system: System, colour: tuple) -> None:
    for kind, (marker, fill) in KINDS.items():
        of_kind = own[own["kind"] == kind]
        style = {"linestyle": "", "marker": marker, "fillstyle": fill, "color": colour, "markersize": 4, "alpha": 0.85}
        axes.plot(100 * of_kind["dice"], of_kind["place"], **style)
    means = 100 * own.groupby("place")["dice"].mean()
    axes.vlines(means, means.index - 0.38, means.index + 0.38, color="black", linewidth=1.1, zorder=1.5)
    axes.set(xlim=(-6, 106), xticks=(0, 50, 100))
    axes.set_title(system.label, fontsize=8)
    axes.set_xlabel("Dice, %", fontsize=7.5)
    axes.tick_params(labelsize=7)
    sns.despine(ax=axes)


@one_line_errors
def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, required=True, help="scores/cases.csv")
    add_outputs(parser, ("png", "svg"))
    arguments = parser.parse_args()
    save(draw(read_cases(arguments.cases), arguments.cohort), arguments.output_png, arguments.output_svg)


if __name__ == "__main__":
    main()
