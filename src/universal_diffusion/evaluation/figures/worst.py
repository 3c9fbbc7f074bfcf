"""Step: the worst cases of mask/CLIP, chosen by rule: CT, truth and prediction where they differ most.

    python -m universal_diffusion.evaluation.figures.worst --cases F --predictions DIR... --volumes DIR...
        --cohort TEXT --output-png F --output-svg F

Of every target the test or validation case with the lowest Dice among those that hold it, of equal ones the one with
the largest truth; of these the `SHOWN` lowest. The slice is the axial one of the harmonised grid in which truth and
prediction differ in most voxels.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.evaluation.drawing import put_caption, save
from universal_diffusion.evaluation.figures.hanging import PREDICTION, TRUTH, body_square, outline, show
from universal_diffusion.evaluation.scoring.cases import of_system, read_cases
from universal_diffusion.evaluation.scoring.predictions import predictions_of
from universal_diffusion.evaluation.tables import add_outputs
from universal_diffusion.preparation.label_resampling import resample_mask
from universal_diffusion.systems import System, system_of
from universal_diffusion.targets import mask
from universal_diffusion.volumes import VolumeFile

SYSTEM = "mask_clip"
SHOWN, COLUMNS = 12, 4
CAPTION = (
    "The worst cases of {label}: of each target the case with the lowest Dice among the n that hold it (of equal ones "
    "that with the largest truth), of these the {shown} lowest. Axial slice in which truth and prediction differ most, "
    "the patient's right on the left, the study's HU window. Dice and HD95 (– where nothing was predicted) on the CT's "
    "own grid, volumes in ml."
)


@dataclass(frozen=True)
class Worst:
    """A row of cases.csv with the plane that shows it: `image`, `truth` and `predicted` are (X, Y); n of its target."""

    row: pd.Series
    n: int
    image: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray


def worst_rows(cases: pd.DataFrame, system: System) -> pd.DataFrame:
    """The rows to show, worst first, with n, the scored cases that hold the target."""
    held = of_system(cases, system).query("truth_ml > 0")
    held = held.assign(n=held.groupby("target")["dice"].transform("size"))
    order = held.sort_values(
        ["dice", "truth_ml", "target", "source", "case"], ascending=[True, False, True, True, True], kind="stable"
    )
    return order.drop_duplicates("target").head(SHOWN)


def widest_difference(truth: np.ndarray, predicted: np.ndarray) -> int:
    """The axial slice in which two masks (X, Y, Z) differ in most voxels; of none, the one with most truth."""
    differing = (truth != predicted).sum(axis=(0, 1))
    return int((differing if differing.any() else truth.sum(axis=(0, 1))).argmax())


def plane(row: pd.Series, volume_file: Path, predictions: Sequence[Path], system: System) -> Worst:
    """Cut the plane of a row out of its stored case."""
    with VolumeFile(volume_file) as file:
        volume = file.read()
    stored = predictions_of(predictions, system, row["source"], row["case"], volume.native_grid).mask(row["target"])
    predicted = resample_mask(stored, volume.native_grid.affine, volume.grid)
    truth = mask(volume.labels, row["target"])
    z = widest_difference(truth, predicted)
    cut = body_square(volume.image[..., z])
    return Worst(row, int(row["n"]), volume.image[..., z][cut], truth[..., z][cut], predicted[..., z][cut])


def volume_files(folders: Sequence[Path]) -> dict[tuple[str, str], Path]:
    """Files of stored cases by source and case."""
    found = {}
    for path in sorted(path for folder in folders for path in Path(folder).glob("*.h5")):
        with VolumeFile(path) as file:
            found[file.source, file.case] = path
    return found


def gallery(cases: pd.DataFrame, system: System, predictions: Sequence[Path], folders: Sequence[Path]) -> list[Worst]:
    """All panels. Raises InputError if the system has no scored case, or one has no stored volume."""
    rows, files, found = worst_rows(cases, system), volume_files(folders), []
    if rows.empty:
        raise InputError(f"cases of {system.key}", "hold no annotated target", "evaluate more cases")
    for _, row in rows.iterrows():
        key = row["source"], row["case"]
        if key not in files:
            raise InputError("--volumes", f"hold no case {'/'.join(key)}", "run rule `harmonise` again")
        found.append(plane(row, files[key], predictions, system))
    return found


def draw(panels: Sequence[Worst], system: System, cohort: str) -> Figure:
    """The gallery, worst first, row by row."""
    lines = -(-len(panels) // COLUMNS)
    above, edge, text = 0.35, 1.68, 0.74  # inches
    height = (edge + text) * lines + above + 0.8
    figure, places = plt.subplots(lines, COLUMNS, figsize=(7.0, height), squeeze=False)
    for axes in places.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(places.flat, panels, strict=False):
        _draw_panel(axes, panel)
    marks = [Line2D([], [], color=TRUTH, lw=2, label="truth")]
    marks += [Line2D([], [], color=PREDICTION, lw=2, linestyle="--", label="prediction")]
    legend = figure.legend(
        handles=marks, loc="upper center", ncols=2, fontsize=8, labelcolor="white", facecolor="black"
    )
    legend.get_frame().set_alpha(1)
    below = put_caption(figure, f"{CAPTION.format(label=system.label, shown=len(panels))} Cohort: {cohort}.")
    bottom = below + (text - 0.2) / height
    figure.subplots_adjust(0.01, bottom, 0.99, 1 - (above + 0.2) / height, wspace=0.04, hspace=text / edge)
    return figure


def _draw_panel(axes: Axes, panel: Worst) -> None:
    row = panel.row
    show(axes, panel.image, cmap="gray", vmin=0, vmax=1)
    outline(axes, panel.truth, TRUTH)
    outline(axes, panel.predicted, PREDICTION, "--")
    axes.set_title(row["target"], fontsize=7.5, fontweight="bold", pad=3)
    hd95 = "–" if np.isnan(row["hd95_mm"]) else f"{row['hd95_mm']:.0f} mm"
    axes.set_xlabel(
        f"{row['source']}, {row['part']}, n = {panel.n}\n{row['case']}\nDice {100 * row['dice']:.1f} %, HD95 {hd95}\n"
        f"truth {_ml(row['truth_ml'])}, predicted {_ml(row['predicted_ml'])} ml",
        fontsize=6.5,
        labelpad=2,
    )


def _ml(volume: float) -> str:
    return f"{volume:.0f}" if volume >= 10 else f"{volume:.2g}"


@one_line_errors
def main() -> None:
    """Draw the gallery."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, required=True, help="scores/cases.csv")
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="mask/CLIP's, one folder per shard")
    parser.add_argument("--volumes", type=Path, nargs="+", required=True, help="directories of harmonised volumes")
    add_outputs(parser, ("png", "svg"))
    arguments = parser.parse_args()
    system = system_of(SYSTEM)
    panels = gallery(read_cases(arguments.cases), system, arguments.predictions, arguments.volumes)
    save(draw(panels, system, arguments.cohort), arguments.output_png, arguments.output_svg)


if __name__ == "__main__":
    main()
