"""Benchmark: ways to lay a harmonised case on disk, by bytes and by the time to read a random patch's slices.

    python -m universal_diffusion.benchmarks.layouts --output-csv F

Each row writes the same case with h5py and reads image and labels of random 256 x 256 patches through it, warm.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pandas as pd

from universal_diffusion.benchmarks.record import seconds, write_record
from universal_diffusion.benchmarks.scans import harmonised
from universal_diffusion.errors import one_line_errors
from universal_diffusion.label_codes import encode
from universal_diffusion.volumes import IMAGE_STEPS

PATCH, PATCHES, REPEATS = 256, 100, 5
PAPER_CASES = 2882
DEFLATE = {"compression": "gzip", "compression_opts": 3, "shuffle": True, "fletcher32": True}


@dataclass(frozen=True)
class Layout:
    """Types of image and labels on disk, edge of a chunk in a slice (None: no chunks; 0: the slice), HDF5's filters."""

    name: str
    image: str = "uint16"
    labels: str = "codes"
    edge: int | None = 0
    filters: Mapping[str, object] = field(default_factory=dict)


LAYOUTS = (
    Layout("slices, deflate, 16-bit steps, label codes (chosen)", filters=DEFLATE),
    Layout("the same with float16 and uint32 label bits", "float16", "bits", filters=DEFLATE),
    Layout("the same in tiles of 64 x 64", edge=64, filters=DEFLATE),
    Layout("slices, LZF", filters={"compression": "lzf", "shuffle": True, "fletcher32": True}),
    Layout("slices, not compressed", filters={"fletcher32": True}),
    Layout("contiguous, not compressed, no checksum", edge=None),
    Layout("slices, deflate, 8-bit image (1.7 HU steps)", "uint8", filters=DEFLATE),
)


def arrays_of(image: np.ndarray, labels: np.ndarray, layout: Layout) -> list[np.ndarray]:
    """Image and labels, slices first, as the layout stores them."""
    stored = {
        "uint16": lambda: np.rint(image * IMAGE_STEPS).astype(np.uint16),
        "uint8": lambda: np.rint(image * 255).astype(np.uint8),
        "float16": lambda: image.astype(np.float16),
        "codes": lambda: encode(labels)[1],
        "bits": lambda: labels,
    }
    return [np.ascontiguousarray(np.moveaxis(stored[kind](), 2, 0)) for kind in (layout.image, layout.labels)]


def measured(layout: Layout, image: np.ndarray, labels: np.ndarray, path: Path) -> dict[str, object]:
    """Bytes of the case, and microseconds to read one patch's image and labels."""
    with h5py.File(path, "w", libver="v112") as file:
        for name, array in zip(("image", "labels"), arrays_of(image, labels, layout), strict=True):
            chunks = {} if layout.edge is None else {"chunks": (1, *(layout.edge or end for end in array.shape[1:]))}
            file.create_dataset(name, data=array, **chunks, **layout.filters)
    generator = np.random.default_rng(0)
    with h5py.File(path, "r", rdcc_nbytes=0) as file:
        stored = file["image"], file["labels"]
        last = np.subtract(stored[0].shape, (1, PATCH, PATCH))

        def read() -> None:
            for z, x, y in generator.integers(0, last + 1, (PATCHES, 3)):
                for array in stored:
                    array[z, x : x + PATCH, y : y + PATCH]

        read()
        taken = seconds(read, REPEATS) / PATCHES
    size = path.stat().st_size
    return {
        "layout": layout.name,
        "us per patch": 1e6 * taken,
        "MB per case": size / 1e6,
        f"GB for {PAPER_CASES} cases": PAPER_CASES * size / 1e9,
    }


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-csv", required=True, type=Path, help="table to write, a page beside it")
    arguments = parser.parse_args()
    volume = harmonised("layout")
    arguments.output_csv.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=arguments.output_csv.parent) as folder:
        path = Path(folder, "layout.h5")
        rows = pd.DataFrame([measured(layout, volume.image, volume.labels, path) for layout in LAYOUTS])
    shape = " x ".join(map(str, volume.grid.shape))
    notes = [
        f"One case of {shape} voxels without its native labels; median of {REPEATS} x {PATCHES} random "
        f"{PATCH} x {PATCH} patches read through h5py from the page cache, no chunk kept."
    ]
    write_record(arguments.output_csv, rows, "Layouts of a harmonised case", notes)


if __name__ == "__main__":
    main()
