"""The step that writes one source's native archives of the embedded cohort."""

import argparse
from pathlib import Path

from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.files import sha256, write_json
from universal_diffusion.phantom.archives import abdomenct1k, amos, btcv, ircadb, kits23, msd, pancreas_ct, word
from universal_diffusion.settings import Phantom, read_json

WRITERS = dict.fromkeys(msd.TASKS, msd.write) | {
    "btcv": btcv.write,
    "kits23": kits23.write,
    "pancreas_ct": pancreas_ct.write,
    "abdomenct1k": abdomenct1k.write,
    "amos": amos.write,
    "word": word.write,
    "ircadb": ircadb.write,
}
SMALLEST_MATRIX = 16  # fields of view vary by its sixteenths
NOTE = "Synthetic patients of the embedded cohort, written by universal_diffusion.phantom; no person was scanned."


def write(source: str, phantom: Phantom, study_seed: int, directory: Path) -> None:
    """Write the archives of `source` and their `origin.json` into `directory`, which must be empty or absent.

    The same source, settings and seed give the same bytes. Raises InputError for a source without a phantom.
    """
    if source not in WRITERS:
        raise InputError(f"source {source}", "has no phantom", f"take one of {', '.join(WRITERS)}, or another origin")
    if phantom.matrix < SMALLEST_MATRIX or not 0 < phantom.slice_spacing_mm[0] <= phantom.slice_spacing_mm[1]:
        raise InputError(
            "phantom",
            f"has matrix {phantom.matrix} and slice_spacing_mm {phantom.slice_spacing_mm}",
            f"give a matrix of at least {SMALLEST_MATRIX} and the smaller spacing, above 0, first",
        )
    if directory.exists() and any(directory.iterdir()):
        raise InputError(directory, "is not empty", "delete it: archives are written whole")
    WRITERS[source](source, phantom, study_seed, directory)
    written = sorted(path for path in directory.rglob("*") if path.is_file())
    files = [
        {"name": path.relative_to(directory).as_posix(), "sha256": sha256(path), "bytes": path.stat().st_size}
        for path in written
    ]
    write_json(directory / "origin.json", {"origin": "phantom", "note": NOTE, "files": files})


@one_line_errors
def main() -> None:
    """Command line of the step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, help="key of the dataset catalogue")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    parser.add_argument("--settings", required=True, help="JSON of settings.Phantom")
    parser.add_argument("--output", type=Path, required=True, help="directory")
    given = parser.parse_args()
    write(given.source, read_json(Phantom, given.settings, "settings"), given.study_seed, given.output)


if __name__ == "__main__":
    main()
