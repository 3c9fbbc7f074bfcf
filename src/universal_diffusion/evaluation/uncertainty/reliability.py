"""Step: reliability diagrams - how often a voxel is target, against the probability that the ensemble gave it.

python -m universal_diffusion.evaluation.uncertainty.reliability --cases F --reliability F... --coverage F...
    --splits F --settings JSON --study-seed N --cohort TEXT --output-png F --output-svg F
"""

import argparse
from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.drawing import put_caption, save
from universal_diffusion.evaluation.scoring.calibration import BINS, MARGIN_MM, calibration_error
from universal_diffusion.evaluation.statistics import bootstrap
from universal_diffusion.evaluation.tables import add_outputs
from universal_diffusion.evaluation.uncertainty.measures import pooled_reliability, reliability_sums
from universal_diffusion.evaluation.uncertainty.rows import Judged, add_inputs, counted, read_inputs
from universal_diffusion.randomness import numpy_generator

PARTS = {"validation": ("o", "-", 0.0), "test": ("s", "--", 0.012)}  # marker, line, shift to tell intervals apart
CAPTION = (
    "Reliability: the voxels whose mean probability falls into one of ten equal bins, and the share of them that is "
    "target; perfect on the grey line, over-confident where a line is flatter. Bars: 95 % bootstrap interval over "
    "patients (test drawn a little to the right). Below: how many voxels. Asked are those within "
    f"{MARGIN_MM:g} mm of the target's box, on the CT's own grid, all targets together: large targets weigh most. In "
    "brackets the expected calibration error."
)


def curve(sums: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """Per bin with voxels: their number, mean probability, share of target, and its interval over patients.

    Args:
        sums: of `measures.reliability_sums`.
    """
    rows = []
    for number, (voxels, probability, truth) in enumerate(pooled_reliability(sums)):
        if voxels:
            own = sums.iloc[:, 3 * number : 3 * number + 3]
            share = bootstrap(own, _share_of_target, generator)
            rows.append((number, voxels, probability / voxels, truth / voxels, share.low, share.high))
    return pd.DataFrame(rows, columns=["bin", "voxels", "probability", "frequency", "low", "high"])


def _share_of_target(values: np.ndarray) -> float:
    voxels, _, truth = values.sum(axis=0)
    return truth / voxels if voxels else float("nan")


def draw(judged: Sequence[Judged], sampling: str, study_seed: int, cohort: str) -> Figure:
    """A diagram for each variant, and the numbers of voxels below it."""
    figure = plt.figure(figsize=(7.0, 8.6))
    below = put_caption(figure, _caption(judged, sampling, cohort))
    with sns.axes_style("whitegrid"):
        columns = figure.add_gridspec(5, 2, height_ratios=(3, 1, 0.45, 3, 1), hspace=0.12, wspace=0.22)
        columns.update(left=0.09, right=0.98, top=0.96, bottom=below + 0.055)
        for place, one in enumerate(judged):
            row, column = 3 * (place // 2), place % 2
            diagram = figure.add_subplot(columns[row, column])
            counts = figure.add_subplot(columns[row + 1, column], sharex=diagram)
            _draw_variant(diagram, counts, one, study_seed)
            diagram.set_ylabel("share that is target" if column == 0 else "", fontsize=8)
            counts.set_ylabel("voxels" if column == 0 else "", fontsize=8)
    return figure


def _caption(judged: Sequence[Judged], sampling: str, cohort: str) -> str:
    counts = "; ".join(f"{one.system.label}: {counted(one)}" for one in judged)
    return f"{CAPTION} Each: {sampling}. Masks with a Dice: {counts}. Cohort: {cohort}."


def _draw_variant(diagram: Axes, counts: Axes, judged: Judged, study_seed: int) -> None:
    diagram.plot((0, 1), (0, 1), color="0.5", linewidth=1)
    parts = [part for part in PARTS if (judged.masks["part"] == part).any()]
    for colour, part in zip(sns.color_palette("colorblind"), parts, strict=False):
        sums = reliability_sums(judged.only("part", part).reliability)
        _draw_part(diagram, counts, sums, part, colour, numpy_generator(study_seed, "bootstrap", "reliability", part))
    diagram.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    diagram.set_title(judged.system.label, fontsize=9)
    diagram.legend(fontsize=7, frameon=True, loc="upper left")
    diagram.tick_params(labelsize=7, labelbottom=False)
    counts.set(yscale="log", ylim=_decades(judged), xticks=np.linspace(0, 1, 6))
    counts.yaxis.set_major_locator(LogLocator(numticks=9))
    counts.yaxis.set_minor_locator(NullLocator())
    counts.set_xlabel("mean probability", fontsize=8)
    counts.tick_params(labelsize=7)
    for axes in (diagram, counts):
        sns.despine(ax=axes)


def _decades(judged: Judged) -> tuple[float, float]:
    """Powers of ten around the voxels of the bins that hold any, of both parts."""
    voxels = judged.reliability.groupby(["part", "bin"])["voxels"].sum()
    exponents = np.log10(voxels[voxels > 0])
    return 10 ** np.floor(exponents.min() - 0.01), 10 ** np.ceil(exponents.max() + 0.01)


def _draw_part(
    diagram: Axes, counts: Axes, sums: pd.DataFrame, part: str, colour: tuple, generator: np.random.Generator
) -> None:
    marker, line, shift = PARTS[part]
    found = curve(sums, generator)
    error = 100 * calibration_error(pooled_reliability(sums))
    label = f"{part}, {len(sums)} patient{'s' if len(sums) > 1 else ''} ({error:.1f} %)"
    place = found["probability"] + shift
    diagram.vlines(place, found["low"], found["high"], color=colour, linewidth=1.2)
    diagram.plot(place, found["frequency"], marker=marker, linestyle=line, color=colour, markersize=4, label=label)
    counts.plot((found["bin"] + 0.5) / BINS, found["voxels"], marker=marker, linestyle=line, color=colour, markersize=3)


@one_line_errors
def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_inputs(parser)
    add_outputs(parser, ("png", "svg"))
    arguments = parser.parse_args()
    judged, sampling = read_inputs(arguments)
    figure = draw(judged, sampling, arguments.study_seed, arguments.cohort)
    save(figure, arguments.output_png, arguments.output_svg)


if __name__ == "__main__":
    main()
