"""Step: a sheet of harmonised cases with their labels outlined, to see that images and labels agree."""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from universal_diffusion.errors import one_line_errors
from universal_diffusion.files import whole_file
from universal_diffusion.preparation.pictures import Tile, sheet, views
from universal_diffusion.preparation.splits import PARTS, SplitRow, read_splits, volumes_of
from universal_diffusion.volumes import VolumeFile

CASES, ACROSS, PICTURE_INCH = 2, 2, 3.4  # cases a source, cases a row


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
    tiles = []
    for path, row in zip(volumes_of(arguments.volumes, rows, PARTS), rows, strict=True):
        with VolumeFile(path) as file:
            tiles.append(Tile(f"{row.source} {row.case} ({row.part})", "", views(file.read())))
    figure = sheet(tiles, "", ACROSS, PICTURE_INCH)
    with whole_file(arguments.output) as partial:
        figure.savefig(partial, format="png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
