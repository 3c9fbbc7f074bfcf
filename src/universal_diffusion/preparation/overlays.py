"""Step: a sheet of harmonised cases with their labels outlined, to see that images and labels agree."""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from universal_diffusion.errors import one_line_errors
from universal_diffusion.files import whole_file
from universal_diffusion.preparation.pictures import (
    AXIAL,
    BACKGROUND,
    CORONAL,
    add_legend,
    draw,
    fullest_slice,
    legend_inch,
    named_targets,
    picture,
)
from universal_diffusion.preparation.splits import PARTS, SplitRow, read_splits, volumes_of
from universal_diffusion.volumes import Volume, VolumeFile

CASES, COLUMNS = 2, 4  # cases a source, pictures a row


def sheet(volumes: Sequence[Volume], parts: Sequence[str]) -> plt.Figure:
    """Two pictures a case, axial and coronal, each through the slice that shows most of what is labelled."""
    shown = [
        picture(volume, axis, fullest_slice(volume.image, volume.labels, axis))
        for volume in volumes
        for axis in (AXIAL, CORONAL)
    ]
    named, width = named_targets(shown), 3.4 * COLUMNS
    rows, foot = -(-len(shown) // COLUMNS), legend_inch(named, width)
    size = (width, 3.4 * rows + foot)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=size, squeeze=False, facecolor=BACKGROUND)
    for place, one in zip(axes.flat, shown, strict=False):
        draw(place, one)
    for place, volume, part in zip(axes.flat[::2], volumes, parts, strict=False):
        place.set_title(f"{volume.source} {volume.case} ({part})", fontsize=8, loc="left", color="white")
    for place in axes.flat[len(shown) :]:
        place.set_axis_off()
    add_legend(figure, named)
    figure.tight_layout(h_pad=2.0, rect=(0, foot / size[1], 1, 1))
    return figure


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
