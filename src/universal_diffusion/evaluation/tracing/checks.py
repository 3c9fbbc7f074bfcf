"""Whether files are still what the study recorded: a list of verdicts, each about one file or value."""

import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.tracing.seal import SEAL
from universal_diffusion.files import sha256

VERIFIED, CHANGED, NOT_HERE, UNRECORDED = "verified", "CHANGED", "not here", "not recorded"
NOT_RECOMPUTED = "not recomputed"


@dataclass(frozen=True)
class Check:
    """One verdict: `what` was looked at, and its `status`; `told` says what differs or which hash agreed."""

    what: str
    status: str
    told: str


@dataclass
class Study:
    """A study's folder, its record, and what was verified of it so far.

    Attributes:
        folder: the results folder, wherever it now lies.
        record: content of its provenance.json.
        sealed: content of its seal.json, None where there is none.
    """

    folder: Path
    record: dict
    sealed: dict | None = None
    checks: list[Check] = field(default_factory=list)

    def recorded(self, name: str) -> str | None:
        """The SHA-256 that provenance.json or seal.json holds of a file, named relative to the results folder."""
        return self.record["artefacts"].get(f"results/{self.record['study']}/{name}", (self.sealed or {}).get(name))

    def verify(self, name: str, expected: str | None = None) -> Check:
        """Hash a file, once, and compare it with `expected`, by default with what was recorded."""
        known = expected or self.recorded(name)
        found = next((check for check in self.checks if check.what == name), None)
        return found or self.note(name, *self._compared(self.folder / name, known))

    def _compared(self, path: Path, known: str | None) -> tuple[str, str]:
        if not path.is_file():
            return NOT_HERE, f"sha256 {known} recorded" if known else "nothing recorded"
        found = sha256(path)
        if known is None:
            return UNRECORDED, f"sha256 {found}"
        return (VERIFIED, f"sha256 {found}") if found == known else (CHANGED, f"sha256 {found}, recorded {known}")

    def note(self, what: str, status: str, told: str) -> Check:
        """Add a verdict."""
        self.checks.append(Check(what, status, told))
        return self.checks[-1]

    def verify_value(self, what: str, printed: object, recomputed: object) -> Check:
        """Compare a value of a table, "" or NaN where its cell is empty, with the one recomputed."""
        same = _equal(printed, recomputed)
        told = (
            f"{'(empty)' if printed == '' else printed}, recomputed"
            if same
            else f"the table says {printed}, its rows give {recomputed}"
        )
        return self.note(what, VERIFIED if same else CHANGED, told)


def _equal(one: object, other: object) -> bool:
    """Whether both are missing, the same text, or the same number to the six digits that tables are written with."""
    if any(pd.isna(value) or value == "" for value in (one, other)):
        return all(pd.isna(value) or value == "" for value in (one, other))
    try:
        return f"{float(one):.6g}" == f"{float(other):.6g}"
    except (TypeError, ValueError):
        return str(one) == str(other)


def open_study(table: Path) -> tuple[Study, str]:
    """The study that a table belongs to, and the table's name relative to its folder.

    Raises InputError if there is no such file, or no provenance.json above it.
    """
    table = table.resolve()
    if not table.is_file():
        raise InputError(table, "is no file", "give a CSV of a study, such as results/<study>/tables/table3.csv")
    for folder in table.parents:
        path = folder / "provenance.json"
        if path.is_file():
            return Study(folder, _read(path), _sealed(folder / SEAL)), str(PurePosixPath(table.relative_to(folder)))
    remedy = "give a CSV under results/<study>, or finish the study (`snakemake`)"
    raise InputError(table, "is not a table of a study: no provenance.json above it", remedy)


def _read(path: Path) -> dict:
    wanted = {
        "study",
        "cohort",
        "seed",
        "configuration",
        "configuration_sha256",
        "source_code",
        "versions",
        "archives",
        "artefacts",
    }
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        lacks = wanted - set(record)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(path, f"is no record of a study ({error})", "run rule `provenance` again") from None
    if lacks:
        raise InputError(path, f"lacks {', '.join(sorted(lacks))}", "run rule `provenance` again")
    return record


def _sealed(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(path, f"is no seal ({error})", "run rule `seal` again") from None
