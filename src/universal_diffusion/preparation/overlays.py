"""Step: a sheet of harmonised cases with their labels outlined, to see that images and labels agree.

Slices are shown as radiologists hang them: the patient's right side on the left of the picture.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from universal_diffusion.errors import one_line_errors
from universal_diffusion.files import whole_file
from universal_diffusion.preparation.splits import PARTS, SplitRow, read_splits, volumes_of
from universal_diffusion.targets import Target, all_targets, mask
from universal_diffusion.volumes import Volume, VolumeFile

CASES, COLUMNS = 2, 4  # cases a source, pictures a row


def sheet(volumes: Sequence[Volume], parts: Sequence[str]) -> plt.Figure:
    """Two pictures a case, axial and coronal, each through the slice that shows most of what is labelled."""
    rows = -(-2 * len(volumes) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(3.4 * COLUMNS, 3.4 * rows + 1.2), squeeze=False)
    for index, (volume, part) in enumerate(zip(volumes, parts, strict=True)):
        axial, coronal = axes.flat[2 * index : 2 * index + 2]
        draw_slice(axial, volume, 2)
        draw_slice(coronal, volume, 1)
        axial.set_title(f"{volume.source} {volume.case} ({part})", fontsize=8, loc="left")
    for place in axes.flat:
        place.set_axis_off()
    shown = [target for target in all_targets() if any(mask(volume.labels, target.name).any() for volume in volumes)]
    handles = [Line2D([], [], color=colour(target), label=target.name) for target in shown]
    figure.legend(handles=handles, loc="lower center", ncols=7, fontsize=8, frameon=False)
    figure.tight_layout(h_pad=2.0, rect=(0, 1.0 / (3.4 * rows + 1.2), 1, 1))
    return figure


def draw_slice(axes: Axes, volume: Volume, axis: int) -> None:
    """The slice across `axis` (2 axial, 1 coronal) that shows the most targets, and of these the most voxels."""
    at = fullest_slice(volume.labels, axis)
    image, labels = (np.take(array, at, axis).T[::-1, ::-1] for array in (volume.image, volume.labels))
    across, up = (volume.grid.spacing_mm[k] for k in range(3) if k != axis)
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, aspect=up / across, interpolation="nearest")
    for target in all_targets():
        outline = mask(labels, target.name)
        if outline.any():
            axes.contour(outline, levels=[0.5], colors=[colour(target)], linewidths=0.9)


def fullest_slice(labels: np.ndarray, axis: int) -> int:
    """Index along `axis` of the slice with the most targets, and among these with the most labelled voxels."""
    others = tuple(k for k in range(3) if k != axis)
    counts = np.stack([mask(labels, target.name).sum(axis=others) for target in all_targets()])
    return int(np.lexsort((counts.sum(axis=0), (counts > 0).sum(axis=0)))[-1])


def colour(target: Target) -> tuple[float, float, float]:
    """A colour of its own for each target, the same in every sheet: steps of the golden angle around the hues."""
    hue = (target.id * 0.381966) % 1.0
    return tuple(matplotlib.colors.hsv_to_rgb((hue, 0.55 + 0.45 * (target.id % 2), 1.0)))


def _chosen(rows: Sequence[SplitRow]) -> list[SplitRow]:
    """The first cases of every source, of different parts where it has them."""
    by_source = defaultdict(list)
    for row in rows:
        by_source[row.source].append(row)
    chosen = []
    for source in sorted(by_source):
        firsts = {row.part: row for row in reversed(by_source[source])}
        others = [row for row in by_source[source] if row not in firsts.values()]
        chosen += [*(firsts[part] for part in PARTS if part in firsts), *others][:CASES]
    return chosen


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volumes", required=True, nargs="+", type=Path, help="directories of harmonised cases")
    parser.add_argument("--splits", required=True, type=Path, help="splits.csv, from `split`")
    parser.add_argument("--output", required=True, type=Path, help="picture to write")
    arguments = parser.parse_args()
    rows = _chosen(read_splits(arguments.splits))
    volumes = []
    for path in volumes_of(arguments.volumes, rows, PARTS):
        with VolumeFile(path) as file:
            volumes.append(file.read())
    figure = sheet(volumes, [row.part for row in rows])
    with whole_file(arguments.output) as partial:
        figure.savefig(partial, format="png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
