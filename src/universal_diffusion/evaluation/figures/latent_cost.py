"""Step: latent against pixel cost - operations over the sampling steps, and where they go at the study's own setting.

    python -m universal_diffusion.evaluation.figures.latent_cost --cost F --networks F --cohort TEXT
        --output-png F --output-svg F

Everything is counted, from `tables/cost.csv` and `tables/networks.csv`: one window, one target, the study's ensemble.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universal_diffusion.csv_tables import read_csv
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.evaluation.drawing import put_caption, save
from universal_diffusion.evaluation.tables import add_outputs

STEPS = np.array([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000])
PARTS = {
    "encode_image_gflop": "encode image",
    "image_features_gflop": "class-aware features",
    "steps_gflop": "denoiser steps",
    "decode_mask_gflop": "decode masks",
}
HATCHES = ("", "//", "..", "xx")
GUIDED = "guided-diffusion, pixel space"
CAPTION = (
    "Operations of one window and one target, two per multiplication and addition, counted, not timed; the same on "
    "every machine. Latent: encoding and decoding are paid for. Pixel: the same denoiser and guide on the window's own "
    "grid, without auto-encoders. guided-diffusion: the pixel-space U-Net of Wolleb et al. and MedSegDiff, on its grid."
)


def total(row: pd.Series, steps: np.ndarray) -> np.ndarray:
    """GFLOP of a window and target with so many sampling steps, from a row of cost.csv."""
    per_sample = steps * row["denoiser_step_gflop"] + row["decode_mask_gflop"]
    return row["encode_image_gflop"] + row["image_features_gflop"] + row["ensemble"] * per_sample


def parts(row: pd.Series) -> list[float]:
    """GFLOP by part of `PARTS` at the study's steps and ensemble."""
    samples = row["ensemble"]
    once = [row["encode_image_gflop"], row["image_features_gflop"]]
    return [*once, samples * row["steps"] * row["denoiser_step_gflop"], samples * row["decode_mask_gflop"]]


def draw(cost: pd.DataFrame, networks: pd.DataFrame, cohort: str) -> Figure:
    """Left: operations over steps in both spaces; right: the shares of their parts at the study's setting."""
    with sns.axes_style("whitegrid"):
        figure, (curves, bars) = plt.subplots(1, 2, figsize=(7.0, 4.0), width_ratios=(1.1, 1))
    _draw_curves(curves, cost, networks)
    _draw_bars(bars, cost)
    told = f"{CAPTION} Networks of: {cohort}; n = 1 window (counts do not depend on the image)."
    figure.tight_layout(rect=(0, put_caption(figure, told), 1, 1), w_pad=2)
    return figure


def _draw_curves(axes: Axes, cost: pd.DataFrame, networks: pd.DataFrame) -> None:
    colours = sns.color_palette("colorblind", 3)
    for (_, row), colour, style in zip(cost.iterrows(), colours[:2], ("o-", "s--"), strict=True):
        label = f"{row['space']}, {row['grid']} × {row['grid']}"
        axes.plot(STEPS, total(row, STEPS), style, color=colour, markersize=4, label=label)
        axes.plot(row["steps"], total(row, row["steps"]), "*", color=colour, mec="black", mew=0.6, markersize=11)
    guided, samples = networks.set_index("network").loc[GUIDED], cost["ensemble"].iloc[0]
    label = f"guided-diffusion, {guided['grid']} × {guided['grid']}"
    axes.plot(STEPS, samples * STEPS * guided["gflop"], "D:", color=colours[2], markersize=4, label=label)
    axes.set(xscale="log", yscale="log", xlabel="sampling steps", ylabel=f"GFLOP, {samples} samples")
    axes.set_title("stars: this study's steps", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.set_ylim(top=axes.get_ylim()[1] * 100)
    axes.xaxis.label.set_size(8)
    axes.yaxis.label.set_size(8)
    axes.legend(fontsize=7, loc="upper left")


def _draw_bars(axes: Axes, cost: pd.DataFrame) -> None:
    palette, start = sns.color_palette("colorblind")[4:8], np.zeros(len(cost))
    counts = np.array([parts(row) for _, row in cost.iterrows()])
    totals = counts.sum(axis=1)
    shares = 100 * counts / totals[:, None]
    for number, name in enumerate(PARTS.values()):
        axes.bar(
            cost["space"], shares[:, number], bottom=start, width=0.55, color=palette[number], hatch=HATCHES[number],
            edgecolor="black", linewidth=0.6, label=name,
        )  # fmt: skip
        start = start + shares[:, number]
    for place, count in enumerate(totals):
        axes.text(place, 101, f"{count:.3g} GFLOP", ha="center", va="bottom", fontsize=8)
    steps, ensemble = cost[["steps", "ensemble"]].iloc[0]
    axes.set(ylim=(0, 108), yticks=range(0, 101, 25))
    axes.set_ylabel("share of the operations, %", fontsize=8)
    axes.set_title(f"{steps} steps, {ensemble} samples: pixel / latent = {totals[1] / totals[0]:.1f}", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(False, axis="x")
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False)


def read_cost(path: Path) -> pd.DataFrame:
    """The rows "latent" and "pixel" of cost.csv. Raises InputError for a file without them."""
    cost = read_csv(path)
    if list(cost.get("space", [])) != ["latent", "pixel"]:
        raise InputError(path, "lacks the rows latent and pixel", "run rule `cost` again")
    return cost


@one_line_errors
def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cost", type=Path, required=True, help="tables/cost.csv")
    parser.add_argument("--networks", type=Path, required=True, help="tables/networks.csv")
    add_outputs(parser, ("png", "svg"))
    arguments = parser.parse_args()
    figure = draw(read_cost(arguments.cost), read_csv(arguments.networks), arguments.cohort)
    save(figure, arguments.output_png, arguments.output_svg)


if __name__ == "__main__":
    main()
