"""Benchmark: all 29 targets of a held-out CT by this study's engine and the plain way, with the same trained weights.

    python -m universal_diffusion.benchmarks.segmentation --model DIR --volumes DIR... --splits CSV --overlap X ...

Both start from the same noise on the same windows, so their masks can be compared voxel by voxel.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from universal_diffusion.benchmarks.parts import DECODE, DENOISE, ENCODE, FEATURES, Parts, flops_of
from universal_diffusion.benchmarks.plain_inference import SW_BATCH, plain_segmentation
from universal_diffusion.benchmarks.record import write_record
from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.scoring.scores import dice
from universal_diffusion.method.bundle import Bundle, load_bundle
from universal_diffusion.preparation.splits import read_splits, volumes_of
from universal_diffusion.segmentation.outputs.native import THRESHOLD
from universal_diffusion.segmentation.presets import GATE
from universal_diffusion.segmentation.sampling.run import sample_volume
from universal_diffusion.segmentation.sampling.runtime import start_torch
from universal_diffusion.settings import Segmentation
from universal_diffusion.targets import all_targets, mask
from universal_diffusion.volumes import Volume, VolumeFile

STEPS, ENSEMBLES, SEED = (1, 5), (1, 5), 1
PLAIN, TUNED, OURS, GATED = "the plain way", "the plain way, batches of 64", "this study", "this study, gate on"
TUNED_BATCH = 64
GOALS = {OURS: 10, GATED: 30}  # times the plain way's speed
WITHIN = 0.2  # points of Dice with the truth between the plain way and either of ours
HEADINGS = {ENCODE: "windows encoded", FEATURES: "features", DENOISE: "denoiser steps", DECODE: "windows decoded"}


@dataclass(frozen=True)
class Found:
    """What one system made of the volume: masks by target, seconds, and what went through its networks."""

    masks: dict[str, np.ndarray]
    seconds: float
    parts: Parts


def chosen(volumes: Sequence[Path]) -> Volume:
    """The volume with the most annotated targets, the first of several."""
    found = []
    for path in volumes:
        with VolumeFile(path) as file:
            found.append((len(file.annotated), path))
    with VolumeFile(max(found, key=lambda pair: pair[0])[1]) as file:
        return file.read()


def segmented(system: str, bundle: Bundle, volume: Volume, sampling: Segmentation, folder: Path) -> Found:
    """Every target's mask on the harmonised grid by one of the systems; `folder` is for the engine's store."""
    names = [target.name for target in all_targets()]
    with Parts(bundle) as parts:
        started = time.perf_counter()
        if system in (PLAIN, TUNED):
            batch = SW_BATCH if system == PLAIN else TUNED_BATCH
            maps = plain_segmentation(bundle, volume.image, names, sampling, SEED, batch)
            masks = {one.target: one.mean >= THRESHOLD for one in maps}
            return Found(masks, time.perf_counter() - started, parts)
        sampling = replace(sampling, gate=GATE if system == GATED else None)
        with TemporaryDirectory(dir=folder) as place:
            store = sample_volume(
                bundle, volume.image, volume.grid, names, sampling, SEED, Path(place, "store"), {}, show=False
            )
            seconds = time.perf_counter() - started
            masks = {name: store.read(name)[0] >= THRESHOLD for name in names}
            store.remove()
        return Found(masks, seconds, parts)


def compare(bundle: Bundle, volume: Volume, overlap: float, folder: Path) -> pd.DataFrame:
    """A row per steps, ensemble and system; each system is warmed up on two slices."""
    each = flops_of(bundle)
    few = replace(volume, image=volume.image[..., :2], grid=replace(volume.grid, shape=(*volume.grid.shape[:2], 2)))
    rows = []
    for steps in STEPS:
        for ensemble in ENSEMBLES:
            sampling = Segmentation("ddim", steps, 0.0, ensemble, overlap)
            systems = [PLAIN, *([TUNED] if ensemble == 1 else []), OURS, GATED]
            for system in systems:
                segmented(system, bundle, few, sampling, folder)
                found = segmented(system, bundle, volume, sampling, folder)
                if system == PLAIN:
                    plain = found
                rows.append(_row(system, sampling, found, plain, volume, found.parts.operations(each)))
    return pd.DataFrame(rows)


def _row(system: str, sampling: Segmentation, found: Found, plain: Found, volume: Volume, operations: float) -> dict:
    truth = [100 * dice(mask(volume.labels, name), found.masks[name]) for name in volume.annotated]
    agreement = [100 * dice(plain.masks[name], found.masks[name]) for name in found.masks]
    return {
        "system": system,
        "steps": sampling.steps,
        "ensemble": sampling.ensemble,
        "seconds": found.seconds,
        "times faster": plain.seconds / found.seconds,
        "GFLOP": operations / 1e9,
        **{heading: found.parts.rows[part] for part, heading in HEADINGS.items()},
        "Dice with the plain way": np.nanmean(agreement),
        "lowest": np.nanmin(agreement),
        "Dice with the truth": np.nanmean(truth),
    }


def report(rows: pd.DataFrame, volume: Volume, card: dict, device: str, threads: int) -> list[str]:
    """What the page says below its table."""
    shape = " x ".join(map(str, volume.grid.shape))
    return [
        f"{volume.source} {volume.case} ({shape} voxels harmonised), all {len(all_targets())} targets; model "
        f"{card['study']}/{card['variant']}, trained on {card['cohort']}; DDIM, eta 0, windows of {card['patch']}, on "
        f"{device} with {threads} CPU threads, 32 bits. Each system is warmed up, then runs once.",
        *[_verdict(rows, system) for system in GOALS],
        f"The plain way: MONAI's SlidingWindowInferer (its tutorials' batches of {SW_BATCH} windows) around its "
        "LatentDiffusionInferer and DDIMScheduler, in inference mode, target by target and sample by sample: a window "
        "is encoded for every target and sample, features are computed at every step. It keeps its maps in memory; "
        "this study's times include packing them into its store on the disk.",
        "Operations are counted by torch, for what really went through the networks, padding of batches and the gate "
        "included. They are what bounds the factor where the device is busy: with steps that cost as they do here, "
        "caching alone cannot save more than the ratio of the two operations.",
        f"Dice (%): means over the targets, on the harmonised grid; with the truth over the {len(volume.annotated)} "
        "annotated ones. Both start from the same noise, so without the gate masks differ by rounding. Where the plain "
        "way's mask of an absent target is a few false voxels, the gate drops them, and the lowest can be 0.",
    ]


def _verdict(rows: pd.DataFrame, system: str) -> str:
    """The factors of one system in time and operations beside the goal."""
    cells, apart = [], 0.0
    for key, cell in rows.groupby(["steps", "ensemble"]):
        plain, own = (cell[cell["system"] == name].iloc[0] for name in (PLAIN, system))
        apart = max(apart, abs(plain["Dice with the truth"] - own["Dice with the truth"]))
        cells.append(
            f"{own['times faster']:.2g} times faster with {plain['GFLOP'] / own['GFLOP']:.2g} times fewer operations "
            f"(steps {key[0]}, ensemble {key[1]})"
        )
    reached = "" if rows.loc[rows["system"] == system, "times faster"].min() >= GOALS[system] else "NOT "
    kept = "" if apart <= WITHIN else "NOT "
    return (
        f"{system.capitalize()}: {'; '.join(cells)}. Goal {GOALS[system]} times: {reached}reached. Dice with the truth "
        f"at most {apart:.2g} points from the plain way's (goal {WITHIN:g}: {kept}kept)."
    )


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=Path, help="directory of a trained variant")
    parser.add_argument("--volumes", required=True, type=Path, nargs="+", help="directories of harmonised volumes")
    parser.add_argument("--splits", required=True, type=Path, help="splits.csv, from `split`")
    parser.add_argument("--overlap", required=True, type=float, help="of the windows, as the study has it")
    parser.add_argument("--threads", required=True, type=int, help="CPU threads of both systems")
    parser.add_argument("--output-csv", required=True, type=Path, help="table to write, a page beside it")
    arguments = parser.parse_args()
    device = start_torch(arguments.threads)
    bundle = load_bundle(arguments.model, device)
    volume = chosen(volumes_of(arguments.volumes, read_splits(arguments.splits), ("test",)))
    arguments.output_csv.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=arguments.output_csv.parent) as folder:
        rows = compare(bundle, volume, arguments.overlap, Path(folder))
    notes = report(rows, volume, bundle.card, device.type, arguments.threads)
    write_record(arguments.output_csv, rows, "Segmenting a CT: this study's engine and the plain way", notes)


if __name__ == "__main__":
    main()
