"""Step: the hash of every table of a study, taken when all are made, by which `trace` sees that one was edited since.

python -m universal_diffusion.evaluation.tracing.seal --results DIR --files F... --output F
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from universal_diffusion.errors import one_line_errors
from universal_diffusion.files import sha256, write_json

SEAL = "seal.json"


def seal(results: Path, files: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 of each file, by its name from the folder of results on."""
    return {path.relative_to(results).as_posix(): sha256(path) for path in sorted(files)}


@one_line_errors
def main() -> None:
    """Write the seal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="the study's folder, from which files are told")
    parser.add_argument("--files", type=Path, nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    write_json(arguments.output, seal(arguments.results, arguments.files))


if __name__ == "__main__":
    main()
