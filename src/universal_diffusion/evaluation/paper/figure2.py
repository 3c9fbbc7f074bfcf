"""Step: Figure 2 - image, truth, the denoising trajectory of one sample, mean and variance of several.

    python -m universal_diffusion.evaluation.paper.figure2 --model DIR --cases F --volumes DIR... --settings JSON
        --study-seed N --threads N --cohort TEXT --output-png F --output-svg F

Which windows are shown, `examples` decides by rule.
"""

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.drawing import put_caption, save
from universal_diffusion.evaluation.figures.hanging import TRUTH, body_square, hung, outline, show
from universal_diffusion.evaluation.paper.examples import SAMPLES, Example, Prediction, examples, predict
from universal_diffusion.evaluation.scoring.cases import read_cases
from universal_diffusion.evaluation.tables import add_outputs
from universal_diffusion.method.bundle import load_bundle
from universal_diffusion.segmentation.sampling.runtime import start_torch
from universal_diffusion.settings import Segmentation, read_json
from universal_diffusion.systems import System, system_of

SYSTEM = "mask_clip"
PROBABILITY, VARIANCE = "Greys", "Blues"
EDGE = "#d55e00"  # of the truth, on probabilities and variance
WIDTH, LABELS = 7.0, 0.98  # inches: the figure's, and that of the column of labels
CAPTION = (
    "Figure 2: predictions of {label}. Of each target the {part} case with the median Dice (of n that hold it; 3-D, of "
    "the study's own prediction), in it the slice with most truth, cut to the body; the study's HU window. One sample: "
    "the noise (first channel of zT), then the decoded estimate of z0 after so many of {steps} steps, lastly the "
    "sample; mean and variance of {samples} samples. Outline: truth. The patient's right is on the left."
)


def draw(rows: Sequence[tuple[Example, Prediction]], system: System, steps: int, cohort: str) -> Figure:
    """The picture sheet: one row per example."""
    taken = rows[0][1].steps
    titles = ["image", "truth", "noise", *(f"step {step}" for step in taken[:-1]), "sample", "mean", "variance"]
    edge = (WIDTH - LABELS) / len(titles)
    height = edge * len(rows) + 1.62
    figure, axes = plt.subplots(len(rows), len(titles), figsize=(WIDTH, height), squeeze=False)
    most = max(predicted.variance.max() for _, predicted in rows)
    scales = {PROBABILITY: Normalize(0, 1), VARIANCE: Normalize(0, most if most > 0 else 1)}
    for places, (shown, predicted) in zip(axes, rows, strict=True):
        _draw_row(places, shown, predicted, scales)
    for place, title in zip(axes[0], titles, strict=True):
        place.set_title(title, fontsize=8, pad=3)
    parts = " or ".join(dict.fromkeys(shown.part for shown, _ in rows))
    told = CAPTION.format(label=system.label, part=parts, steps=steps, samples=SAMPLES)
    below = put_caption(figure, f"{told} Cohort: {cohort}.") + 0.42 / height
    figure.subplots_adjust(LABELS / WIDTH, below, 0.985, 1 - 0.22 / height, 0.04, 0.04)
    for first, (last, label) in {
        axes[-1][3]: (axes[-1][-2], "probability"),
        axes[-1][-1]: (axes[-1][-1], "variance"),
    }.items():
        _draw_scale(figure, first, last, label, scales)
    return figure


def _draw_row(places: Sequence[Axes], shown: Example, predicted: Prediction, scales: dict[str, Normalize]) -> None:
    cut = body_square(shown.image)
    truth = shown.truth[cut]
    for place in places[:2]:
        show(place, shown.image[cut], cmap="gray", vmin=0, vmax=1)
    fill = np.ma.masked_equal(hung(truth), False)
    places[1].imshow(fill, cmap="autumn", vmin=-1, vmax=1, alpha=0.45, interpolation="nearest")
    outline(places[1], truth, TRUTH)
    show(places[2], predicted.noise[cut], cmap="gray", vmin=-2.5, vmax=2.5)
    for place, probability in zip(places[3:-1], [*predicted.trajectory, predicted.mean], strict=True):
        show(place, probability[cut], cmap=PROBABILITY, norm=scales[PROBABILITY])
        outline(place, truth, EDGE, rim=False)
    show(places[-1], predicted.variance[cut], cmap=VARIANCE, norm=scales[VARIANCE])
    outline(places[-1], truth, EDGE, rim=False)
    case = "\n".join(textwrap.wrap(f"{shown.source} {shown.case}", 19))
    label = f"{case}\n{shown.part}, n = {shown.n}\nDice {100 * shown.dice:.1f} %"
    name = "\n".join(textwrap.wrap(shown.target.name, 16))
    for text, height, how in (
        (name, 1, {"va": "top", "fontsize": 7, "fontweight": "bold"}),
        (label, 0, {"va": "bottom", "fontsize": 6}),
    ):
        places[0].annotate(text, (0, height), (-4, 0), "axes fraction", "offset points", ha="right", **how)


def _draw_scale(figure: Figure, first: Axes, last: Axes, label: str, scales: dict[str, Normalize]) -> None:
    """A colour bar below the columns it explains."""
    colours = VARIANCE if label == "variance" else PROBABILITY
    left, right, height = first.get_position(), last.get_position(), figure.get_figheight()
    span = right.x1 - left.x0
    bar = figure.add_axes((left.x0 + 0.06 * span, left.y0 - 0.13 / height, 0.88 * span, 0.08 / height))
    figure.colorbar(ScalarMappable(scales[colours], colours), cax=bar, orientation="horizontal")
    top = scales[colours].vmax
    bar.set_xticks([0, top / 2, top] if colours == PROBABILITY else [0, top])
    bar.xaxis.set_major_formatter("{x:.2g}")
    bar.tick_params(labelsize=6.5, length=2, pad=1)
    bar.set_xlabel(label, fontsize=7, labelpad=1)


@one_line_errors
def main() -> None:
    """Draw Figure 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="directory of the trained mask/CLIP variant")
    parser.add_argument("--cases", type=Path, required=True, help="scores/cases.csv")
    parser.add_argument("--volumes", type=Path, nargs="+", required=True, help="directories of harmonised volumes")
    parser.add_argument("--settings", required=True, help="JSON of the section `segmentation`")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads; sums depend on it")
    add_outputs(parser, ("png", "svg"))
    arguments = parser.parse_args()
    sampling = read_json(Segmentation, arguments.settings, "configuration.segmentation")
    bundle, system = load_bundle(arguments.model, start_torch(arguments.threads)), system_of(SYSTEM)
    stored = sorted(path for folder in arguments.volumes for path in folder.glob("*.h5"))
    chosen = examples(read_cases(arguments.cases), system, stored, bundle.card["patch"])
    rows = [(shown, predict(bundle, shown, sampling, arguments.study_seed)) for shown in chosen]
    figure = draw(rows, system, sampling.steps, arguments.cohort)
    save(figure, arguments.output_png, arguments.output_svg)


if __name__ == "__main__":
    main()
