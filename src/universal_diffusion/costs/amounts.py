"""Amounts that are known between two bounds only, and the records of `benchmarks/` that they are derived from."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from universal_diffusion.errors import InputError


@dataclass(frozen=True)
class Range:
    """An amount from `low` to `high`; both alike where it is known."""

    low: float
    high: float

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.high + other.high)

    def __mul__(self, factor: "Range | float") -> "Range":
        low, high = (factor.low, factor.high) if isinstance(factor, Range) else (factor, factor)
        return Range(self.low * low, self.high * high)

    def __str__(self) -> str:
        low, high = shown(self.low), shown(self.high)
        return low if low == high else f"{low} to {high}"


NONE = Range(0.0, 0.0)


def shown(number: float) -> str:
    """Two significant digits, whole from ten on."""
    return f"{float(f'{number:.2g}'):,.0f}" if number >= 9.95 else f"{number:.2g}"


def total(amounts: Iterable[Range]) -> Range:
    """Their sum."""
    return sum(amounts, NONE)


def figure(records: Path, record: str, row: str, column: str) -> float:
    """A figure of `<records>/<record>.csv`: of the first row with a cell that reads `row`.

    Raises InputError where the record or the figure is missing.
    """
    path = records / f"{record}.csv"
    remedy = "run this in the project's folder, or make the record again (`snakemake benchmarks`)"
    if not path.is_file():
        raise InputError(path, "is missing, from which a cost is derived", remedy)
    with open(path, encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if row in line.values():
                return float(line[column])
    raise InputError(path, f"has no row {row!r}", remedy)
