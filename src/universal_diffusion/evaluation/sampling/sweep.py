"""Step: what sampling buys - Dice against seconds over steps, ensemble, gate and warm start, on a few cases of a study.

    python -m universal_diffusion.evaluation.sampling.sweep --model DIR --volumes DIR... --splits CSV ...

Timed is everything from a harmonised volume in memory to its masks: the gate, encoding, sampling, decoding, blending.
Dice is that of the ensemble's mean at 0.5, on the harmonised grid, over the annotated targets that a case holds.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.drawing import save
from universal_diffusion.evaluation.sampling.sweep_report import MODES, draw, printed_table, summary
from universal_diffusion.evaluation.scoring.scores import dice
from universal_diffusion.files import write_text
from universal_diffusion.method.bundle import Bundle, load_bundle
from universal_diffusion.preparation.splits import EVALUATED, SplitRow, read_splits, volumes_of
from universal_diffusion.segmentation.presets import GATE
from universal_diffusion.segmentation.sampling.batch_size import batch_size
from universal_diffusion.segmentation.sampling.engine import segment_slabs
from universal_diffusion.segmentation.sampling.gate import gate
from universal_diffusion.segmentation.sampling.image_latents import ImageLatents
from universal_diffusion.segmentation.sampling.noise import case_seed
from universal_diffusion.segmentation.sampling.run import ENCODED
from universal_diffusion.segmentation.sampling.runtime import start_torch
from universal_diffusion.settings import Segmentation, read_json
from universal_diffusion.targets import mask
from universal_diffusion.volumes import Volume, VolumeFile

STEPS, ENSEMBLES = (1, 2, 5, 10, 20), (1, 5)
WARM_SHARE = 0.3  # of the process is run from a warm start
TARGETS = 4  # that a case must have annotated at least


@dataclass(frozen=True)
class Setting:
    """One way to sample: its name in `MODES`, and what the engine is told."""

    mode: str
    sampling: Segmentation


def settings_of(base: Segmentation, timesteps: int) -> list[Setting]:
    """All ways to sample, with everything but steps, ensemble, gate and warm start from `base`.

    Steps beyond those there are (T, or 0.3 T from a warm start) are left out.
    """
    start = round(WARM_SHARE * timesteps) - 1
    ways = zip(MODES, (None, GATE, GATE), (None, None, start), strict=True)
    return [
        Setting(mode, replace(base, steps=steps, ensemble=ensemble, gate=gated, warm_start=warm))
        for mode, gated, warm in ways
        for ensemble in ENSEMBLES
        for steps in STEPS
        if steps <= (timesteps if warm is None else warm + 1)
    ]


def chosen_cases(volumes: Sequence[Path], splits: Sequence[SplitRow]) -> list[Volume]:
    """Of the validation and of the test cases the one with the fewest (slice, target) pairs of at least 4 targets.

    Raises:
        InputError: no case has so many targets.
    """
    parts, smallest = {(row.source, row.case): row.part for row in splits}, {}
    for path in volumes:
        with VolumeFile(path) as file:
            part, pairs = parts[file.source, file.case], file.grid.shape[2] * len(file.annotated)
            if len(file.annotated) >= TARGETS and pairs < smallest.get(part, (np.inf,))[0]:
                smallest[part] = pairs, path
    if not smallest:
        raise InputError("--volumes", f"hold no evaluated case with {TARGETS} annotated targets", "add such a case")
    found = []
    for _, path in smallest.values():
        with VolumeFile(path) as file:
            found.append(file.read())
    return found


def measured(bundle: Bundle, volume: Volume, setting: Setting, seed: int) -> Iterator[dict]:
    """A row per target that the case holds: Dice, and the case's seconds and network calls."""
    sampling, names, started = setting.sampling, volume.annotated, time.perf_counter()
    latents = ImageLatents(bundle, volume.image, sampling.overlap, ENCODED)
    kept = gate(bundle, latents, names, sampling, seed) if sampling.gate else None
    slabs = segment_slabs(bundle, latents, names, sampling, seed, kept)
    found = np.concatenate([slab.mean >= 0.5 for slab in slabs], axis=3)
    seconds, pairs = time.perf_counter() - started, latents.body.sum() * len(names)
    looks = latents.body[kept.looked].sum() * len(names) if kept else 0
    calls = looks + (kept.pairs.sum() if kept else pairs) * sampling.steps * sampling.ensemble
    for row, name in enumerate(names):
        truth = mask(volume.labels, name)
        if truth.any():
            yield {"target": name, "dice": dice(truth, found[row]), "seconds": seconds, "calls": int(calls)}


def sweep(bundle: Bundle, volumes: Sequence[Volume], base: Segmentation, study_seed: int) -> pd.DataFrame:
    """Rows of all settings, cases and targets. The first setting is run once before, untimed: it picks kernels."""
    ways, rows = settings_of(base, bundle.process.timesteps), []
    list(measured(bundle, volumes[0], ways[0], study_seed))
    for setting in tqdm(ways, "sweep", unit="setting", file=sys.stderr, mininterval=2):
        for volume in volumes:
            seed = case_seed(study_seed, volume.source, volume.case)
            place = {"source": volume.source, "case": volume.case, "mode": setting.mode}
            place |= {"ensemble": setting.sampling.ensemble, "steps": setting.sampling.steps}
            rows += [place | row for row in measured(bundle, volume, setting, seed)]
    return pd.DataFrame(rows)


@one_line_errors
def main() -> None:
    """Write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="directory of a variant that predicts the mask")
    parser.add_argument("--volumes", type=Path, nargs="+", required=True, help="directories of harmonised volumes")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv, from `split`")
    parser.add_argument("--settings", required=True, help="JSON of the section `segmentation`")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads")
    tables.add_outputs(parser, ("csv", "md", "png", "svg"))
    arguments = parser.parse_args()
    base, splits = (
        read_json(Segmentation, arguments.settings, "configuration.segmentation"),
        read_splits(arguments.splits),
    )
    volumes = chosen_cases(volumes_of(arguments.volumes, splits, EVALUATED), splits)
    device = start_torch(arguments.threads)
    bundle = load_bundle(arguments.model, device)
    base = replace(base, batch=base.batch or batch_size(bundle, base))
    found = summary(sweep(bundle, volumes, base, arguments.study_seed))
    where = f"{device.type}, {arguments.threads} CPU thread{'s' if arguments.threads > 1 else ''}"
    tables.write_csv(arguments.output_csv, found)
    write_text(arguments.output_md, tables.markdown(printed_table(found, where, arguments.cohort)))
    save(draw(found, where, arguments.cohort), arguments.output_png, arguments.output_svg)


if __name__ == "__main__":
    main()
