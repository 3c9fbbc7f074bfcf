"""What Tables 2 and 3 share: published rows above measured rows, never mixed, each figure with its n."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.paper.published import read_published
from universal_diffusion.evaluation.scoring.cases import of_system, read_cases
from universal_diffusion.evaluation.statistics import (
    Summary,
    bootstrap,
    case_table,
    mean_of_all,
    mean_of_column_means,
    summarise,
)
from universal_diffusion.files import write_text
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.systems import System

PUBLISHED, MEASURED = "published", "measured here"
AVERAGE, ALL_CASES = "average", "all cases"


def measured_cells(
    cases: pd.DataFrame, systems: Sequence[System], columns: Sequence[str], study_seed: int
) -> pd.DataFrame:
    """Mean Dice of every system in every column (target@source), and both averages over the columns.

    Returns:
        One row per (system, column): origin, row, label, column, value, low, high, n. Dice as fractions.
    """
    rows = []
    for system in systems:
        table = case_table(of_system(cases, system)).reindex(columns=columns)
        for column in columns:
            rows.append(_cell(system, column, summarise(table[column].to_numpy(), _generator(study_seed, column))))
        rows.append(_cell(system, AVERAGE, bootstrap(table, mean_of_column_means, _generator(study_seed, AVERAGE))))
        rows.append(_cell(system, ALL_CASES, bootstrap(table, mean_of_all, _generator(study_seed, ALL_CASES))))
    return pd.DataFrame(rows)


def _generator(study_seed: int, column: str):
    return numpy_generator(study_seed, "bootstrap", column)


def _cell(system: System, column: str, summary: Summary) -> dict:
    return {"origin": MEASURED, "row": system.key, "label": system.label, "column": column} | vars(summary)


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
        }
    )


def layout(cells: pd.DataFrame, headings: Mapping[str, str], digits: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Texts and marks of the printed table: a row per system, `headings` from column key to printed heading."""
    blocks = []
    for origin in (PUBLISHED, MEASURED):
        block = cells[cells["origin"] == origin]
        values = block.pivot(index="row", columns="column", values="value").reindex(block["row"].unique())
        values = values.reindex(columns=list(headings))
        counts = block.pivot(index="row", columns="column", values="n").reindex_like(values)
        texts = pd.DataFrame(
            [
                [_text(value, n, digits) for value, n in zip(row, numbers, strict=True)]
                for row, numbers in zip(values.to_numpy(), counts.to_numpy(), strict=True)
            ],
            columns=list(headings.values()),
        )
        labels = block.drop_duplicates("row")["label"].to_list()
        marks = tables.rank(values).set_axis(texts.columns, axis=1).reset_index(drop=True)
        blocks.append(
            (_led(texts, labels, [origin] * len(labels)), _led(marks, [""] * len(labels), [""] * len(labels)))
        )
    texts, marks = (pd.concat(parts, ignore_index=True) for parts in zip(*blocks, strict=True))
    return texts, marks


def _led(frame: pd.DataFrame, labels: list[str], origins: list[str]) -> pd.DataFrame:
    led = frame.copy()
    led.insert(0, "Model", labels)
    led.insert(1, "Origin", origins)
    return led


def _text(value: float, n: object, digits: int) -> str:
    """A Dice in per cent; measured ones carry their n in brackets."""
    return tables.percent(value, digits) + ("" if pd.isna(n) or n == 0 else f" ({n})")


def write_table(
    description: str,
    number: int,
    cells_of: Callable[[pd.DataFrame, pd.DataFrame, int], pd.DataFrame],
    printed: Callable[[pd.DataFrame, pd.DataFrame, str], tables.Printed],
) -> None:
    """Read a step's command line and write table `number` as CSV, Markdown and LaTeX.

    Args:
        cells_of: from scores, the published figures and the study's seed to the table's cells.
        printed: from cells, the published figures and the cohort to the table as the paper lays it out.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv, from `collect`")
    parser.add_argument("--published", type=Path, required=True, help="the published numbers, config/published.csv")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    tables.add_outputs(parser, ("csv", "md", "tex"))
    arguments = parser.parse_args()
    figures = read_published(arguments.published, number)
    cells = cells_of(read_cases(arguments.cases), figures, arguments.study_seed)
    table = printed(cells, figures, arguments.cohort)
    tables.write_csv(arguments.output_csv, cells)
    write_text(arguments.output_md, tables.markdown(table))
    write_text(arguments.output_tex, tables.latex(table))
