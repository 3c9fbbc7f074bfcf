"""`universal-diffusion trace`: everything behind one cell of a study's table, verified as it goes."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.tracing.behind import Rows, compared_rows, score_rows
from universal_diffusion.evaluation.tracing.cells import find
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
from universal_diffusion.evaluation.tracing.leaked import leakage_rows
from universal_diffusion.evaluation.tracing.origins import ORIGINS, origin_rows
from universal_diffusion.evaluation.tracing.paper_figures import published_lines
from universal_diffusion.evaluation.tracing.rebuilt import verify_row
from universal_diffusion.evaluation.tracing.seal import SEAL

SCORES = {  # tables whose cells are means of score rows: what recomputes them
    "tables/table2.csv": score_rows,
    "tables/table3.csv": score_rows,
    "tables/targets.csv": score_rows,
    "tables/comparisons.csv": compared_rows,
    "tables/leakage_effect.csv": leakage_rows,
}
OWN = "tables/own/"
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
    if name not in ORIGINS and name not in SCORES and not name.startswith(OWN):
        known = ", ".join([*SCORES, f"{OWN}<source>.csv", *ORIGINS])
        raise InputError(table, "is not a table that can be traced", f"give one of {known}")
    cell = find(table, names)
    _verify_table(study, name)
    if cell.row.get("origin") == "published":
        sections = published_lines(study, name, cell)
    else:
        found = origin_rows(study, name, cell) if name in ORIGINS else SCORES.get(name, score_rows)(study, name, cell)
        sections = _together(_section(study, rows) for rows in found)
        if name in ORIGINS:
            verify_row(study, name, cell)
    if cell.others:
        sections["Other cells of these names"] = list(cell.others)
    sections["Configuration, commit, environment, seed"] = environment(study)
    return Trace(name, cell.row, cell.column, sections, tuple(study.checks))


def _verify_table(study: Study, name: str) -> None:
    """Compare the table itself with the seal that the study's end put on it."""
    if study.sealed is None:
        study.note(SEAL, NOT_HERE, "nothing says whether this table was edited; `snakemake` makes it")
    elif name in study.sealed:
        study.verify(name, study.sealed[name])
    else:
        study.note(name, UNRECORDED, f"{SEAL} does not name it")


def _section(study: Study, found: Rows) -> dict[str, list[str]]:
    """Rows under the name of their file; those that were scored with their model and archives."""
    if found.system is None:
        return {found.file: _lines(found)}
    verify_inputs(study, found)
    title = f"Score rows of {found.system.key} ({len(found.rows)} of {found.file}, measure {found.measure})"
    sources = sorted(found.rows["source"].unique())
    return {
        title: _lines(found),
        f"Model {found.branch}{found.system.key}": verify_model(study, found.system, found.branch),
        "Archives": archives(study, sources),
    }


def _together(sections: Iterable[dict[str, list[str]]]) -> dict[str, list[str]]:
    """All sections; of those with one title the lines of both, each once."""
    found: dict[str, list[str]] = {}
    for title, lines in (pair for section in sections for pair in section.items()):
        found[title] = list(dict.fromkeys([*found.get(title, []), *lines]))
    return found


def _lines(found: Rows) -> list[str]:
    rows = found.rows
    if found.system is not None:
        columns = ["source", "case", "part", "target", "patient", "outcome", "dice", found.measure]
        rows = rows[list(dict.fromkeys(columns))].sort_values(["source", "case", "target"])
    return [
        ", ".join(f"{key}={value}" for key, value in row.items() if not pd.isna(value) and value != "")
        for row in rows.to_dict("records")
    ]


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
