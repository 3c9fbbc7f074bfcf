"""Tables as they were printed (`tables.markdown`), read back for the page: nothing is rounded or marked anew."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from universal_diffusion.errors import InputError

WORDS = {"True": "yes", "False": "no"}
_CELL = re.compile(r"(?<!\\)\|")
_BEST, _SECOND = re.compile(r"\*\*(.*)\*\*", re.DOTALL), re.compile(r"<u>(.*)</u>", re.DOTALL)


@dataclass(frozen=True)
class Cell:
    """Text of a cell, and its mark: "best", "second" or ""."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A printed table: caption, headings, rows of cells, notes below."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]


def read_printed(path: Path) -> list[Table]:
    """The tables of a Markdown file, in order. Raises InputError when it is missing or holds none."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        raise InputError(path, "cannot be read", "run the rule that prints it") from None
    starts = [number for number, line in enumerate(lines) if line.startswith("| ---")]
    if not starts:
        raise InputError(path, "holds no table", "run the rule that prints it again")
    return [_table(lines, start) for start in starts]


def _table(lines: list[str], start: int) -> Table:
    """The table whose rule under the headings is line `start`."""
    caption = next((line for line in reversed(lines[: start - 1]) if line and not line.startswith("- ")), "")
    end = start + 1
    while end < len(lines) and lines[end].startswith("|"):
        end += 1
    notes = []
    for line in lines[end:]:
        if line.startswith("- "):
            notes.append(line.removeprefix("- "))
        elif line:
            break
    rows = tuple(tuple(map(_cell, _split(line))) for line in lines[start + 1 : end])
    return Table(caption, tuple(_split(lines[start - 1])), rows, tuple(notes))


def _split(line: str) -> list[str]:
    return [part.strip().replace("\\|", "|") for part in _CELL.split(line)[1:-1]]


def _cell(text: str) -> Cell:
    for mark, pattern in (("best", _BEST), ("second", _SECOND)):
        if found := pattern.fullmatch(text):
            return Cell(found[1], mark)
    return Cell(text)


def read_rows(path: Path, caption: str, columns: dict[str, str]) -> Table:
    """Some columns of a CSV file under headings of their own; `columns` maps theirs to ours. True is told as yes."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)[list(columns)]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(path, f"is not the table that the report shows ({error})", "run its rule again") from None
    rows = tuple(tuple(Cell(WORDS.get(text, text)) for text in row) for row in frame.itertuples(index=False, name=None))
    return Table(caption, tuple(columns.values()), rows, ())
