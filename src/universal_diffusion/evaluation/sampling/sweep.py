"""Step: what sampling buys - Dice over steps, ensemble, gate and warm start, on a few cases of a study.

    python -m universal_diffusion.evaluation.sampling.sweep --model DIR --volumes DIR... --splits CSV ...

Cost is counted in operations, which depend on no clock (`sampling.*`), and timed (`sampling_seconds.*`), in files of
their own. Timed is everything from a harmonised volume in memory to its masks: gate, encoding, sampling, decoding,
blending. Dice is that of the ensemble's mean at 0.5, on the harmonised grid, over the annotated targets of a case.
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
from universal_diffusion.evaluation.beyond.cost import costs
from universal_diffusion.evaluation.drawing import save
from universal_diffusion.evaluation.sampling.sampling_rows import read_found, read_timed, summary, write_rows
from universal_diffusion.evaluation.sampling.sweep_report import MODES, draw, draw_seconds, printed_table
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
from universal_diffusion.settings import Segmentation, Sweep, read_json
from universal_diffusion.targets import mask
from universal_diffusion.volumes import Volume, VolumeFile

WARM_SHARE = 0.3  # of the process is run from a warm start
TARGETS = 4  # annotated in a case are enough; one with fewer is taken only where there is no other


@dataclass(frozen=True)
class Setting:
    """One way to sample: its name in `MODES`, and what the engine is told."""

    mode: str
    sampling: Segmentation


def settings_of(base: Segmentation, grid: Sweep, timesteps: int) -> list[Setting]:
    """All ways to sample, with everything but steps, ensemble, gate and warm start from `base`.

    Steps beyond those there are (T, or 0.3 T from a warm start) are left out.
    """
    start = round(WARM_SHARE * timesteps) - 1
    ways = zip(MODES, (None, GATE, GATE), (None, None, start), strict=True)
    return [
        Setting(mode, replace(base, steps=steps, ensemble=ensemble, gate=gated, warm_start=warm))
        for mode, gated, warm in ways
        for ensemble in grid.ensembles
        for steps in grid.steps
        if steps <= (timesteps if warm is None else warm + 1)
    ]


def chosen_cases(volumes: Sequence[Path], splits: Sequence[SplitRow], count: int) -> list[Volume]:
    """The cheapest `count` cases, test and validation in turn: those with the fewest (slice, target) pairs.

    Raises:
        InputError: there is no case.
    """
    parts = {(row.source, row.case): row.part for row in splits}
    queues: dict[str, list[tuple]] = {}
    for path in volumes:
        with VolumeFile(path) as file:
            pairs = len(file.annotated) < TARGETS, file.grid.shape[2] * len(file.annotated)
            queues.setdefault(parts[file.source, file.case], []).append((*pairs, file.source, file.case, path))
    if not queues:
        raise InputError("--volumes", "hold no validation or test case", "evaluate more cases")
    ranked = [(place, part, row[-1]) for part, rows in queues.items() for place, row in enumerate(sorted(rows))]
    found = []
    for _, _, path in sorted(ranked)[:count]:
        with VolumeFile(path) as file:
            found.append(file.read())
    return found


def gigaflops(parts: pd.Series, windows: int, looks: int, pairs: int, sampling: Segmentation) -> float:
    """Operations of a case in GFLOP, from those of its parts (a row of `cost.costs`).

    Every window with body is encoded; a look is one step and one sample; a pair is sampled `steps` times `ensemble`.
    """
    once = windows * parts["encode_image_gflop"] + (looks + pairs) * parts["image_features_gflop"]
    calls = looks + pairs * sampling.steps * sampling.ensemble
    decoded = looks + pairs * sampling.ensemble
    return once + calls * parts["denoiser_step_gflop"] + decoded * parts["decode_mask_gflop"]


def measured(bundle: Bundle, volume: Volume, setting: Setting, parts: pd.Series, seed: int) -> Iterator[dict]:
    """A row per target that the case holds: Dice, and the case's seconds, denoiser calls and operations."""
    sampling, names, started = setting.sampling, volume.annotated, time.perf_counter()
    latents = ImageLatents(bundle, volume.image, sampling.overlap, ENCODED)
    kept = gate(bundle, latents, names, sampling, seed) if sampling.gate else None
    slabs = segment_slabs(bundle, latents, names, sampling, seed, kept)
    found = np.concatenate([slab.mean >= 0.5 for slab in slabs], axis=3)
    seconds, windows = time.perf_counter() - started, int(latents.body.sum())
    looks = int(latents.body[kept.looked].sum()) * len(names) if kept else 0
    pairs = int(kept.pairs.sum()) if kept else windows * len(names)
    cost = {"seconds": seconds, "calls": looks + pairs * sampling.steps * sampling.ensemble}
    cost["gflop"] = gigaflops(parts, windows, looks, pairs, sampling)
    for row, name in enumerate(names):
        truth = mask(volume.labels, name)
        if truth.any():
            yield {"target": name, "dice": dice(truth, found[row])} | cost


