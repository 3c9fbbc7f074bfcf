"""Finding one cell of a table by names: of its row, its column, or both in any order.

A name is the text of a key column (a target, a system by key or printed label, an origin), `heading=text` of any
column, or the heading of a column of values. Upper and lower case, commas and underscores do not matter. "Universal
Diffusion" is the paper's model.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from universal_diffusion.csv_tables import read_csv
from universal_diffusion.errors import InputError
from universal_diffusion.systems import SYSTEMS, system_of

BEST_KNOWN = system_of("mask_clip")
MEASURED = "measured here"
VALUES = (
    "value",
    "dice",
    "dice_mean",
    "missed",
    "measured",
    "targets_difference",
    "cases",
    "total_gflop",
    "gflop",
)  # the one unnamed
PRINTED = {"average": "avg", "all cases": "all"}  # headings of the printed tables
SHOWN = 8


@dataclass(frozen=True)
class Cell:
    """One value of a table: its row, which column of it, and the other cells of the names it was found by, told."""

    row: dict[str, str]
    column: str
    others: tuple[str, ...] = ()

    @property
    def value(self) -> str:
        """The text that stands there."""
        return self.row[self.column]


def read_table(path: Path) -> pd.DataFrame:
    """A table as texts. Raises InputError for a file that is none."""
    try:
        table = read_csv(path, str)
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no table ({error})", "make it again with `snakemake`") from None
    if table.empty or table.columns.duplicated().any():
        raise InputError(path, "is no table (no rows, or a heading twice)", "make it again with `snakemake`")
    return table


def find(path: Path, names: Sequence[str]) -> Cell:
    """The one cell of these names. Raises InputError with the nearest names, or with all rows that match."""
    table = read_table(path)
    rows, column = table, None
    for name in names:
        chosen = rows[_matches(rows, name)]
        if len(chosen):
            rows = chosen
        elif heading := _heading(table, name):
            column = heading
        else:
            raise InputError(path, f"has no {name!r} beside the other names", f"nearest: {_nearest(table, name)}")
    named, rows = rows, _plain(rows)
    if len(rows) > 1:
        keys = [key for key in rows.columns[:8] if rows[key].nunique() > 1] or list(rows.columns[:1])
        listed = "; ".join(", ".join(row) for row in rows[keys].head(SHOWN).itertuples(index=False, name=None))
        left = f"; and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
        remedy = f'add a name to --cell, such as "{keys[0]}={rows.iloc[0][keys[0]]}"'
        raise InputError(path, f"has {len(rows)} cells of these names ({listed}{left})", remedy)
    column = column or next((value for value in VALUES if value in table.columns), None)
    if column is None:
        raise InputError(path, "has several columns of values", f"add one to --cell: {', '.join(table.columns)}")
    others = named.drop(rows.index)
    told = (f"{row['origin']}: {row[column] or '(empty)'}" for row in others.to_dict("records"))
    return Cell(rows.iloc[0].to_dict(), column, tuple(told))


def _plain(rows: pd.DataFrame) -> pd.DataFrame:
    """Of one system's rows, those of its own grid and all patients, where no origin was named."""
    measured = rows[rows["origin"] == MEASURED] if "origin" in rows else rows
    return measured if len(measured) else rows


def folded(name: str) -> str:
    """A name without case, commas and underscores."""
    return re.sub(r"[\s_,]+", " ", name.casefold()).strip()


def _spellings(text: str, shortened: bool = True) -> set[str]:
    """How a cell of a key column may be named; `shortened` also a column key target@source by its target."""
    told = {folded(text)} | ({folded(text.split("@")[0])} if shortened else set())
    system = next((system for system in SYSTEMS if text in (system.key, system.label)), None)
    told |= {folded(system.key), folded(system.label)} if system else set()
    told |= {PRINTED[text]} if text in PRINTED else set()
    return told | ({folded("Universal Diffusion")} if system is BEST_KNOWN else set())


def _matches(rows: pd.DataFrame, name: str) -> pd.Series:
    """Which rows a name is of; by a shortened spelling only where no row has it in full."""
    heading, equals, text = name.partition("=")
    if equals and (column := _heading(rows, heading)):
        return rows[column].map(folded) == folded(text)
    wanted, found = folded(name), pd.Series(False, index=rows.index)
    for shortened in (False, True):
        for column in rows.columns:
            known = {text: wanted in _spellings(text, shortened) for text in rows[column].unique()}
            found |= rows[column].map(known)
        if found.any():
            break
    return found


def _heading(table: pd.DataFrame, name: str) -> str | None:
    return next((column for column in table.columns if folded(column) == folded(name)), None)


def _nearest(table: pd.DataFrame, name: str) -> str:
    texts = [text for column in table.columns for text in table[column].unique() if not _number(text)]
    known = sorted({spelling for text in texts for spelling in _spellings(text) if spelling} | set(table.columns))
    return ", ".join(get_close_matches(folded(name), known, 5, 0.4) or known[:SHOWN])


def _number(text: str) -> bool:
    return bool(re.fullmatch(r"[-+.\deE]*", text))
