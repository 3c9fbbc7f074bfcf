"""Step: what limits each target - the ceiling of the mask auto-encoder, or the denoiser that stays below it.

    python -m universal_diffusion.evaluation.figures.ceilings --ceilings F... --cases F --cohort TEXT
        --output-png F --output-svg F

Ceiling and measured Dice are of the same validation cases, those that hold the target, on the harmonised grid. One
variant is drawn, the one with the highest mean of target means, so that no target picks its own best by chance.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.beyond.ceiling import read_ceiling_cases
from universal_diffusion.evaluation.drawing import put_caption, save
from universal_diffusion.evaluation.scoring.cases import read_cases
from universal_diffusion.evaluation.tables import add_outputs
from universal_diffusion.systems import VARIANTS
from universal_diffusion.targets import all_targets

CAPTION = (
    "Mean Dice over the validation cases that hold the target, n of them, on the harmonised grid. Solid stretch: lost "
    "by the denoiser, below what decoding the encoded truth gives; dotted stretch: lost by the mask auto-encoder (f = "
    "{finest}), whatever the denoiser does. The longer one limits. f = {coarsest} is trained for comparison only."
)


@dataclass(frozen=True)
class Limits:
    """`rows`: by target the mean Dice of each factor (columns of ints), `measured`, and n; `label` of the variant."""

    rows: pd.DataFrame
    factors: tuple[int, ...]
    label: str


def limits(ceilings: pd.DataFrame, cases: pd.DataFrame) -> Limits:
    """Means per target of all factors and of the best variant, over the same cases that hold the target."""
    key = ["source", "case", "target"]
    held = ceilings.pivot(index=key, columns="factor", values="dice")
    scored = cases[cases["variant"] != ""].pivot(index=key, columns="variant", values="dice_harmonised")
    joined = held.join(scored, how="inner")
    means = joined.groupby("target").mean()
    variants = [system for system in VARIANTS if system.key in means]
    best = max(variants, key=lambda system: means[system.key].mean())
    factors = tuple(sorted(int(factor) for factor in held.columns))
    rows = means[[*factors]].assign(measured=means[best.key], n=joined.groupby("target").size())
    order = [known.name for known in all_targets() if known.name in rows.index]
    return Limits(rows.loc[order], factors, best.label)


def draw(found: Limits, cohort: str) -> Figure:
    """A line per target from 0 to 100 %: measured, ceiling at f = 4 and at f = 8."""
    rows, (finest, *coarser) = 100 * found.rows.drop(columns="n"), found.factors
    height = 1.9 + 0.2 * len(rows)
    colours, places = sns.color_palette("colorblind"), np.arange(len(rows))
    with sns.axes_style("whitegrid"):
        figure, axes = plt.subplots(figsize=(7.0, height))
    axes.hlines(places, rows["measured"], rows[finest], color=colours[3], linewidth=2, label="lost by the denoiser")
    axes.hlines(
        places, rows[finest], 100, color="black", linewidth=1.2, linestyle=":", label="lost by the auto-encoder"
    )
    axes.plot(rows["measured"], places, "D", color=colours[3], markersize=5, label=f"measured: {found.label}")
    axes.plot(rows[finest], places, "o", color=colours[0], markersize=5.5, label=f"ceiling, f = {finest}")
    for factor in coarser:
        style = {"mfc": "white", "mec": colours[0], "mew": 1.2, "markersize": 5}
        axes.plot(rows[factor], places, "s", **style, label=f"ceiling, f = {factor}")
    axes.set_yticks(places, [f"{name} (n = {n})" for name, n in found.rows["n"].items()], fontsize=7.5)
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(-2, 102))
    axes.set_xlabel("Dice, %", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(False, axis="y")
    sns.despine(ax=axes, left=True)
    figure.legend(loc="upper center", ncols=3, fontsize=7.5, frameon=False)
    told = CAPTION.format(finest=finest, coarsest=", ".join(map(str, coarser)))
    told = f"{told} Best variant: highest mean of target means. Cohort: {cohort}."
    figure.tight_layout(rect=(0, put_caption(figure, told), 1, 1 - 0.42 / height))
    return figure


@one_line_errors
def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ceilings", type=Path, nargs="+", required=True, help="ceiling.csv of each mask auto-encoder")
    parser.add_argument("--cases", type=Path, required=True, help="scores/cases.csv")
    add_outputs(parser, ("png", "svg"))
    arguments = parser.parse_args()
    ceilings = pd.concat([read_ceiling_cases(path) for path in arguments.ceilings], ignore_index=True)
    found = limits(ceilings, read_cases(arguments.cases))
    save(draw(found, arguments.cohort), arguments.output_png, arguments.output_svg)


if __name__ == "__main__":
    main()
