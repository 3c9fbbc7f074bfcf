"""`universal-diffusion trace`: everything behind one cell of a study's table, verified as it goes."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.paper.published import COLUMNS as PUBLISHED_COLUMNS
from universal_diffusion.evaluation.paper.published import read_published
from universal_diffusion.evaluation.tracing.behind import SOURCES, Rows, compared_rows, score_rows, source_rows
from universal_diffusion.evaluation.tracing.cells import Cell, find
from universal_diffusion.evaluation.tracing.checks import (
    CHANGED,
    NOT_HERE,
    NOT_RECOMPUTED,
    UNRECORDED,
    VERIFIED,
    Check,
    Study,
    open_study,
)
from universal_diffusion.evaluation.tracing.evidence import archives, environment, verify_inputs, verify_model
from universal_diffusion.evaluation.tracing.rebuilt import verify_row
from universal_diffusion.evaluation.tracing.seal import SEAL
from universal_diffusion.files import sha256

SCORES = ("tables/table2.csv", "tables/table3.csv", "tables/targets.csv", "tables/comparisons.csv")
PUBLISHED = "config/published.csv"
STATUSES = (VERIFIED, CHANGED, NOT_HERE, UNRECORDED, NOT_RECOMPUTED)


@dataclass(frozen=True)
class Trace:
    """What stands behind a cell: `sections` of lines by title, and a check for everything that was looked at."""

    table: str
    cell: dict[str, str]
    column: str
    sections: dict[str, list[str]]
    checks: tuple[Check, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing that was looked at had changed."""
        return all(check.status != CHANGED for check in self.checks)


def trace(table: Path, names: Sequence[str]) -> Trace:
    """Trace one cell. Raises InputError for what is no table of a study, no cell or several, or a damaged file."""
    study, name = open_study(table)
    if name not in SOURCES and name not in SCORES and not name.startswith("tables/own/"):
        known = ", ".join([*SCORES, "tables/own/<source>.csv", *SOURCES])
        raise InputError(table, "is not a table that can be traced", f"give one of {known}")
    cell = find(table, names)
    _verify_table(study, name)
    if cell.row.get("origin") == "published":
        sections = _published(study, name, cell)
    elif name in SOURCES:
        sections = {found.file: _lines(found) for found in source_rows(study, name, cell)}
        verify_row(study, name, cell)
    elif name == "tables/comparisons.csv":
        both = compared_rows(study, name, cell)
        sections = {title: lines for found in both for title, lines in _scored(study, found).items()}
    else:
        sections = _scored(study, score_rows(study, name, cell))
    if cell.others:
        sections["Other cells of these names"] = list(cell.others)
    sections["Configuration, commit, environment, seed"] = environment(study)
    return Trace(name, cell.row, cell.column, sections, tuple(study.checks))


def _verify_table(study: Study, name: str) -> None:
    """Compare the table itself with the seal that the study's end put on it."""
    path = study.folder / SEAL
    try:
        sealed = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        study.note(SEAL, NOT_HERE, "nothing says whether this table was edited; `snakemake` makes it")
        return
    except ValueError as error:
        raise InputError(path, f"is no seal ({error})", "run rule `seal` again") from None
    if name in sealed:
        study.verify(name, sealed[name])
    else:
        study.note(name, UNRECORDED, f"{SEAL} does not name it")


def _scored(study: Study, found: Rows) -> dict[str, list[str]]:
    verify_inputs(study, found)
    title = f"Score rows of {found.system.key} ({len(found.rows)} of {found.file}, measure {found.measure})"
    sources = sorted(found.rows["source"].unique())
    return {
        title: _lines(found),
        f"Model {found.system.key}": verify_model(study, found.system),
        "Archives": archives(study, sources),
    }


def _lines(found: Rows) -> list[str]:
    rows = found.rows
    if found.system is not None:
        columns = ["source", "case", "part", "target", "patient", "outcome", "dice", found.measure]
        rows = rows[list(dict.fromkeys(columns))].sort_values(["source", "case", "target"])
    return [
        ", ".join(f"{key}={value}" for key, value in row.items() if not pd.isna(value) and value != "")
        for row in rows.to_dict("records")
    ]


def _published(study: Study, name: str, cell: Cell) -> dict[str, list[str]]:
    """A figure that the paper printed: its line of config/published.csv, in the repository or this package's."""
    places = [study.folder.parents[1] / PUBLISHED, Path(__file__).parents[4] / PUBLISHED]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        study.note(PUBLISHED, NOT_HERE, "the paper's printed figures")
        return {"Published": ["printed in the paper; config/published.csv is not here"]}
    known, found = study.record["artefacts"].get(PUBLISHED), sha256(path)
    study.note(PUBLISHED, VERIFIED if found == known else CHANGED, f"sha256 {found}, recorded {known}")
    number = int(name.removesuffix(".csv")[-1])
    figures = read_published(path, number)
    column = cell.row["column"].split("@")[0] if number == 3 else cell.row["column"]
    mine = figures[(figures["row_key"] == cell.row["row"]) & (figures["column_key"] == column)]
    value = mine["value"].iloc[0] / 100 if len(mine) else None
    study.verify_value(f"{name}: value", cell.row["value"], value)
    return {
        f"Published, Table {number} of the paper": [
            f"{key}: {value}"
            for row in mine[PUBLISHED_COLUMNS].to_dict("records")
            for key, value in row.items()
            if value != ""
        ]
    }


def printed(traced: Trace) -> str:
    """The trace as a person reads it; the last line says what was verified and what was not."""
    lines = [f"{traced.table}: {traced.column} = {traced.cell[traced.column] or '(empty)'}"]
    lines += [f"  {key}: {value}" for key, value in traced.cell.items() if value and key != traced.column]
    for title, content in traced.sections.items():
        lines += ["", title, *(f"  {line}" for line in content)]
    lines += ["", "Checks", *(f"  {check.status:14s}  {check.what}: {check.told}" for check in traced.checks)]
    return "\n".join([*lines, "", _verdict(traced)])


def _verdict(traced: Trace) -> str:
    counts = Counter(check.status for check in traced.checks)
    told = [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
    changed = [check.what for check in traced.checks if check.status == CHANGED]
    return ", ".join(told) + (f"; changed: {', '.join(changed)}" if changed else "; nothing changed")


def as_json(traced: Trace) -> str:
    """The trace for machines."""
    return json.dumps(asdict(traced) | {"sound": traced.sound}, indent=2)
