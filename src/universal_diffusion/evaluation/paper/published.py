"""The paper's printed figures, read from `config/published.csv`: their only home.

Columns: `table` (1-3), the printed `row` and `column`, their `row_key` and `column_key` in this study's names (Table 1:
dataset and cases/structures; Table 2: variant and target@source; Table 3: system and target), the printed `value`, how
it is `marked` (bold, blue) and a `note` where it does not fit the rest of the paper.
"""

from pathlib import Path

import pandas as pd

from universal_diffusion.errors import InputError

COLUMNS = ["table", "row", "column", "row_key", "column_key", "value", "marked", "note"]


def read_published(path: Path, table: int) -> pd.DataFrame:
    """The figures of one table, in printed order."""
    try:
        figures = pd.read_csv(path, dtype={"table": int, "value": float}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({error})", "restore it from the repository") from None
    if list(figures.columns) != COLUMNS:
        raise InputError(path, f"has columns {list(figures.columns)}, expected {COLUMNS}", "restore it")
    return figures[figures["table"] == table].reset_index(drop=True)


def printed(figures: pd.DataFrame) -> pd.DataFrame:
    """The table as printed: one row per `row_key`, one column per `column_key`, in printed order."""
    wide = figures.pivot(index="row_key", columns="column_key", values="value")
    return wide.loc[figures["row_key"].unique(), figures["column_key"].unique()]


def remarks(figures: pd.DataFrame) -> list[str]:
    """What does not fit, one sentence per remarked figure."""
    remarked = figures[figures["note"] != ""]
    return [f"Printed {row.value:g} ({row.row}, {row.column}): {row.note}." for row in remarked.itertuples()]
