"""Step: measure the harmonised cases of one shard, for the quality report.

python -m universal_diffusion.preparation.quality.measure --volumes DIR... --settings JSON --output DIR
"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from universal_diffusion.checksums import write_with_hash
from universal_diffusion.datasets.base import natural_key
from universal_diffusion.errors import one_line_errors
from universal_diffusion.preparation.folders import whole_folder
from universal_diffusion.preparation.quality.measures import (
    ScanMeasures,
    TargetMeasures,
    scan_measures,
    target_measures,
)
from universal_diffusion.settings import Preparation, read_json
from universal_diffusion.volumes import VolumeFile

SCANS, TARGETS = "scans.csv", "targets.csv"


def write_table(path: Path, rows: list, kind: type) -> None:
    """Write dataclasses of one kind as a table with a column for each field."""
    frame = pd.DataFrame(rows, columns=[field.name for field in fields(kind)])
    write_with_hash(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", required=True, nargs="+", type=Path, help="directories of harmonised cases")
    parser.add_argument("--settings", required=True, help="JSON of settings.Preparation, with which they were made")
    parser.add_argument("--output", required=True, type=Path, help=f"folder for {SCANS} and {TARGETS}")
    arguments = parser.parse_args()
    window = read_json(Preparation, arguments.settings, "settings").hu_window
    paths = [path for folder in arguments.volumes for path in folder.glob("*.h5")]
    scans, targets = [], []
    for path in tqdm(sorted(paths, key=lambda path: natural_key(str(path))), "measure", unit="case", file=sys.stderr):
        with VolumeFile(path) as file:
            volume = file.read()
        scans.append(scan_measures(volume, window))
        targets += target_measures(volume, window)
    with whole_folder(arguments.output) as folder:
        write_table(folder / SCANS, scans, ScanMeasures)
        write_table(folder / TARGETS, targets, TargetMeasures)


if __name__ == "__main__":
    main()
