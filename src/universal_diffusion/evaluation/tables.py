"""Tables on paper: one frame of texts, written as Markdown and as LaTeX, with the best figures marked."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from universal_diffusion.files import write_text

BEST, SECOND = "best", "second"
MARKS_NOTE = (
    "Best of a column in bold, second-best underlined, among published and among measured rows apart. "
    "95 % bootstrap intervals stand in the CSV of this table."
)
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
    """Mark each column's largest and second-largest value (equal values share a mark) among more than one."""
    marks = unmarked(values)
    for column in values:
        ordered = values[column].dropna().sort_values(ascending=False).unique()
        if values[column].notna().sum() > 1:
            for mark, value in zip((BEST, SECOND), ordered[:2], strict=False):
                marks.loc[values[column] == value, column] = mark
    return marks


def percent(value: float, digits: int) -> str:
    """A fraction in per cent, or a dash where there is none."""
    return NOTHING if pd.isna(value) else f"{100 * value:.{digits}f}"


def markdown(table: Printed) -> str:
    """The caption as the first line, then the table, then its notes."""
    cells = [
        [_MARKDOWN[mark].format(text) for text, mark in zip(texts, marks, strict=True)]
        for texts, marks in zip(table.texts.to_numpy(), table.marks.to_numpy(), strict=True)
    ]
    rows = [list(table.texts.columns), ["---"] * table.texts.shape[1], *cells]
    lines = ["| " + " | ".join(str(text).replace("|", "\\|") for text in row) + " |" for row in rows]
    notes = [f"- {note}" for note in table.notes]
    return "\n".join([table.caption, "", *lines, *([""] if notes else []), *notes]) + "\n"


def latex(table: Printed) -> str:
    """A booktabs table environment with the notes below it."""
    styler = table.texts.rename(columns=_escape).style.hide(axis="index").format(_escape)
    marks = table.marks.replace(_LATEX).set_axis(styler.data.columns, axis=1)
    text = styler.apply(lambda _: marks, axis=None).to_latex(
        hrules=True, caption=_escape(table.caption), label=table.label, position_float="centering", convert_css=False
    )
    notes = "\n".join(rf"\par\footnotesize {_escape(note)}" for note in table.notes)
    return text.replace(r"\end{table}", f"{notes}\n\\end{{table}}" if notes else r"\end{table}")


def _escape(text: object) -> str:
    for plain, escaped in (("\\", r"\textbackslash "), ("&", r"\&"), ("%", r"\%"), ("#", r"\#"), ("_", r"\_")):
        text = str(text).replace(plain, escaped)
    return text.replace("–", "--")


def add_outputs(parser: argparse.ArgumentParser, kinds: Sequence[str]) -> None:
    """Give a step the flags `--cohort`, `--output-csv`, ... of the `kinds` of file it writes."""
    parser.add_argument("--cohort", required=True, help="what the caption says the numbers were measured on")
    for kind in kinds:
        parser.add_argument(f"--output-{kind}", type=Path, required=True)


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write the figures behind a table."""
    write_text(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
