"""Rows of tables that follow from CSV files alone, made again by the function of the table's own step."""

import pandas as pd

from universal_diffusion.evaluation.beyond.ceiling import ceilings, read_ceiling_cases
from universal_diffusion.evaluation.sampling.gate_rows import read_rows
from universal_diffusion.evaluation.sampling.gate_table import summary
from universal_diffusion.evaluation.tracing.cells import Cell
from universal_diffusion.evaluation.tracing.checks import CHANGED, NOT_RECOMPUTED, Study

GATE, CEILING = "tables/gate.csv", "tables/autoencoder_ceiling.csv"


def verify_row(study: Study, name: str, cell: Cell) -> None:
    """Compare every value of the cell's row with the row made again; notes NOT_RECOMPUTED where that cannot be done."""
    if name == GATE:
        paths, keys = sorted(study.folder.glob(f"scores/gate/{cell.row['variant']}/*.csv")), ("variant", "target")
        rows = summary(read_rows(paths)) if paths else None
    elif name == CEILING:
        paths, keys = sorted(study.folder.glob("models/*mask_autoencoder/ceiling.csv")), ("target", "factor")
        rows = ceilings(pd.concat([read_ceiling_cases(path) for path in paths])) if paths else None
    else:
        rows = None
    if rows is None:
        study.note(f"{name}: {cell.column}", NOT_RECOMPUTED, "only its table's seal says whether it was edited")
        return
    again = rows[(rows[list(keys)].astype(str) == pd.Series({key: cell.row[key] for key in keys})).all(axis=1)]
    if again.empty:
        study.note(f"{name}: {cell.column}", CHANGED, "the files that it comes from give no such row")
        return
    for column in again.columns.difference(keys, sort=False):
        study.verify_value(f"{name}: {column}", cell.row.get(column) or float("nan"), again.iloc[0][column])
