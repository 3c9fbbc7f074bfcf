"""Step: predictions of one baseline for every validation and test case of a study.

    python -m universal_diffusion.baselines.predict --model DIR --volumes DIR... --splits CSV --shard 1-of-1 ...

Writes `<output>/<source>/<case>/<target>.nii.gz` on the CT's own grid for the targets annotated in the case, and last
`<output>/SHA256SUMS`.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from tqdm import tqdm

from universal_diffusion.baselines.prior_mask import load_prior
from universal_diffusion.baselines.segresnet import load_segmenter
from universal_diffusion.checksums import hashes, write_sums
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.method.weights import load_card
from universal_diffusion.segmentation.outputs.nifti_output import write_mask
from universal_diffusion.segmentation.sampling.runtime import start_torch
from universal_diffusion.segmentation.study_arguments import add_cases, cases_asked
from universal_diffusion.targets import target
from universal_diffusion.volumes import Volume, VolumeFile


class Baseline(Protocol):
    """A system that segments the annotated targets of a case."""

    def predict(self, volume: Volume) -> Iterator[tuple[str, np.ndarray]]:
        """Name and boolean mask, on the CT's own grid, of each target annotated in the case."""


def load_baseline(directory: Path, device: torch.device) -> Baseline:
    """The baseline whose training wrote `directory`. Raises InputError for a model of another kind."""
    kind = load_card(directory).get("kind")
    if kind == "prior_mask":
        return load_prior(directory)
    if kind == "segresnet":
        return load_segmenter(directory, device)
    raise InputError(directory, "holds no baseline", "give models/prior_mask or models/segresnet of a study")


def predict_cases(baseline: Baseline, volumes: Sequence[Path], output: Path) -> None:
    """Segment every volume's annotated targets."""
    output.mkdir(parents=True, exist_ok=True)
    sums = {}
    for path in tqdm(volumes, desc="predict", unit="case", file=sys.stderr, mininterval=2):
        with VolumeFile(path) as file:
            volume = file.read()
        folder = output / volume.source / volume.case
        for name, mask in baseline.predict(volume):
            file = folder / f"{target(name).slug}.nii.gz"
            write_mask(file, mask, volume.native_grid)
            sums |= hashes(output, [file])
    write_sums(output, sums)


@one_line_errors
def main() -> None:
    """Segment one shard of a study's cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_cases(parser, "a trained baseline")
    parser.add_argument("--output", type=Path, required=True, help="folder for <source>/<case>/<target>.nii.gz")
    arguments = parser.parse_args()
    volumes, _ = cases_asked(arguments)
    baseline = load_baseline(arguments.model, start_torch(arguments.threads))
    predict_cases(baseline, volumes, arguments.output)


if __name__ == "__main__":
    main()
