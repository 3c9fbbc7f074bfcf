"""Reading and writing `splits.csv`: which part of the study each case belongs to."""

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from universal_diffusion.checksums import check_hash, write_with_hash
from universal_diffusion.errors import InputError
from universal_diffusion.volumes import VolumeFile

PARTS = ("train", "validation", "test", "excluded")
EVALUATED = ("validation", "test")
REMEDY = "delete it and run again: rule `split` remakes it"


@dataclass(frozen=True)
class SplitRow:
    """One case. `group` is common to all copies of a scan; `part` is one of `PARTS`.

    `reason` says why a case is excluded, or trained on although it shows a test patient.
    """

    source: str
    dataset: str
    case: str
    group: str
    part: str
    reason: str


def write_splits(path: Path, rows: Iterable[SplitRow]) -> None:
    """Write the rows in the order given."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(SplitRow)])
    writer.writerows(astuple(row) for row in rows)
    write_with_hash(path, text.getvalue())


def read_splits(path: Path) -> tuple[SplitRow, ...]:
    """All rows of `splits.csv`. Raises InputError for a file that is no such table, or is damaged."""
    check_hash(path)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = tuple(SplitRow(**row) for row in csv.DictReader(file))
    except (OSError, TypeError, UnicodeDecodeError) as error:
        raise InputError(path, f"is no table of splits ({error})", REMEDY) from None
    wrong = sorted({row.part for row in rows} - set(PARTS))
    if wrong:
        raise InputError(path, f"has the part {wrong[0]!r}", f"expected one of {', '.join(PARTS)}")
    return rows


def volumes_of(directories: Iterable[Path], rows: Sequence[SplitRow], parts: Collection[str]) -> list[Path]:
    """The stored volumes, in the order of `rows`, of the cases that belong to `parts`.

    Raises InputError if one is missing from, or found twice in, the directories.
    """
    wanted = [(row.source, row.case) for row in rows if row.part in parts]
    names = {case for _, case in wanted}
    found = {}
    for path in sorted(path for directory in directories for path in Path(directory).glob("*.h5")):
        if path.stem in names:
            with VolumeFile(path) as volume:
                key = volume.source, volume.case
            if key in found:
                raise InputError(path, f"is a second volume of {key[0]} {key[1]}", f"remove it or {found[key]}")
            found[key] = path
    missing = [key for key in wanted if key not in found]
    if missing:
        raise InputError(
            f"{missing[0][0]} {missing[0][1]}",
            f"is in the splits but has no volume ({len(missing)} such cases)",
            "run `harmonise` for its source, or `split` again",
        )
    return [found[key] for key in wanted]
