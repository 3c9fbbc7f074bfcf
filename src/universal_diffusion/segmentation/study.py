"""Step: predictions of one variant for every validation and test case of a study.

    python -m universal_diffusion.segmentation.study --model DIR --volumes DIR... --splits CSV --settings JSON ...

Writes `<output>/<source>/<case>/<target>{,_mean,_variance}.nii.gz` on the CT's own grid for the targets
annotated in the case, because only those can be scored. `<output>/SHA256SUMS` comes last: without it, or with another
hash than there, no prediction is read. Until a shard is whole its slabs lie beside the output, in
`.unfinished-<output>`, where a job that was cut off finds them again.
"""

import argparse
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from universal_diffusion.checksums import hashes, write_sums
from universal_diffusion.errors import one_line_errors
from universal_diffusion.files import sha256
from universal_diffusion.method.bundle import Bundle, load_bundle
from universal_diffusion.segmentation.outputs.native_files import write_native
from universal_diffusion.segmentation.sampling.noise import case_seed
from universal_diffusion.segmentation.sampling.run import sample_volume
from universal_diffusion.segmentation.sampling.runtime import start_torch
from universal_diffusion.segmentation.sampling.slab_store import SlabStore
from universal_diffusion.segmentation.study_arguments import add_cases, add_sampling, cases_asked, sampling_asked
from universal_diffusion.settings import Segmentation
from universal_diffusion.volumes import Volume, VolumeFile

WRITTEN = ("mask", "mean", "variance")  # what is scored


def predict_cases(
    bundle: Bundle, volumes: list[Path], sampling: Segmentation, study_seed: int, output: Path, threads: int
) -> None:
    """Segment every volume's annotated targets; each case's progress goes to stderr."""
    output.mkdir(parents=True, exist_ok=True)
    unfinished, sums = output.with_name(f".unfinished-{output.name}"), {}
    for number, path in enumerate(volumes, 1):
        with VolumeFile(path) as file:
            volume = file.read()
        print(f"case {number}/{len(volumes)}: {volume.source} {volume.case}", file=sys.stderr, flush=True)
        if volume.annotated:
            case = Path(volume.source, volume.case)
            given = {"volume": sha256(path), "threads": threads}
            store = _sampled(bundle, volume, sampling, study_seed, unfinished / case, given)
            write_native(store, volume.native_grid, output / case, WRITTEN, threads=threads)
            store.close()
            sums |= hashes(output, (output / case).glob("*.nii.gz"))
    write_sums(output, sums)
    shutil.rmtree(unfinished, ignore_errors=True)


def _sampled(
    bundle: Bundle, volume: Volume, sampling: Segmentation, study_seed: int, folder: Path, given: dict
) -> SlabStore:
    seed = case_seed(study_seed, volume.source, volume.case)
    weights = bundle.card["weights_sha256"]
    identity = {"weights": weights, "sampling": asdict(sampling), "seed": seed} | given
    return sample_volume(
        bundle, volume.image, volume.grid, volume.annotated, sampling, seed, folder, identity, show=True
    )


@one_line_errors
def main() -> None:
    """Segment one shard of a study's cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_cases(parser, "a trained variant")
    add_sampling(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder for <source>/<case>/<target>.nii.gz")
    arguments = parser.parse_args()
    sampling, (volumes, _) = sampling_asked(arguments), cases_asked(arguments)
    bundle = load_bundle(arguments.model, start_torch(arguments.threads))
    predict_cases(bundle, volumes, sampling, arguments.study_seed, arguments.output, arguments.threads)


if __name__ == "__main__":
    main()
