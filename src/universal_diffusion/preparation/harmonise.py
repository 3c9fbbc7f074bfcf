"""Step: the cases of one source, or one shard of them, as harmonised volumes."""

import argparse
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from tqdm import tqdm

from universal_diffusion.datasets.base import Reader
from universal_diffusion.datasets.mirror import unmirrored
from universal_diffusion.datasets.readers import chosen_cases
from universal_diffusion.errors import one_line_errors
from universal_diffusion.preparation.origin import read_origin
from universal_diffusion.preparation.shards import shard_of
from universal_diffusion.preparation.transforms import harmonise
from universal_diffusion.preparation.unpacked import unpacked
from universal_diffusion.settings import Preparation, read_json
from universal_diffusion.volumes import write_volume


def harmonise_cases(
    native: Reader, cases: Sequence[str], settings: Preparation, output: Path, mirrored: Collection[str] = ()
) -> None:
    """Write `<case>.h5` into `output` for each of the cases; those `mirrored` are turned round first."""
    output.mkdir(parents=True, exist_ok=True)
    for case in tqdm(cases, desc="harmonise", unit="case", file=sys.stderr):
        read = unmirrored(native.read(case)) if case in mirrored else native.read(case)
        write_volume(output / f"{case}.h5", harmonise(read, settings))


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, help="key of the dataset catalogue")
    parser.add_argument("--native", required=True, type=Path, help="unpacked native tree")
    parser.add_argument("--settings", required=True, help="JSON of settings.Preparation")
    parser.add_argument("--shard", required=True, help="i-of-n")
    parser.add_argument("--output", required=True, type=Path, help="folder for <case>.h5")
    arguments = parser.parse_args()
    native = unpacked(arguments.source, arguments.native)
    origin, found = read_origin(arguments.native), native.cases()
    cases = chosen_cases(arguments.source, found, origin.cases)
    mirrored = chosen_cases(arguments.source, found, origin.mirrored, "mirrored") if origin.mirrored else ()
    settings = read_json(Preparation, arguments.settings, "settings")
    harmonise_cases(native, shard_of(cases, arguments.shard), settings, arguments.output, mirrored)


if __name__ == "__main__":
    main()
