"""What one measurement found, and the rows it was computed from."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

CASES = "scores/cases.csv"
FEWEST = 6  # patients; below, Wilcoxon's two-sided test cannot reach 0.05
ROW_COLUMNS = ["system", "variant", "source", "case", "target", "table", "row", "column"]
POINTS, TIMES = "points", "times"


def no_rows() -> pd.DataFrame:
    """The rows of a measurement that was not made."""
    return pd.DataFrame(columns=ROW_COLUMNS, dtype=str)


@dataclass(frozen=True)
class Measured:
    """One measurement.

    Attributes:
        value, low, high: with the 95 % interval; all equal where something was counted, not sampled.
        n: patients; None where something was counted.
        p_value: two-sided, before correction.
        null: the value that says nothing.
        unit: of value, low, high and null.
        at: the target or data set it was measured at, where it is the least of several.
        obstacle: why it cannot settle the claim.
        rows: `ROW_COLUMNS`, what the value was computed from: a score row by its identity, or a row of another table by
            a condition "column=value & ...", always with the `column` that was read. A `table` stands in the study's
            results, or in the repository where its path begins with config/ or src/.
    """

    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    n: int | None = None
    p_value: float = float("nan")
    null: float = 0.0
    unit: str = POINTS
    at: str = ""
    obstacle: str = ""
    rows: pd.DataFrame = field(default_factory=no_rows, compare=False, repr=False)


def score_rows(scores: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Score rows as evidence: their identity and the column read."""
    return scores.assign(table=CASES, row="", column=measure)[ROW_COLUMNS]


def table_rows(table: str, rows: Iterable[str], *columns: str) -> pd.DataFrame:
    """Rows of another table as evidence: every one of `columns` in every one of `rows`."""
    nobody = dict.fromkeys(ROW_COLUMNS, "")
    found = [nobody | {"table": table, "row": row, "column": column} for row in rows for column in columns]
    return pd.DataFrame(found, columns=ROW_COLUMNS, dtype=str)


def counted(value: float, unit: str, rows: pd.DataFrame, null: float = 0.0, obstacle: str = "") -> Measured:
    """Something that was counted: exact, so that its interval has no width."""
    return Measured(value, value, value, null=null, unit=unit, obstacle=obstacle, rows=rows)
