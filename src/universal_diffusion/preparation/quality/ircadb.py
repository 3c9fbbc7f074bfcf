"""Step: what each patient of 3D-IRCADb is labelled for, read from the mask folders themselves.

python -m universal_diffusion.preparation.quality.ircadb --native DIR --output F

Every folder is listed, with the targets that the catalogue gives its name, or why it is none. What has no folder was
not annotated, which is not the same as absent; what has a folder without a marked voxel was not annotated either, and
is listed apart. A name that the catalogue does not know is listed as unknown, and becomes a finding.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from universal_diffusion.datasets import catalogue, layout
from universal_diffusion.datasets.dicom import dicom_files, read_folder
from universal_diffusion.errors import one_line_errors
from universal_diffusion.preparation.quality.measure import write_table
from universal_diffusion.preparation.quality.structures import (
    ANNOTATED,
    EMPTY,
    NO_FILES,
    NO_TARGET,
    SOURCE,
    UNKNOWN,
    Structure,
)
from universal_diffusion.preparation.unpacked import unpacked


def structures(case: str, masks: Path, entry: catalogue.Entry) -> Iterator[Structure]:
    """The mask folders of one patient, by name; the masks of targets are opened to see whether they mark anything."""
    for folder in layout.folders(masks, ".*")[1:]:
        files = len(dicom_files(folder))
        names = entry.structure_targets(folder.name)
        if names is None:
            yield Structure(case, folder.name, UNKNOWN, "", "", files)
        elif not names:
            yield Structure(case, folder.name, NO_TARGET, "", _reason(folder.name, entry), files)
        else:
            state = NO_FILES if not files else ANNOTATED if read_folder(folder)[0].any() else EMPTY
            yield Structure(case, folder.name, state, "|".join(catalogue.in_order(names[:1])), "", files)


def _reason(folder: str, entry: catalogue.Entry) -> str:
    return next(why for pattern, why in entry.not_mapped.items() if re.fullmatch(pattern, folder.lower()))


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--native", required=True, type=Path, help="unpacked native tree")
    parser.add_argument("--output", required=True, type=Path, help="table to write")
    arguments = parser.parse_args()
    entry = catalogue.entry(SOURCE)
    native = unpacked(SOURCE, arguments.native)
    found = []
    for case in tqdm(native.cases(), desc="structures", unit="case", file=sys.stderr):
        _, masks = native.paths(case)
        native.check([masks])
        found += structures(case, masks, entry)
    write_table(arguments.output, found, Structure)


if __name__ == "__main__":
    main()
