"""Benchmark: a CT of 512 x 512 x 800 voxels and all 29 targets from file to files: seconds and memory of every part.

    python -m universal_diffusion.benchmarks.large_ct --model DIR --paper YAML --threads N --output-csv F

Twice: with a trained model on its own grid and the default preset, and on the paper's grid and windows with networks of
few channels and random weights, in one step. Each is one process, which does what `Segmenter` does; the parts' peaks
are the largest resident memory (VmHWM, reset before each) while everything that a later part needs is held.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import nibabel
import numpy as np
import pandas as pd
import yaml

from universal_diffusion.benchmarks.alone import alone
from universal_diffusion.benchmarks.record import peak_gib, write_record
from universal_diffusion.benchmarks.scans import native
from universal_diffusion.benchmarks.tiny_networks import write_tiny
from universal_diffusion.errors import one_line_errors
from universal_diffusion.preparation.transforms import harmonise_image
from universal_diffusion.segmentation.card import preparation_of
from universal_diffusion.segmentation.inputs.ct_input import read_ct
from universal_diffusion.segmentation.outputs.export import export
from universal_diffusion.segmentation.sampling.run import sample_volume
from universal_diffusion.segmentation.segmented import standard_outputs
from universal_diffusion.segmentation.segmenter import Segmenter
from universal_diffusion.settings import Study, read

T = TypeVar("T")

SLICES, SEED = 800, 1
LIMIT_GIB, NOISE_HU = 8.0, 10
WHOLE = "all of it"
TRAINED, PAPER = "trained, its own grid", "tiny and random, the paper's grid"
FEW = {"steps": 1, "ensemble": 1}  # on the paper's grid; memory grows with the ensemble by little, with the steps not


def write_ct(path: Path, slices: int) -> dict:
    """A synthetic CT of 512 x 512 voxels a slice as `.nii.gz`; noise in every voxel, so that it packs as a CT does."""
    taken = native(slices)
    image = taken.image + np.random.default_rng(SEED).integers(-NOISE_HU, NOISE_HU + 1, taken.image.shape, np.int16)
    nibabel.save(nibabel.Nifti1Image(image, taken.affine), path)
    return {}


class Watched:
    """Seconds and peak memory of work done part by part, as `rows`."""

    def __init__(self):
        self.rows: list[dict] = []

    def part(self, name: str, work: Callable[[], T]) -> T:
        """Do `work` and remember what it took."""
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # VmHWM starts anew
        started = time.perf_counter()
        made = work()
        self.rows.append({"part": name, "seconds": time.perf_counter() - started, "peak GiB": peak_gib()})
        return made


def chain(model: Path, file: Path, folder: Path, threads: int, **other: int) -> dict:
    """From a CT's file to all its files in `folder`, in this process; `other` steps and samples than the preset's."""
    watched = Watched()
    segmenter = watched.part("load the model", lambda: Segmenter.load(model, threads=threads))
    ct = watched.part("read", lambda: read_ct(file))
    preparation = preparation_of(segmenter.card, model)
    image, grid = watched.part("harmonise", lambda: harmonise_image(ct.hu, ct.grid.affine, preparation, str(ct.path)))
    targets, sampling, place = segmenter.targets, replace(segmenter.sampling(), **other), folder / "slabs"
    store = watched.part(
        "sample",
        lambda: sample_volume(segmenter.bundle, image, grid, targets, sampling, SEED, place, {}, show=False),
    )
    facts = watched.part("export", lambda: export(store, ct.grid, folder / "out", standard_outputs(ct), ct))
    written = sum(path.stat().st_size for path in (folder / "out").iterdir())
    kept = {name: store.kept.share(name) for name in targets}
    return {
        "rows": watched.rows,
        "patch": preparation.patch,
        "spacing_mm": list(preparation.spacing_mm),
        "model": f"{segmenter.card['study']}/{segmenter.card['variant']}",
        "targets": len(targets),
        "sampling": asdict(sampling),
        "shape": list(ct.hu.shape),
        "harmonised": list(grid.shape),
        "found": sum(fact.voxels > 0 for fact in facts.values()),
        "kept": sum(kept.values()) / len(kept),
        "megabytes": written / 1e6,
    }


def table_of(rows: list[dict], networks: str) -> pd.DataFrame:
    """The parts and all of them together."""
    table = pd.DataFrame(rows)
    whole = {"part": WHOLE, "seconds": table["seconds"].sum(), "peak GiB": table["peak GiB"].max()}
    table = pd.concat([table, pd.DataFrame([whole])], ignore_index=True)
    table.insert(0, "networks", networks)
    return table


def told(table: pd.DataFrame, figures: dict, threads: int) -> str:
    """What the page says below its table of one chain."""
    networks, sampling = table["networks"].iloc[0], figures["sampling"]
    peak = table.set_index("part").loc[WHOLE, "peak GiB"]
    shape, harmonised = (" x ".join(map(str, figures[name])) for name in ("shape", "harmonised"))
    spacing = " x ".join(f"{edge:g}" for edge in figures["spacing_mm"])
    return (
        f"{networks.capitalize()} ({figures['model']}): {shape} voxels as `.nii.gz`, harmonised to {harmonised} of "
        f"{spacing} mm, windows of {figures['patch']} x {figures['patch']}; {figures['targets']} targets, "
        f"{figures['found']} of them found; steps {sampling['steps']}, ensemble {sampling['ensemble']}, the gate on "
        f"(it kept {100 * figures['kept']:.0f} % of the pairs of window and target); {threads} CPU threads. Every "
        f"target's mask and maps and an overview are written: {figures['megabytes']:,.0f} MB. Peak memory of the host "
        f"{peak:.3g} GiB; goal: under {LIMIT_GIB:g} GiB, {'reached' if peak < LIMIT_GIB else 'NOT reached'}."
    )


NOTES = (
    "A part's peak is the largest resident memory while it ran, with all that was held then.",
    "On the paper's grid the networks have few channels and random weights: CT, maps, slabs and files have their full "
    "size, and the paper's networks would take the memory of their weights and of a batch of theirs more. One more "
    "sample takes 8 bytes for each voxel of a slice and target. The seconds say nothing of the paper's networks, and "
    "the masks nothing of anatomy.",
)


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=Path, help="directory of a trained variant")
    parser.add_argument("--paper", required=True, type=Path, help="the paper's configuration")
    parser.add_argument("--threads", required=True, type=int, help="CPU threads")
    parser.add_argument("--output-csv", required=True, type=Path, help="table to write, a page beside it")
    arguments = parser.parse_args()
    arguments.output_csv.parent.mkdir(parents=True, exist_ok=True)
    paper = read(Study, yaml.safe_load(arguments.paper.read_text(encoding="utf-8")), str(arguments.paper))
    tables, notes = [], []
    with TemporaryDirectory(dir=arguments.output_csv.parent) as folder:
        file, random = Path(folder, "ct.nii.gz"), Path(folder, "tiny")
        alone(write_ct, file, SLICES)
        write_tiny(random, paper)
        for networks, model, other in ((TRAINED, arguments.model, {}), (PAPER, random, FEW)):
            with TemporaryDirectory(dir=folder) as place:
                figures = alone(partial(chain, **other), model, file, Path(place), arguments.threads)
            tables.append(table_of(figures["rows"], networks))
            notes.append(told(tables[-1], figures, arguments.threads))
    title = f"A CT of 512 x 512 x {SLICES} voxels, from file to files"
    write_record(arguments.output_csv, pd.concat(tables), title, [*notes, *NOTES])


if __name__ == "__main__":
    main()
