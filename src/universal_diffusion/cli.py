"""The face of the library: `universal-diffusion targets`, `segment` and `check-dataset`."""

import argparse
import os
from pathlib import Path

from universal_diffusion import __version__
from universal_diffusion.errors import one_line_errors
from universal_diffusion.settings import Segmentation
from universal_diffusion.targets import all_targets

DESCRIPTION = """\
Segment a CT with a trained guided latent diffusion model: one network, 29 targets, each named by its prompt.

For research only; this is no medical device."""

SEGMENT = """\
Segment targets in one CT: a NIfTI file (.nii, .nii.gz), a folder of DICOM files, or a .zip of one.

Every target gives three files on the CT's own grid, in the output folder:
  <target>.nii.gz           the mask, 0 and 1: where the mean is at least 0.5
  <target>_mean.nii.gz      mean over the ensemble of the probability that a voxel is in the target
  <target>_variance.nii.gz  its variance over the ensemble: how much the samples disagree
and all together segmentation.json: volumes, model card, hash of the weights, seed, sampling, timings."""

EXAMPLES = """\
examples:
  universal-diffusion segment -i ct.nii.gz -o masks --model results/embedded/models/mask_clip --targets liver spleen
  universal-diffusion segment -i dicom/ -o masks --model MODEL --targets "kidney tumor" --steps 20 --ensemble 10

The same CT, model, seed, device and number of threads give the same masks, whatever other targets are asked for.
Time grows with targets x steps x ensemble."""

CHECK = """\
Check a dataset of your own before a study reads it: a folder of CTs and masks with a dataset.yaml
(docs/own-dataset.md).

Reads every case. Prints each with its targets in ml (and voxels), each target over all cases, then everything that is
odd (warnings) or that a study would refuse (problems). Exit status 1 if there are problems."""

SAMPLER, ETA, OVERLAP, BATCH = "ddim", 1.0, 0.25, 32


@one_line_errors
def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit status 0, 2 with one line on what was wrong, 1 for a dataset with problems."""
    parsed = _parser().parse_args(arguments)
    parsed.command(parsed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "universal-diffusion", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_targets(commands)
    _add_segment(commands)
    _add_check_dataset(commands)
    return parser


def _add_targets(commands) -> None:
    parser = commands.add_parser(
        "targets",
        help="list the 29 targets, or those of a model",
        description="List the 29 targets with their kind and the organs a tumour or cyst lies in.",
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="only those that this model was trained on")
    parser.set_defaults(command=_targets)


def _add_segment(commands) -> None:
    parser = commands.add_parser(
        "segment",
        help="segment targets in one CT",
        description=SEGMENT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-i", "--input", type=Path, required=True, metavar="CT", help="NIfTI file, DICOM folder or zip")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the masks")
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="folder of a trained variant")
    parser.add_argument(
        "--targets", nargs="+", default=[], metavar="NAME", help="what to segment (all that the model knows)"
    )
    parser.add_argument("--steps", type=_positive, default=10, metavar="N", help="denoising steps per sample (10)")
    parser.add_argument("--ensemble", type=_positive, default=5, metavar="E", help="samples per target (5)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the noise (0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")
    parser.add_argument(
        "--threads", type=_positive, default=os.cpu_count(), metavar="T", help="CPU threads (all of them)"
    )
    parser.set_defaults(command=_segment)


def _add_check_dataset(commands) -> None:
    parser = commands.add_parser(
        "check-dataset",
        help="check a dataset of your own",
        description=CHECK,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="the folder that holds dataset.yaml")
    parser.set_defaults(command=_check_dataset)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _targets(arguments: argparse.Namespace) -> None:
    listed = all_targets()
    if arguments.model:
        from universal_diffusion.method.weights import load_card

        trained = load_card(arguments.model).get("targets", [])
        listed = tuple(target for target in listed if target.name in trained)
    for target in listed:
        lies_in = f"in {' or '.join(target.parents)}" if target.parents else ""
        print(f"{target.id:2d}  {target.name:28s}  {target.kind:6s}  {lies_in}".rstrip())


def _segment(arguments: argparse.Namespace) -> None:
    from universal_diffusion.segmentation.new_ct import segment_ct

    sampling = Segmentation(SAMPLER, arguments.steps, ETA, arguments.ensemble, OVERLAP, batch=BATCH)
    result = segment_ct(
        arguments.input,
        arguments.model,
        arguments.output,
        tuple(arguments.targets),
        sampling,
        arguments.seed,
        arguments.device,
        arguments.threads,
    )
    for name, volume_ml in result.volumes_ml.items():
        print(f"{name:28s}  {volume_ml:10.1f} ml")
    print(f"model trained on: {result.cohort}")
    print(f"written: {result.report.parent} ({result.report.name} says how)")


def _check_dataset(arguments: argparse.Namespace) -> None:
    from universal_diffusion.preparation.check_dataset import check, printed

    report = check(arguments.folder)
    print(printed(report))
    if report.problems:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
