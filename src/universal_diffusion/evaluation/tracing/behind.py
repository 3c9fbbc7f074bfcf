"""What stands behind a cell: its score rows and value recomputed, or the rows of the files it comes from."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from universal_diffusion.csv_tables import read_csv
from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.beyond.comparisons import COHORTS, comparison_rows
from universal_diffusion.evaluation.beyond.targets_table import target_rows
from universal_diffusion.evaluation.paper.benchmark import ALL_CASES, AVERAGE, MEASURED, measured_cells
from universal_diffusion.evaluation.paper.table3 import NO_COPY
from universal_diffusion.evaluation.patients import read_patients
from universal_diffusion.evaluation.scoring.cases import of_system, read_cases
from universal_diffusion.evaluation.tracing.cells import Cell, read_table
from universal_diffusion.evaluation.tracing.checks import Study
from universal_diffusion.systems import VARIANTS, System, system_of

SUMMARY = ("value", "low", "high", "n")
SOURCES = {  # of a table that is not of scores: the files that its rows come from
    "tables/table1.csv": ("inventory.csv", "splits.csv"),
    "tables/gate.csv": ("scores/gate/{variant}/*.csv",),
    "tables/autoencoder_ceiling.csv": ("models/*mask_autoencoder/ceiling.csv",),
    "tables/cost.csv": ("models/mask_clip/card.json", "models/mask_clip/weights.safetensors"),
    "tables/networks.csv": (),
    "tables/uncertainty.csv": ("scores/cases.csv", "scores/reliability/{variant}.csv", "scores/coverage/{variant}.csv"),
    "tables/sampling.csv": ("models/mask_clip/card.json", "models/mask_clip/weights.safetensors"),
    "tables/sampling_seconds.csv": ("models/mask_clip/card.json", "models/mask_clip/weights.safetensors"),
    "claims.csv": ("claims_rows.csv", "scores/cases.csv", "splits.csv"),
}
CLAIMED = ["system", "variant", "source", "case", "target"]
VARIANT_KEYS = frozenset(system.key for system in VARIANTS)
KEYS = ("claim", "dataset", "variant", "target", "factor")  # by which rows of those files belong to the cell's row


@dataclass(frozen=True)
class Rows:
    """The rows behind a cell: their table, and the file it stands in; `system` where one was scored."""

    file: str
    rows: pd.DataFrame
    measure: str = ""
    system: System | None = None


def score_rows(study: Study, name: str, cell: Cell) -> Rows:
    """The score rows that the cell is the mean of; recomputes the cell from them and notes whether it agrees."""
    patients = read_patients(_needed(study, "splits.csv"))
    cases = patients.named(read_cases(_needed(study, "scores/cases.csv")))
    seed, row = int(study.record["seed"]), cell.row
    if "origin" not in row:
        return _target_rows(study, name, cell, cases)
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
        study.verify_value(f"{name}: {summary}", _given(row[summary]), again[summary])
    mine = of_system(chosen, system)
    mine = mine[(mine["target"] + "@" + mine["source"]).isin(wanted)]
    return Rows("scores/cases.csv", mine, row["measure"], system)


def _target_rows(study: Study, name: str, cell: Cell, cases: pd.DataFrame) -> Rows:
    """The same for a row of targets.csv, or of an own dataset's table."""
    system = system_of(cell.row["system"])
    if name.startswith("tables/own/"):
        cases = cases[cases["source"] == Path(name).stem]
    mine = of_system(cases[cases["target"] == cell.row["target"]], system)
    rows = target_rows(mine, int(study.record["seed"]))
    again = rows[(rows["target"] == cell.row["target"]) & (rows["system"] == system.key)].iloc[0]
    for column in dict.fromkeys((cell.column, "n")):
        if column not in ("reason", "kind", "target", "system"):
            study.verify_value(f"{name}: {column}", _given(cell.row[column]), again[column])
    measure = cell.column if cell.column in mine.columns else "dice"
    return Rows("scores/cases.csv", mine, measure, system)


def compared_rows(study: Study, name: str, cell: Cell) -> list[Rows]:
    """The score rows of a pair of systems; all of the comparison is recomputed but what spans all pairs (Holm)."""
    patients = read_patients(_needed(study, "splits.csv"))
    cases = patients.named(read_cases(_needed(study, "scores/cases.csv")))
    pair = [of_system(cases, system_of(cell.row[key])) for key in ("first", "second")]
    rows = comparison_rows(pd.concat(pair), int(study.record["seed"]))
    keys = ["cohort", "measure", "first", "second"]
    again = rows[(rows[keys] == pd.Series({key: cell.row[key] for key in keys})).all(axis=1)]
    if again.empty:
        raise InputError(name, "compares systems in another order than this code", "make it again with `snakemake`")
    for column in again.columns.difference([*keys, "p_holm", "finding"], sort=False):
        study.verify_value(f"{name}: {column}", _given(cell.row[column]), again.iloc[0][column])
    parts, measure = COHORTS[cell.row["cohort"]], cell.row["measure"]
    chosen = [own[own["part"].isin(parts) & (own["truth_ml"] > 0)] for own in pair]
    systems = [system_of(cell.row[key]) for key in ("first", "second")]
    return [Rows("scores/cases.csv", own, measure, system) for own, system in zip(chosen, systems, strict=True)]


def source_rows(study: Study, name: str, cell: Cell) -> list[Rows]:
    """The rows of the files that a cell of another table comes from."""
    found = []
    for pattern in SOURCES[name]:
        pattern = pattern.format(variant=_variant(cell))
        paths = sorted(study.folder.glob(pattern))
        for path in paths:
            file = path.relative_to(study.folder).as_posix()
            study.verify(file)
            if path.suffix == ".csv" and file != "splits.csv":
                found.append(Rows(file, _belonging(path, cell)))
        if not paths:
            study.verify(pattern)
    return found


def _belonging(path: Path, cell: Cell) -> pd.DataFrame:
    try:
        rows = read_csv(path, str)
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no table ({error})", "make it again with `snakemake`") from None
    if "claim" in cell.row and path.name == "cases.csv":
        return _claimed(rows, path.parents[1] / "claims_rows.csv", cell)
    for key in KEYS:
        if key in rows and key in cell.row:
            rows = rows[rows[key] == cell.row[key]]
    return rows if path.name != "cases.csv" else rows[rows["variant"] == _variant(cell)]


def _variant(cell: Cell) -> str:
    """The variant that a cell is about, "*" where it is about none."""
    return cell.row.get("variant") or (cell.row["row"] if cell.row.get("row") in VARIANT_KEYS else "*")


def _claimed(cases: pd.DataFrame, path: Path, cell: Cell) -> pd.DataFrame:
    """The score rows that claims_rows.csv names for the cell's claim."""
    named = read_csv(path, str)
    named = named[(named["claim"] == cell.row["claim"]) & (named["table"] == "scores/cases.csv")]
    return cases.merge(named[CLAIMED].drop_duplicates(), on=CLAIMED)


def _needed(study: Study, name: str) -> Path:
    path = study.folder / name
    if not path.is_file():
        raise InputError(path, "is not here, and the cell's value comes from it", "restore it")
    study.verify(name)
    return path


def _given(text: str) -> str | float:
    """A cell's text as a number; NaN where it is empty."""
    return text or float("nan")