def sweep(bundle: Bundle, volumes: Sequence[Volume], base: Segmentation, grid: Sweep, study_seed: int) -> pd.DataFrame:
    """Rows of all settings, cases and targets. The first setting is run once before, untimed: it picks kernels."""
    ways, rows = settings_of(base, grid, bundle.process.timesteps), []
    parts = costs(bundle, base).set_index("space").loc["latent"]
    list(measured(bundle, volumes[0], ways[0], parts, study_seed))
    for setting in tqdm(ways, "sweep", unit="setting", file=sys.stderr, mininterval=2):
        for volume in volumes:
            seed = case_seed(study_seed, volume.source, volume.case)
            place = {"source": volume.source, "case": volume.case, "mode": setting.mode}
            place |= {"ensemble": setting.sampling.ensemble, "steps": setting.sampling.steps}
            rows += [place | row for row in measured(bundle, volume, setting, parts, seed)]
    return pd.DataFrame(rows)


@one_line_errors
def main() -> None:
    """Write the two tables and the two figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="directory of a variant that predicts the mask")
    parser.add_argument("--volumes", type=Path, nargs="+", required=True, help="directories of harmonised volumes")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv, from `split`")
    parser.add_argument("--settings", required=True, help="JSON of the section `segmentation`")
    parser.add_argument("--sweep", required=True, help="JSON of the section `sweep`")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads")
    kinds = (*tables.KINDS, "png", "svg", "rows")
    tables.add_outputs(parser, [f"{cost}{kind}" for cost in ("", "seconds-") for kind in kinds])
    arguments = parser.parse_args()
    base = read_json(Segmentation, arguments.settings, "configuration.segmentation")
    grid, splits = read_json(Sweep, arguments.sweep, "configuration.sweep"), read_splits(arguments.splits)
    volumes = chosen_cases(volumes_of(arguments.volumes, splits, EVALUATED), splits, grid.cases)
    device = start_torch(arguments.threads)
    bundle = load_bundle(arguments.model, device)
    base = replace(base, batch=base.batch or batch_size(bundle, base))
    rows = sweep(bundle, volumes, base, grid, arguments.study_seed)
    write_rows(rows, arguments.output_rows, arguments.output_seconds_rows)
    where = f"{device.type}, {arguments.threads} CPU thread{'s' if arguments.threads > 1 else ''}"
    _write(arguments, where)


def _write(arguments: argparse.Namespace, where: str) -> None:
    """Tables and figures, from the rows as they were written."""
    counted = summary(read_found(arguments.output_rows))
    timed = summary(read_timed(arguments.output_rows, arguments.output_seconds_rows))
    cohort = arguments.cohort
    tables.write_outputs(arguments, counted, printed_table(counted, "gflop", "GFLOP", cohort))
    save(draw(counted, cohort), arguments.output_png, arguments.output_svg)
    printed = printed_table(timed, "seconds", f"s, {where}", cohort)
    tables.write_csv(arguments.output_seconds_csv, timed)
    write_text(arguments.output_seconds_md, tables.markdown(printed))
    write_text(arguments.output_seconds_tex, tables.latex(printed))
    save(draw_seconds(timed, where, cohort), arguments.output_seconds_png, arguments.output_seconds_svg)


if __name__ == "__main__":
    main()
