"""The command line: `universal-diffusion targets`, `segment`, `view`, `check-dataset`, `trace`, `doctor`, `costs`."""

import argparse
import sys
from pathlib import Path

from universal_diffusion import __version__
from universal_diffusion.errors import one_line_errors
from universal_diffusion.segmentation.options import add_segment
from universal_diffusion.targets import Target, all_targets

DESCRIPTION = """\
Segment a CT with a trained guided latent diffusion model: one network, 29 targets, each named by its prompt.

For research only; this is no medical device."""

CHECK = """\
Check a dataset of your own before a study reads it: a folder of CTs and masks with a dataset.yaml
(docs/own-dataset.md).

Reads every case. Prints each with its targets in ml (and voxels), each target over all cases, then everything that is
odd (warnings) or that a study would refuse (problems). Exit status 1 if there are problems."""

TRACE = """\
Say what one cell of a study's table was made from (docs/trace.md): score rows, predictions, volumes, archives, weights,
configuration, commit, environment and seeds. Hashes are verified, and the cell's value is computed again.

Exit status 1 if anything differs from what the study recorded."""


DOCTOR = """\
Say what this machine lacks for a study, before it is run: disk, memory, GPU, credentials, weights, packages, conda and
SLURM. Nothing is changed and nothing fetched; no credential's value is read out.

Exit status 1 if anything is missing; each such line says what to do."""


@one_line_errors
def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit status 0, 2 with one line on what was wrong, 1 for what was examined with problems."""
    parsed = _parser().parse_args(arguments)
    parsed.command(parsed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "universal-diffusion", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_targets(commands)
    add_segment(commands).set_defaults(command=_segment)
    _add_view(commands)
    _add_check_dataset(commands)
    _add_trace(commands)
    _add_doctor(commands)
    _add_costs(commands)
    return parser


def _add_targets(commands) -> None:
    parser = commands.add_parser(
        "targets",
        help="list the 29 targets, or those of a model",
        description="List the 29 targets with their number, their kind and the organs that a tumour or cyst lies in.",
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="only those that this model was trained on")
    parser.add_argument("-v", "--verbose", action="store_true", help="also their prompts and SNOMED CT codes")
    parser.set_defaults(command=_targets)


def _add_view(commands) -> None:
    parser = commands.add_parser(
        "view",
        help="look at a result in a browser",
        description="Write view.html into a result's folder and open it: CT, masks and maps in one page, offline.",
    )
    parser.add_argument("result", type=Path, metavar="RESULT", help="the folder that `segment` wrote")
    parser.add_argument("--ct", type=Path, metavar="CT", help="the CT, if it is no longer where it was segmented")
    parser.add_argument("--series", metavar="N|UID", help="its DICOM series, as for `segment`; needs --ct")
    parser.add_argument("--full", action="store_true", help="every voxel, however large the page becomes")
    parser.add_argument("--no-browser", action="store_true", help="write the page, but do not open it")
    parser.set_defaults(command=_view)


def _add_check_dataset(commands) -> None:
    parser = commands.add_parser(
        "check-dataset",
        help="check a dataset of your own",
        description=CHECK,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="the folder that holds dataset.yaml")
    parser.set_defaults(command=_check_dataset)


def _add_trace(commands) -> None:
    parser = commands.add_parser(
        "trace",
        help="say what one cell of a study's table was made from",
        description=TRACE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", type=Path, metavar="TABLE", help="such as results/<study>/tables/table3.csv")
    parser.add_argument("--cell", nargs="+", required=True, metavar="NAME", help="its column and row, by key or label")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_trace)


def _add_doctor(commands) -> None:
    parser = commands.add_parser(
        "doctor",
        help="say what this machine lacks for a study",
        description=DOCTOR,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--configfile",
        type=Path,
        default=Path("config/config.yaml"),
        metavar="FILE",
        help="the study, as for snakemake; %(default)s without it",
    )
    parser.add_argument("--profile", type=Path, metavar="DIR", help="the Snakemake profile that will run it")
    parser.add_argument("--use-conda", action="store_true", help="its rules will run in conda environments")
    parser.add_argument("--online", action="store_true", help="ask the servers of what is still to be fetched")
    parser.set_defaults(command=_doctor)


def _add_costs(commands) -> None:
    parser = commands.add_parser(
        "costs",
        help="say what a study costs: disk, time and money",
        description="Print, in Markdown, what a study costs before it is run: disk, time and money (docs/costs.md).",
    )
    parser.add_argument(
        "--configfile",
        type=Path,
        default=Path("config/paper.yaml"),
        metavar="FILE",
        help="the study; %(default)s without it",
    )
    parser.add_argument("--price", type=float, default=2.5, metavar="N", help="of a GPU-hour; %(default)s, assumed")
    parser.add_argument("--currency", default="USD", metavar="NAME", help="%(default)s without it")
    parser.set_defaults(command=_costs)


def _targets(arguments: argparse.Namespace) -> None:
    listed = all_targets()
    if arguments.model:
        from universal_diffusion.segmentation.card import variant_card

        trained = variant_card(arguments.model)["targets"]
        listed = tuple(target for target in listed if target.name in trained)
    for target in listed:
        print(_described(target) if arguments.verbose else _line(target))


def _line(target: Target) -> str:
    lies_in = f"in {' or '.join(target.parents)}" if target.parents else ""
    return f"{target.id:2d}  {target.name:28s}  {target.kind:6s}  {lies_in}".rstrip()


def _described(target: Target) -> str:
    """A target with its prompt and its SNOMED CT codes."""
    codes = [target.type, *filter(None, [target.laterality]), *target.regions]
    coded = ", ".join(f"{code.value} {code.meaning}" for code in codes)
    return f"{_line(target)}\n    prompt: {target.prompt}\n    SNOMED CT: {coded}"


def _segment(arguments: argparse.Namespace) -> None:
    try:
        from universal_diffusion.segmentation.command import run

        run(arguments)
        return
    except KeyboardInterrupt:
        pass  # out of this block the progress bars are gone, which end their line first
    print("interrupted: the same command goes on from the last finished slab", file=sys.stderr)
    raise SystemExit(130)


def _view(arguments: argparse.Namespace) -> None:
    from universal_diffusion.viewer.command import view

    view(arguments)


def _check_dataset(arguments: argparse.Namespace) -> None:
    from universal_diffusion.preparation.check_dataset import check, printed

    report = check(arguments.folder)
    print(printed(report))
    if report.problems:
        raise SystemExit(1)


def _trace(arguments: argparse.Namespace) -> None:
    from universal_diffusion.evaluation.tracing.trace import as_json, printed, trace

    traced = trace(arguments.table, arguments.cell)
    print(as_json(traced) if arguments.json else printed(traced))
    if not traced.sound:
        raise SystemExit(1)


def _doctor(arguments: argparse.Namespace) -> None:
    from universal_diffusion.doctor.command import run

    run(arguments)


def _costs(arguments: argparse.Namespace) -> None:
    from universal_diffusion.costs.page import run

    run(arguments)


if __name__ == "__main__":
    main()
