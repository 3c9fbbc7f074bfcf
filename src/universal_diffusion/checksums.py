"""Hashes that lie beside files, in the format of `sha256sum`, and are compared when the files are read.

A folder of predictions, and a native tree, ends with `SHA256SUMS` (`sha256sum -c SHA256SUMS` checks it by hand). A
table that one rule hands to another has `<name>.sha256` beside it; a table without one is read as it is, so that one
may be edited.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from universal_diffusion.errors import InputError
from universal_diffusion.files import sha256, write_text

SUMS = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def hashes(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files by their names from `folder` on."""
    return {Path(path).relative_to(folder).as_posix(): sha256(path) for path in files}


def write_sums(folder: Path, known: Mapping[str, str]) -> None:
    """Write `SHA256SUMS` into a folder whose files are all there."""
    write_text(folder / SUMS, "".join(f"{known[name]}  {name}\n" for name in sorted(known)))


def read_sums(folder: Path, remedy: str) -> dict[str, str]:
    """What `write_sums` wrote. Raises InputError, with the remedy given, for a file that is missing or no such."""
    path = folder / SUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"cannot be read ({error}): its folder is not whole", remedy) from None
    matches = [LINE.fullmatch(line) for line in lines]
    if None in matches:
        raise InputError(path, f"is damaged in line {matches.index(None) + 1}", remedy)
    return {match[2]: match[1] for match in matches}


def write_with_hash(path: Path, text: str) -> None:
    """Write the text of a table, and its hash beside it."""
    path = Path(path)
    write_text(path, text)
    write_text(beside(path), f"{sha256(path)}  {path.name}\n")


def check_hash(path: Path) -> None:
    """Raise InputError for a table that is not what the hash beside it was taken of."""
    path = Path(path)
    known = beside(path)
    if known.exists() and known.read_bytes() != f"{sha256(path)}  {path.name}\n".encode():
        raise InputError(
            path,
            f"is not the table that {known.name} was made for: one of both is damaged or edited",
            f"delete both and run again: Snakemake remakes them (to use an edited table, delete {known.name} alone)",
        )


def beside(path: Path) -> Path:
    """Where a table's hash lies."""
    return path.with_name(f"{path.name}.sha256")
