"""Step: what the gate of one variant keeps, saves and misses, in every validation and test case of a study.

    python -m universal_diffusion.evaluation.sampling.gate --model DIR --volumes DIR... --splits CSV --settings JSON ...

The gate is the configuration's or, where that has none, the command line's (`presets.GATE`); the targets are those
annotated in a case, and a network call is one denoiser step of one sample in one window. Truth is counted on the
harmonised grid, where the gate works.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.sampling.gate_rows import COUNTS, write_rows
from universal_diffusion.method.bundle import Bundle, load_bundle
from universal_diffusion.segmentation.presets import GATE
from universal_diffusion.segmentation.sampling.gate import gate
from universal_diffusion.segmentation.sampling.image_latents import ImageLatents
from universal_diffusion.segmentation.sampling.kept import Kept
from universal_diffusion.segmentation.sampling.noise import case_seed
from universal_diffusion.segmentation.sampling.run import ENCODED
from universal_diffusion.segmentation.sampling.runtime import start_torch
from universal_diffusion.segmentation.study_arguments import add_cases, add_sampling, cases_asked, sampling_asked
from universal_diffusion.settings import Segmentation
from universal_diffusion.targets import mask
from universal_diffusion.volumes import Volume, VolumeFile


def case_rows(volume: Volume, kept: Kept, sampling: Segmentation) -> Iterator[dict]:
    """`gate_rows.COUNTS` of every target of a case."""
    pairs, looks, each = int(kept.body.sum()), int(kept.body[kept.looked].sum()), sampling.steps * sampling.ensemble
    for row, name in enumerate(kept.targets):
        truth, chosen = mask(volume.labels, name), int(kept.pairs[row].sum())
        missed = sum(
            np.count_nonzero(truth[..., z] & ~kept.footprint(name, z)) for z in np.flatnonzero(truth.any((0, 1)))
        )
        yield {
            "target": name,
            "pairs": pairs,
            "kept": chosen,
            "ungated_calls": pairs * each,
            "gated_calls": looks + chosen * each,
            "truth_voxels": int(truth.sum()),
            "missed_voxels": int(missed),
        }


def gate_cases(bundle: Bundle, volumes: Sequence[Path], sampling: Segmentation, study_seed: int) -> Iterator[dict]:
    """The rows of all cases, with source and case; progress goes to stderr."""
    for path in tqdm(volumes, "gate", unit="case", file=sys.stderr, mininterval=2):
        with VolumeFile(path) as file:
            volume = file.read()
        latents = ImageLatents(bundle, volume.image, sampling.overlap, ENCODED)
        seed = case_seed(study_seed, volume.source, volume.case)
        kept = gate(bundle, latents, volume.annotated, sampling, seed)
        for row in case_rows(volume, kept, sampling):
            yield {"source": volume.source, "case": volume.case} | row


@one_line_errors
def main() -> None:
    """Write the rows of one shard."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_cases(parser, "a variant that predicts the mask")
    add_sampling(parser)
    parser.add_argument("--variant", required=True, help="the model's name in the table")
    parser.add_argument("--output", type=Path, required=True, help="table to write")
    arguments = parser.parse_args()
    sampling, (volumes, splits) = sampling_asked(arguments), cases_asked(arguments)
    sampling = replace(sampling, gate=sampling.gate or GATE)
    parts = {(row.source, row.case): row.part for row in splits}
    bundle = load_bundle(arguments.model, start_torch(arguments.threads))
    rows = pd.DataFrame(
        gate_cases(bundle, volumes, sampling, arguments.study_seed), columns=["source", "case", "target", *COUNTS]
    )
    rows["variant"] = arguments.variant
    rows["part"] = [parts[place] for place in zip(rows["source"], rows["case"], strict=True)]
    write_rows(arguments.output, rows)


if __name__ == "__main__":
    main()
