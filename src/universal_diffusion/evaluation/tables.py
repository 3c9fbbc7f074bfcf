"""Tables on paper: frames of texts, written as Markdown and as LaTeX, with the best figures marked."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from universal_diffusion.evaluation.latex import environment
from universal_diffusion.files import write_text

BEST, SECOND = "best", "second"
MARKS_NOTE = (
    "Best of a column in bold, second-best underlined, among published and among measured rows apart; marks go by the "
    "mean alone and say nothing of intervals or n."
)
KINDS = ("csv", "md", "tex")
_MARKDOWN = {BEST: "**{}**", SECOND: "<u>{}</u>", "": "{}"}
_LATEX = {BEST: "textbf:--rwrap;", SECOND: "underline:--rwrap;", "": ""}
NOTHING = "–"


@dataclass(frozen=True)
class Printed:
    """A table to print: `texts` row by row, `marks` of the same shape ("best", "second" or ""), caption and notes."""

    texts: pd.DataFrame
    marks: pd.DataFrame
    caption: str
    notes: tuple[str, ...]
    label: str


def unmarked(texts: pd.DataFrame) -> pd.DataFrame:
    """Marks of a table in which nothing is marked."""
    return pd.DataFrame("", index=texts.index, columns=texts.columns)


def rank(values: pd.DataFrame) -> pd.DataFrame:
    """Mark each column's largest and second-largest value, which equals share; never a zero or a lone value."""
    marks = unmarked(values)
    for column in values:
        ordered = values.loc[values[column] > 0, column].sort_values(ascending=False).unique()
        if values[column].nunique() > 1:
            for mark, value in zip((BEST, SECOND), ordered[:2], strict=False):
                marks.loc[values[column] == value, column] = mark
    return marks


def percent(value: float, digits: int) -> str:
    """A fraction in per cent, or a dash where there is none."""
    return NOTHING if pd.isna(value) else f"{100 * value:.{digits}f}"


def interval(low: float, high: float, digits: int, sign: str = "") -> str:
    """An interval of fractions in per cent, in brackets, or nothing where there is none; `sign` "+" prints signs."""
    return "" if pd.isna(low) else f"[{100 * low:{sign}.{digits}f}, {100 * high:{sign}.{digits}f}]"


def markdown(*printed: Printed) -> str:
    """Each table with its caption as the first line, then its rows, then its notes."""
    return "\n".join(_markdown(table) for table in printed)


def _markdown(table: Printed) -> str:
    cells = [
        [_MARKDOWN[mark].format(text) for text, mark in zip(texts, marks, strict=True)]
        for texts, marks in zip(table.texts.to_numpy(), table.marks.to_numpy(), strict=True)
    ]
    rows = [list(table.texts.columns), ["---"] * table.texts.shape[1], *cells]
    lines = ["| " + " | ".join(str(text).replace("|", "\\|") for text in row) + " |" for row in rows]
    notes = [f"- {note}" for note in table.notes]
    return "\n".join([table.caption, "", *lines, *([""] if notes else []), *notes]) + "\n"


def latex(*printed: Printed) -> str:
    """Each table as a booktabs float with its notes below it; `latex.PACKAGES` are what a document needs for them."""
    return "\n".join(
        environment(table.texts, table.marks.replace(_LATEX), table.caption, table.notes, table.label)
        for table in printed
    )


def add_outputs(parser: argparse.ArgumentParser, kinds: Sequence[str] = KINDS) -> None:
    """Give a step the flags `--cohort`, `--output-csv`, ... of the `kinds` of file it writes."""
    parser.add_argument("--cohort", required=True, help="what the caption says the numbers were measured on")
    for kind in kinds:
        parser.add_argument(f"--output-{kind}", type=Path, required=True)


def write_outputs(arguments: argparse.Namespace, figures: pd.DataFrame, *printed: Printed) -> None:
    """Write the figures behind a table as CSV, and the printed tables as Markdown and LaTeX, where `KINDS` say."""
    write_csv(arguments.output_csv, figures)
    write_text(arguments.output_md, markdown(*printed))
    write_text(arguments.output_tex, latex(*printed))


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write the figures behind a table."""
    write_text(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
