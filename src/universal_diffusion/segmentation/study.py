"""Step: predictions of one variant for every validation and test case of a study.

    python -m universal_diffusion.segmentation.study --model DIR --volumes DIR... --splits CSV --settings JSON ...

Writes `<output>/<source>/<case>/<target>{,_mean,_variance}.nii.gz` on the CT's own grid for the targets annotated in
the case, because only those can be scored.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from universal_diffusion.errors import one_line_errors
from universal_diffusion.method.bundle import Bundle, load_bundle
from universal_diffusion.preparation.shards import shard_of
from universal_diffusion.preparation.splits import EVALUATED, read_splits, volumes_of
from universal_diffusion.randomness import seed_of
from universal_diffusion.segmentation.engine import segment
from universal_diffusion.segmentation.native import write_prediction
from universal_diffusion.segmentation.runtime import start_torch
from universal_diffusion.settings import Segmentation, read_json
from universal_diffusion.volumes import VolumeFile


def case_seed(study_seed: int, source: str, case: str) -> int:
    """The noise's seed: the same for a case in every variant, shard and order, so that variants compare in pairs."""
    return seed_of(study_seed, "segmentation", source, case)


def predict_cases(bundle: Bundle, volumes: list[Path], sampling: Segmentation, study_seed: int, output: Path) -> None:
    """Segment every volume's annotated targets; progress counts targets and goes to stderr."""
    output.mkdir(parents=True, exist_ok=True)
    with tqdm(total=_target_count(volumes), unit="target", file=sys.stderr, mininterval=2) as bar:
        for path in volumes:
            with VolumeFile(path) as file:
                volume = file.read()
            folder = output / volume.source / volume.case
            bar.set_description(f"{volume.source} {volume.case}")
            seed = case_seed(study_seed, volume.source, volume.case)
            for maps in segment(bundle, volume.image, volume.annotated, sampling, seed):
                write_prediction(folder, maps.target, maps.mean, maps.variance, volume.grid, volume.native_grid)
                bar.update()


def _target_count(volumes: list[Path]) -> int:
    count = 0
    for path in volumes:
        with VolumeFile(path) as file:
            count += len(file.annotated)
    return count


@one_line_errors
def main() -> None:
    """Segment one shard of a study's cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="directory of a trained variant")
    parser.add_argument("--volumes", type=Path, nargs="+", required=True, help="directories of harmonised volumes")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv, from `split`")
    parser.add_argument("--settings", required=True, help="JSON of the section `segmentation`")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    parser.add_argument("--shard", required=True, help="i-of-n")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads; sums depend on it")
    parser.add_argument("--output", type=Path, required=True, help="folder for <source>/<case>/<target>.nii.gz")
    arguments = parser.parse_args()
    sampling = read_json(Segmentation, arguments.settings, "configuration.segmentation")
    volumes = volumes_of(arguments.volumes, read_splits(arguments.splits), EVALUATED)
    bundle = load_bundle(arguments.model, start_torch(arguments.threads))
    predict_cases(bundle, shard_of(volumes, arguments.shard), sampling, arguments.study_seed, arguments.output)


if __name__ == "__main__":
    main()
