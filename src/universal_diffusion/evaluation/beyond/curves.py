"""Step: how the networks learnt - loss, validation and the share of the time spent waiting for data, from their logs.

    python -m universal_diffusion.evaluation.beyond.curves --logs models/*/log.csv --cohort TEXT
        --output-png F --output-svg F

A training belongs to the row of its kind in `KINDS`. A curve is cut into stretches of equal length, so that a figure
of a million steps is no larger than one of a thousand: the line is their mean, the band behind it their range.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.drawing import put_caption, save
from universal_diffusion.evaluation.logs import read_log, waiting_share
from universal_diffusion.evaluation.tables import add_outputs
from universal_diffusion.systems import SYSTEMS, VARIANTS

KINDS = {
    "Mask auto-encoder": ("mask_autoencoder", "coarser_mask_autoencoder"),
    "Image auto-encoder": ("image_autoencoder",),
    "Denoiser": tuple(system.key for system in VARIANTS),
    "SegResNet": ("segresnet",),
}
LABELS = {system.key: system.label for system in SYSTEMS}
VALIDATIONS = {"validation_dice": ("Dice, %", 100.0), "validation_psnr_db": ("PSNR, dB", 1.0)}
WIDTH, ROW = 7.0, 1.75  # inches; the height of a row
SMALL = 7  # points
TIGHT = {"borderaxespad": 0, "labelspacing": 0.25, "handlelength": 1}  # of a legend
STRETCHES, WAITING_STRETCHES = 100, 25
CAPTION = (
    "Training curves. Loss: mean (line) and range (band) of every hundredth of the training. Validation: on patches of "
    "the validation cases, with averaged weights; that of a denoiser is the Dice of samples made in a few "
    "deterministic steps. Waiting for data: share of a step's time in which the network stood still; beside each name "
    "the share of the whole training. A training has one colour in all three."
)


def stretches(log: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many rows: step (the middle one), loss, its low and high, and the share of the time spent waiting."""
    of_step = np.arange(len(log)) // -(-len(log) // most)
    found = log.groupby(of_step).agg(
        step=("step", "mean"),
        loss=("loss", "mean"),
        low=("loss", "min"),
        high=("loss", "max"),
        seconds=("seconds", "sum"),
        wait_seconds=("wait_seconds", "sum"),
    )
    return found.assign(waiting=found["wait_seconds"] / found["seconds"])


def draw(logs: Mapping[str, pd.DataFrame], cohort: str) -> Figure:
    """The figure: a row per kind of training, a column each for loss, validation and waiting."""
    kinds = {kind: [name for name in names if name in logs] for kind, names in KINDS.items()}
    kinds = {kind: names for kind, names in kinds.items() if names}
    size = WIDTH, ROW * len(kinds) + 1
    with sns.axes_style("whitegrid"):
        figure, axes = plt.subplots(len(kinds), 3, figsize=size, sharex="row", squeeze=False)
    for row, (kind, names) in zip(axes, kinds.items(), strict=True):
        row[0].set_title(kind, fontsize=8, loc="left", fontweight="bold")
        for name, colour in zip(names, sns.color_palette("colorblind"), strict=False):
            _draw_training(row, logs[name], _label(name), colour)
        _finish(*row)
    for panel in axes[-1]:
        panel.set_xlabel("step", fontsize=SMALL)
    figure.tight_layout(rect=(0, put_caption(figure, f"{CAPTION} Cohort: {cohort}."), 1, 1))
    return figure


def _label(name: str) -> str:
    return LABELS.get(name, name.replace("autoencoder", "auto-encoder").replace("_", " "))


def _draw_training(row: Sequence[Axes], log: pd.DataFrame, label: str, colour) -> None:
    losses, validation, waiting = row
    curve = stretches(log, STRETCHES)
    losses.fill_between(curve["step"], curve["low"], curve["high"], color=colour, alpha=0.2, linewidth=0)
    losses.plot(curve["step"], curve["loss"], color=colour, label=label, linewidth=1.3)
    for name, (unit, factor) in VALIDATIONS.items():
        if name in log:
            measured = log[log[name].notna()]
            validation.plot(measured["step"], factor * measured[name], "o-", color=colour, markersize=3)
            validation.set_ylabel(f"validation: {unit}")
    curve = stretches(log, WAITING_STRETCHES)
    waiting.plot(
        curve["step"],
        100 * curve["waiting"],
        color=colour,
        label=f"{label}: {100 * waiting_share(log):.1f} %",
        linewidth=1,
    )


def _finish(losses: Axes, validation: Axes, waiting: Axes) -> None:
    """Scales that the lines decide: a loss with a continuous likelihood in it can be negative, as a band may show."""
    means = np.concatenate([line.get_ydata() for line in losses.lines])
    low, high = means[means > 0].min() / 2, 2 * means.max()
    losses.set(yscale="log", ylim=(low, high), ylabel="loss")
    losses.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    losses.yaxis.set_major_formatter("{x:g}")
    losses.yaxis.set_minor_formatter(NullFormatter())
    waiting.set(ylim=(0, 1.8 * waiting.get_ylim()[1]), ylabel="waiting for data, %")
    waiting.legend(fontsize=SMALL - 0.5, frameon=False, loc="upper right", **TIGHT)
    for axes in (losses, validation, waiting):
        axes.yaxis.label.set_size(SMALL)
        axes.tick_params(labelsize=SMALL, pad=2)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        sns.despine(ax=axes)


@one_line_errors
def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=Path, nargs="+", required=True, help="models/<model>/log.csv")
    add_outputs(parser, ("png", "svg"))
    arguments = parser.parse_args()
    logs = {path.parent.name: read_log(path) for path in arguments.logs}
    save(draw(logs, arguments.cohort), arguments.output_png, arguments.output_svg)


if __name__ == "__main__":
    main()
