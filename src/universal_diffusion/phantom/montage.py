"""A picture sheet of the embedded cohort's kind of patient: slices in three planes, with and without the true outlines.

Radiological view: the patient's right is on the left of axial and coronal slices; the patient's front is on the left of
sagittal ones.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from universal_diffusion.colours import colour
from universal_diffusion.errors import one_line_errors
from universal_diffusion.files import whole_file
from universal_diffusion.phantom.findings import HOSTS
from universal_diffusion.phantom.patient import make_patient
from universal_diffusion.phantom.scanner import Protocol, Scan, scan
from universal_diffusion.settings import Phantom, read_json
from universal_diffusion.targets import Target, all_targets, mask

WINDOW_HU = (-160, 240)
BODY_HU = -300
PATIENTS = (("montage 1", "portal"), ("montage 2", "arterial"))
AXES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True)
class Cut:
    """A slice to show: `axis` 0 sagittal, 1 coronal, 2 axial, where `target` is largest; `width` of its panel."""

    axis: int
    target: str
    width: float


CUTS = (
    Cut(2, "lung tumor", 1.4),
    Cut(2, "hepatic vessel", 1.4),
    Cut(2, "pancreas", 1.4),
    Cut(2, "intestine", 1.4),
    Cut(2, "bladder", 1.4),
    Cut(1, "inferior vena cava", 0.64),
    Cut(1, "stomach", 0.64),
    Cut(0, "rectum", 0.46),
)


def best_slice(labels: np.ndarray, cut: Cut) -> int:
    """Index along the cut's axis at which its target is largest."""
    others = tuple(axis for axis in range(3) if axis != cut.axis)
    return int(mask(labels, cut.target).sum(axis=others).argmax())


def trimmed(taken: Scan) -> Scan:
    """The scan without the air beside the patient (slices are kept)."""
    dense = taken.image > BODY_HU
    x, y = (np.flatnonzero(dense.any(axis=others)) for others in ((1, 2), (0, 2)))
    box = slice(x[0], x[-1] + 1), slice(y[0], y[-1] + 1)
    return Scan(taken.image[box], taken.affine, taken.labels[box])


def draw(axes: Axes, taken: Scan, axis: int, index: int, outlined: bool) -> None:
    """Draw one slice in a soft-tissue window; `outlined` adds every target's outline and id."""
    across, down = (float(taken.affine[k, k]) for k in range(3) if k != axis)
    shown = _upright(np.take(taken.image, index, axis))
    extent = (0, shown.shape[1] * across, shown.shape[0] * down, 0)
    low, high = WINDOW_HU
    axes.imshow(shown, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="bilinear")
    axes.set_axis_off()
    if outlined:
        labels = _upright(np.take(taken.labels, index, axis))
        for target in all_targets():
            inside = mask(labels, target.name)
            if inside.any():
                _outline(axes, target, inside, across, down)


def _upright(plane: np.ndarray) -> np.ndarray:
    """Rows from top to bottom of the picture, columns from the patient's right (or front) to the left (or back)."""
    return plane[::-1, ::-1].T


def _outline(axes: Axes, target: Target, inside: np.ndarray, across: float, down: float) -> None:
    rows, columns = (np.arange(inside.shape[0]) + 0.5) * down, (np.arange(inside.shape[1]) + 0.5) * across
    padded = np.pad(inside, 1).astype(float)
    rows_around, columns_around = (
        np.r_[-down / 2, rows, rows[-1] + down],
        np.r_[-across / 2, columns, columns[-1] + across],
    )
    axes.contour(columns_around, rows_around, padded, levels=[0.5], colors=[colour(target)], linewidths=0.8)
    at_row, at_column = np.nonzero(inside)
    off_centre = np.hypot(rows[at_row] - rows[at_row].mean(), columns[at_column] - columns[at_column].mean())
    middle = off_centre.argmin()
    effects = [withStroke(linewidth=1.2, foreground="black")]
    place = {"ha": "center", "va": "center", "path_effects": effects}
    axes.text(columns[at_column[middle]], rows[at_row[middle]], str(target.id), color=colour(target), size=6, **place)


def sheet(study_seed: int, settings: Phantom) -> plt.Figure:
    """Two patients with every finding, each as two rows of slices: plain, and with outlines; a legend below."""
    widths = [cut.width for cut in CUTS]
    figure, grid = plt.subplots(
        2 * len(PATIENTS), len(CUTS), figsize=(2.7 * sum(widths), 12.6), width_ratios=widths, squeeze=False
    )
    figure.subplots_adjust(left=0.004, right=0.996, top=0.94, bottom=0.06, wspace=0.03, hspace=0.06)
    for row, (name, phase) in enumerate(PATIENTS):
        patient = make_patient(study_seed, name, frozenset(HOSTS))
        protocol = Protocol(settings.matrix, 390.0, settings.slice_spacing_mm[0], "whole", phase)
        taken = trimmed(scan(patient, protocol, study_seed))
        for column, cut in enumerate(CUTS):
            index = best_slice(taken.labels, cut)
            draw(grid[2 * row, column], taken, cut.axis, index, outlined=False)
            draw(grid[2 * row + 1, column], taken, cut.axis, index, outlined=True)
            grid[2 * row, column].set_title(f"{AXES[cut.axis]}: {cut.target}", size=8, pad=2)
    figure.suptitle(
        "SYNTHETIC patients like those of the embedded cohort (not real CT); window -160 to 240 HU; "
        "upper: portal venous phase, lower: arterial phase; each without and with the true outlines",
        size=10,
    )
    _legend(figure)
    return figure


def _legend(figure: plt.Figure) -> None:
    half = 10
    for index, target in enumerate(all_targets()):
        x, y = 0.01 + 0.98 * (index % half) / half, 0.044 - 0.018 * (index // half)
        figure.text(x, y, f"{target.id} {target.name}", size=8, color=0.75 * np.array(colour(target)), weight="bold")


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    parser.add_argument("--settings", required=True, help="JSON of settings.Phantom")
    parser.add_argument("--output", type=Path, required=True, help="the PNG to write")
    arguments = parser.parse_args()
    figure = sheet(arguments.study_seed, read_json(Phantom, arguments.settings, "settings"))
    with whole_file(arguments.output) as partial:
        figure.savefig(partial, format="png", dpi=110, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
