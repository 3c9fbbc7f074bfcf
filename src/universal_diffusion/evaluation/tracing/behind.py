"""What stands behind a cell that is a mean of scores: its score rows, and its value recomputed from them."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.beyond.comparisons import COHORTS, comparison_rows
from universal_diffusion.evaluation.beyond.targets_table import target_rows
from universal_diffusion.evaluation.paper.benchmark import ALL_CASES, AVERAGE, MEASURED, measured_cells
from universal_diffusion.evaluation.paper.table3 import NO_COPY
from universal_diffusion.evaluation.patients import read_patients
from universal_diffusion.evaluation.scoring.cases import of_system, read_cases
from universal_diffusion.evaluation.tracing.cells import Cell, read_table
from universal_diffusion.evaluation.tracing.checks import Study
from universal_diffusion.systems import System, system_of

SUMMARY = ("value", "low", "high", "n")


@dataclass(frozen=True)
class Rows:
    """The rows behind a cell: their table, and the file it stands in; `system` where one was scored.

    `branch` is the folder, with a slash, that holds that system's model and predictions; "" for the study's own.
    """

    file: str
    rows: pd.DataFrame
    measure: str = ""
    system: System | None = None
    branch: str = ""


def score_rows(study: Study, name: str, cell: Cell) -> list[Rows]:
    """The score rows that the cell is the mean of; recomputes the cell from them and notes whether it agrees."""
    patients = read_patients(needed(study, "splits.csv"))
    cases = patients.named(read_cases(needed(study, "scores/cases.csv")))
    seed, row = int(study.record["seed"]), cell.row
    if "origin" not in row:
        return _target_rows(study, name, cell, patients.untrained(cases))
    if not row["origin"].startswith(MEASURED):
        raise InputError(name, f"has an unknown origin {row['origin']!r}", "make it again with `snakemake`")
    part = "validation" if name.endswith("table2.csv") else "test"
    chosen = cases[cases["part"] == part]
    if row["origin"].endswith(NO_COPY):
        chosen = chosen[~chosen["patient"].isin(patients.copied)]
    table = read_table(study.folder / name)
    columns = [column for column in table["column"].unique() if "@" in column]
    system, averaged = system_of(row["row"]), row["column"] in (AVERAGE, ALL_CASES)
    wanted = columns if averaged else [row["column"]]
    cells = measured_cells(chosen, [system], wanted, seed, row["origin"], row["measure"])
    again = cells[cells["column"] == row["column"]].iloc[0]
    for summary in (*SUMMARY, "scans"):
        study.verify_value(f"{name}: {summary}", row[summary], again[summary])
    mine = of_system(chosen, system)
    mine = mine[(mine["target"] + "@" + mine["source"]).isin(wanted)]
    return [Rows("scores/cases.csv", mine, row["measure"], system)]


def _target_rows(study: Study, name: str, cell: Cell, cases: pd.DataFrame) -> list[Rows]:
    """The same for a row of targets.csv, or of an own dataset's table."""
    system = system_of(cell.row["system"])
    if name.startswith("tables/own/"):
        cases = cases[cases["source"] == Path(name).stem]
    mine = of_system(cases[cases["target"] == cell.row["target"]], system)
    rows = target_rows(mine, int(study.record["seed"]))
    again = rows[(rows["target"] == cell.row["target"]) & (rows["system"] == system.key)].iloc[0]
    for column in dict.fromkeys((cell.column, "n")):
        if column not in ("reason", "kind", "target", "system"):
            study.verify_value(f"{name}: {column}", cell.row[column], again[column])
    measure = cell.column if cell.column in mine.columns else "dice"
    return [Rows("scores/cases.csv", mine, measure, system)]


def compared_rows(study: Study, name: str, cell: Cell) -> list[Rows]:
    """The score rows of a pair of systems; the comparison is recomputed, all other pairs too, as Holm's spans them."""
    patients = read_patients(needed(study, "splits.csv"))
    cases = patients.untrained(read_cases(needed(study, "scores/cases.csv")))
    rows = comparison_rows(cases, int(study.record["seed"]))
    keys = ["cohort", "measure", "first", "second"]
    again = rows[(rows[keys] == pd.Series({key: cell.row[key] for key in keys})).all(axis=1)]
    if again.empty:
        raise InputError(name, "compares systems in another order than this code", "make it again with `snakemake`")
    for column in again.columns.difference(keys, sort=False):
        study.verify_value(f"{name}: {column}", cell.row[column], again.iloc[0][column])
    chosen = cases[cases["part"].isin(COHORTS[cell.row["cohort"]]) & (cases["truth_ml"] > 0)]
    systems = [system_of(cell.row[key]) for key in ("first", "second")]
    return [Rows("scores/cases.csv", of_system(chosen, system), cell.row["measure"], system) for system in systems]


def needed(study: Study, name: str) -> Path:
    """A file that the cell's value comes from, compared with its record. Raises InputError where it is not here."""
    path = study.folder / name
    if not path.is_file():
        raise InputError(path, "is not here, and the cell's value comes from it", "restore it")
    study.verify(name)
    return path
