"""Step: one table of every harmonised case, with the volume of each annotated target before and after."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from universal_diffusion.checksums import write_with_hash
from universal_diffusion.datasets import catalogue
from universal_diffusion.datasets.base import natural_key
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.targets import all_targets
from universal_diffusion.volumes import Volume, VolumeFile


def row(volume: Volume) -> dict[str, object]:
    """One case's columns; `<target>_native_ml` and `<target>_ml` are NaN for targets that are not annotated."""
    columns = {
        "source": volume.source,
        "dataset": catalogue.dataset_of(volume.source),
        "case": volume.case,
        "fingerprint": volume.fingerprint,
        "annotated": "|".join(volume.annotated),
        "shape": _product(volume.grid.shape),
        "spacing_mm": _product(volume.grid.spacing_mm),
        "native_shape": _product(volume.native_grid.shape),
        "native_spacing_mm": _product(volume.native_grid.spacing_mm),
    }
    native, harmonised = _voxels(volume.native_labels), _voxels(volume.labels)
    for target in all_targets():
        known = target.name in volume.annotated
        columns[f"{target.slug}_native_ml"] = native[target.id - 1] * volume.native_grid.voxel_ml if known else np.nan
        columns[f"{target.slug}_ml"] = harmonised[target.id - 1] * volume.grid.voxel_ml if known else np.nan
    return columns


def _voxels(labels: np.ndarray) -> list[int]:
    """Voxels of every target, by id."""
    unions, counts = np.unique(labels[labels != 0], return_counts=True)
    return [int(counts[(unions & target.bit) != 0].sum()) for target in all_targets()]


def _product(lengths: np.ndarray | tuple[int, ...]) -> str:
    return " x ".join(f"{length:g}" for length in np.round(lengths, 4))


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volumes", required=True, nargs="+", type=Path, help="directories of harmonised cases")
    parser.add_argument("--output-csv", required=True, type=Path, help="table to write")
    arguments = parser.parse_args()
    paths = [path for directory in arguments.volumes for path in directory.glob("*.h5")]
    if not paths:
        raise InputError(arguments.volumes[0], "holds no harmonised case", "run `harmonise`")
    rows = []
    for path in tqdm(paths, desc="inventory", unit="case", file=sys.stderr):
        with VolumeFile(path) as file:
            rows.append(row(file.read()))
    rows.sort(key=lambda columns: (columns["source"], natural_key(columns["case"])))
    text = pd.DataFrame(rows).to_csv(index=False, float_format="%.3f", lineterminator="\n")
    write_with_hash(arguments.output_csv, text)


if __name__ == "__main__":
    main()
