"""Step: what an ensemble's doubt is good for - Dice of what is kept when the most uncertain is set aside.

python -m universal_diffusion.evaluation.uncertainty.coverage --cases F --reliability F... --coverage F...
    --splits F --settings JSON --study-seed N --cohort TEXT --output-png F --output-svg F
"""

import argparse
from collections.abc import Sequence

import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.drawing import put_caption, save
from universal_diffusion.evaluation.scoring.calibration import COVERAGES, MARGIN_MM
from universal_diffusion.evaluation.statistics import mean_of_column_means, patient_table
from universal_diffusion.evaluation.tables import add_outputs
from universal_diffusion.evaluation.uncertainty.measures import (
    complete,
    doubt_and_dice,
    kept_dice,
    kept_of_all,
    rank_correlation,
    rank_correlation_within,
)
from universal_diffusion.evaluation.uncertainty.rows import Judged, add_inputs, counted, read_inputs
from universal_diffusion.targets import target

SHARES = np.linspace(1.0, 0.1, 19)
LINES = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"))  # so that variants differ without colour
KINDS = {"organ": ("o", "none"), "tumour": ("x", "full")}
CAPTION = (
    "Dice on the CT's own grid of what is kept when the most uncertain is set aside. Voxels: of those within "
    f"{MARGIN_MM:g} mm of the target's box, the ones of largest variance first; mean of target means. Cases: of each "
    "target's masks, those of largest doubt first; mean of target means; a cut mask counts for its part. Masks: of all "
    "targets together; to doubt small targets is enough to raise it. A flat line: the doubt says nothing. Grey: the "
    "best order there is, for the variant with the highest Dice. Below: every mask; doubt is its mean entropy where "
    "its probability is at least 0.05; r: rank correlation over all masks, and within targets; near -1 the doubt warns."
)


def draw(judged: Sequence[Judged], sampling: str, cohort: str) -> Figure:
    """Three panels of curves, a line per variant, above a scatter for each variant."""
    height = 6.8
    figure = plt.figure(figsize=(7.0, height))
    counts = "; ".join(f"{one.system.label}: {counted(one)}" for one in judged)
    below = put_caption(figure, f"{CAPTION} Each: {sampling}. {counts}. Cohort: {cohort}.")
    with sns.axes_style("whitegrid"):
        frame = {"left": 0.075, "right": 0.985}
        upper = figure.add_gridspec(1, 3, top=1 - 0.35 / height, bottom=below + 2.75 / height, wspace=0.28, **frame)
        lower = figure.add_gridspec(1, 4, top=below + 2.05 / height, bottom=below + 0.45 / height, wspace=0.16, **frame)
        _draw_curves([figure.add_subplot(place) for place in upper], judged)
        _draw_masks([figure.add_subplot(place) for place in lower], judged)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="upper center", ncols=4, fontsize=8, frameon=False)
    return figure


def voxel_curve(judged: Judged) -> np.ndarray:
    """Mean of target means of Dice at each of `COVERAGES`, of the masks that have one at all of them."""
    rows = complete(judged.coverage)
    chosen = [rows[rows["coverage"] == share] for share in COVERAGES]
    return np.array([mean_of_column_means(patient_table(own, "dice", pooled=True)) for own in chosen])


def _draw_curves(panels: Sequence[Axes], judged: Sequence[Judged]) -> None:
    voxels, cases, masks = panels
    values = [doubt_and_dice(one.masks).to_numpy() for one in judged]
    best = max(values, key=lambda own: np.nan_to_num(kept_dice(own, 1.0), nan=-1.0))
    for axes, statistic in ((cases, kept_dice), (masks, kept_of_all)):
        bound = np.array([statistic(best, share, by_dice=True) for share in SHARES])
        axes.plot(100 * SHARES, 100 * bound, color="0.6", linewidth=0.8)
    palette = sns.color_palette("colorblind")
    for one, own, colour, (line, marker) in zip(judged, values, palette, LINES, strict=False):
        style = {"color": colour, "linestyle": line, "linewidth": 1.3, "label": one.system.label}
        voxels.plot(100 * np.array(COVERAGES), 100 * voxel_curve(one), marker=marker, markersize=3.5, **style)
        for axes, statistic in ((cases, kept_dice), (masks, kept_of_all)):
            axes.plot(100 * SHARES, [100 * statistic(own, share) for share in SHARES], **style)
    for axes, what in zip(panels, ("voxels", "each target's cases", "all masks"), strict=True):
        axes.set_xlabel(f"{what} kept, %", fontsize=8)
        axes.invert_xaxis()
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7)
        sns.despine(ax=axes)
    voxels.set_ylabel("Dice, %", fontsize=8)


def _draw_masks(panels: Sequence[Axes], judged: Sequence[Judged]) -> None:
    for axes, one, colour in zip(panels, judged, sns.color_palette("colorblind"), strict=False):
        scored = one.masks[one.masks["dice"].notna()]
        kinds = scored["target"].map(lambda name: target(name).kind)
        for kind, (marker, fill) in KINDS.items():
            own = scored[kinds == kind]
            style = {"linestyle": "", "marker": marker, "fillstyle": fill, "color": colour, "markersize": 3.5}
            axes.plot(own["uncertainty"], 100 * own["dice"], **style)
        values = doubt_and_dice(one.masks).to_numpy()
        told = ", ".join(f"{statistic(values):.2f}" for statistic in (rank_correlation, rank_correlation_within))
        axes.set_title(f"{one.system.label}: r = {told}", fontsize=7.5)
        axes.set(xlim=(-0.03, 1.03), ylim=(-3, 103))
        axes.set_xlabel("doubt, bits", fontsize=8)
        axes.tick_params(labelsize=7, labelleft=axes is panels[0])
        sns.despine(ax=axes)
    panels[0].set_ylabel("Dice, %", fontsize=8)
    marks = [
        Line2D([], [], linestyle="", marker=marker, fillstyle=fill, color="black", markersize=3.5, label=kind)
        for kind, (marker, fill) in KINDS.items()
    ]
    panels[0].legend(handles=marks, fontsize=6.5, loc="upper left", handletextpad=0.1)


@one_line_errors
def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_inputs(parser)
    add_outputs(parser, ("png", "svg"))
    arguments = parser.parse_args()
    judged, sampling = read_inputs(arguments)
    save(draw(judged, sampling, arguments.cohort), arguments.output_png, arguments.output_svg)


if __name__ == "__main__":
    main()
