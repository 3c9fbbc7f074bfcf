"""What Tables 2 and 3 share: published rows above measured rows, never mixed, each figure with its n."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.paper.published import read_published
from universal_diffusion.evaluation.patients import Patients, read_patients
from universal_diffusion.evaluation.scoring.cases import of_system, read_cases
from universal_diffusion.evaluation.statistics import (
    FEWEST,
    FEWEST_PER_COLUMN,
    Summary,
    averages,
    patient_table,
    summarise,
)
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.systems import System

PUBLISHED, MEASURED = "published", "measured here"
AVERAGE, ALL_CASES = "average", "all cases"
UNIT = "The scans of one patient, copies included, are averaged first and count once."
ONCE = "Each system was trained once: an interval says how far patients differ, not how far another training would."
INTERVALS = (
    f"Mean [95 % bootstrap interval over patients] (n patients). No interval: fewer than {FEWEST} patients; in an "
    f"average, a source with a single one, or in the mean of target means a target with fewer than {FEWEST_PER_COLUMN}."
)


def measured_cells(
    cases: pd.DataFrame,
    systems: Sequence[System],
    columns: Sequence[str],
    study_seed: int,
    origin: str = MEASURED,
    measure: str = "dice",
) -> pd.DataFrame:
    """Mean of `measure` of every system in every column (target@source), and both averages over the columns.

    Args:
        cases: score rows with their patients (`patients.Patients.named`).

    Returns:
        One row per (system, column): origin, row, label, column, value, low, high, n, measure, scans. Fractions; n
        counts patients, `scans` their scans.
    """
    chosen = cases[(cases["target"] + "@" + cases["source"]).isin(columns)]
    rows = []
    for system in systems:
        mine = of_system(chosen, system)
        table = patient_table(mine, measure).reindex(columns=columns)
        both = averages(table, _generator(study_seed, AVERAGE))
        summaries = {c: summarise(table[c].to_numpy(), _generator(study_seed, c)) for c in columns}
        scans = _scans(mine[mine[measure].notna()], columns)
        for column, summary in (summaries | dict(zip((AVERAGE, ALL_CASES), both, strict=True))).items():
            rows.append(_cell(origin, system, column, summary) | {"measure": measure, "scans": scans[column]})
    return pd.DataFrame(rows)


def _generator(study_seed: int, column: str) -> np.random.Generator:
    return numpy_generator(study_seed, "bootstrap", column)


def _scans(scored: pd.DataFrame, columns: Sequence[str]) -> dict[str, int]:
    every = len(scored.drop_duplicates(["source", "case"]))
    per_column = (scored["target"] + "@" + scored["source"]).value_counts()
    return {column: int(per_column.get(column, 0)) for column in columns} | {AVERAGE: every, ALL_CASES: every}


def _cell(origin: str, system: System, column: str, summary: Summary) -> dict:
    return {"origin": origin, "row": system.key, "label": system.label, "column": column} | vars(summary)


def published_cells(figures: pd.DataFrame) -> pd.DataFrame:
    """The printed figures in the same columns, as fractions, without n or interval."""
    return pd.DataFrame(
        {
            "origin": PUBLISHED,
            "row": figures["row_key"],
            "label": figures["row"],
            "column": figures["column_key"],
            "value": figures["value"] / 100,
            "low": float("nan"),
            "high": float("nan"),
            "n": pd.NA,
            "measure": "dice",
            "scans": pd.NA,
        }
    )


def _text(cell, digits: int) -> str:
    """A Dice in per cent; measured ones carry their n in brackets."""
    return tables.percent(cell.value, digits) + ("" if pd.isna(cell.n) or cell.n == 0 else f" ({cell.n})")


def _with_interval(cell, digits: int) -> str:
    parts = tables.percent(cell.value, digits), tables.interval(cell.low, cell.high, digits), f"({cell.n})"
    return " ".join(part for part in parts if part) if cell.n else tables.NOTHING


def layout(
    cells: pd.DataFrame, headings: Mapping[str, str], digits: int, text: Callable[[object, int], str] = _text
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Texts and marks of the printed table: a row per origin and system, `headings` from column key to printed one."""
    blocks = []
    for origin in cells["origin"].unique():
        block = cells[cells["origin"] == origin]
        labels = block.drop_duplicates("row")["label"].to_list()
        values = block.pivot(index="row", columns="column", values="value")
        values = values.reindex(index=block["row"].unique(), columns=list(headings))
        found = {(cell.row, cell.column): text(cell, digits) for cell in block.itertuples()}
        texts = [[found.get((row, column), tables.NOTHING) for column in headings] for row in values.index]
        led = pd.DataFrame({"Model": labels, "Origin": origin})
        marks = tables.rank(values).set_axis(list(headings.values()), axis=1).reset_index(drop=True)
        texts = pd.DataFrame(texts, columns=list(headings.values()))
        blocks.append((pd.concat([led, texts], axis=1), pd.concat([tables.unmarked(led), marks], axis=1)))
    texts, marks = (pd.concat(parts, ignore_index=True) for parts in zip(*blocks, strict=True))
    return texts, marks


def with_intervals(cells: pd.DataFrame, headings: Mapping[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Texts of `layout` with the interval of each figure, and no marks."""
    texts, _ = layout(cells, headings, 1, _with_interval)
    return texts, tables.unmarked(texts)


def write_table(
    description: str,
    number: int,
    cells_of: Callable[[pd.DataFrame, pd.DataFrame, Patients, int], pd.DataFrame],
    printed: Callable[[pd.DataFrame, pd.DataFrame, str, Sequence[str]], Sequence[tables.Printed]],
    remarks_of: Callable[[pd.DataFrame, Patients], Sequence[str]] = lambda cases, patients: (),
) -> None:
    """Read a step's command line and write table `number` as CSV, Markdown and LaTeX.

    Args:
        cells_of: from scores with their patients, the published figures, the patients and the study's seed to cells.
        printed: from cells, published figures, cohort and remarks to the tables as they are laid out.
        remarks_of: from scores and patients to what the notes say of this study's patients.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv, from `collect`")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv, which tells the patients")
    parser.add_argument("--published", type=Path, required=True, help="the published numbers, config/published.csv")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    tables.add_outputs(parser)
    arguments = parser.parse_args()
    figures, patients = read_published(arguments.published, number), read_patients(arguments.splits)
    cases = patients.named(read_cases(arguments.cases))
    cells = cells_of(cases, figures, patients, arguments.study_seed)
    remarks = remarks_of(cases, patients)
    tables.write_outputs(arguments, cells, *printed(cells, figures, arguments.cohort, remarks))
