"""Tables that are not means of score rows: the files that each comes from, and the rows of these behind one cell."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from universal_diffusion.csv_tables import read_csv
from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.patients import read_patients
from universal_diffusion.evaluation.sampling.gate_table import ALL
from universal_diffusion.evaluation.scoring.cases import of_system, read_cases
from universal_diffusion.evaluation.tracing.behind import Rows
from universal_diffusion.evaluation.tracing.cells import Cell
from universal_diffusion.evaluation.tracing.checks import Study
from universal_diffusion.evaluation.uncertainty.cells import GROUPS
from universal_diffusion.systems import SYSTEMS, VARIANTS, system_of

CASES = "scores/cases.csv"
SAMPLED = ("models/mask_clip/card.json", "models/mask_clip/weights.safetensors")
CLAIMED = ["system", "variant", "source", "case", "target"]


@dataclass(frozen=True)
class Origin:
    """Where a table comes from; files are told from the study's folder on, as patterns with the cell's keys in braces.

    Attributes:
        keys: the columns that tell its rows apart.
        shown: files whose rows that agree with the cell in these columns stand behind it.
        hashed: files that it comes from besides.
    """

    keys: tuple[str, ...]
    shown: tuple[str, ...] = ()
    hashed: tuple[str, ...] = ()

    def files(self, study: Study, cell: Cell) -> dict[str, list[Path]]:
        """The files that are here, by pattern."""
        told = [pattern.format(**cell.row) for pattern in (*self.shown, *self.hashed)]
        return {pattern: sorted(study.folder.glob(pattern)) for pattern in told}


ORIGINS = {
    "tables/table1.csv": Origin(("dataset",), ("inventory.csv",), ("splits.csv",)),
    "tables/gate.csv": Origin(("variant", "target"), ("scores/gate/{variant}/*.csv",)),
    "tables/autoencoder_ceiling.csv": Origin(("target", "factor"), ("models/*mask_autoencoder/ceiling.csv",)),
    "tables/cost.csv": Origin(("space",), (), SAMPLED),
    "tables/networks.csv": Origin(("network", "part")),
    "tables/uncertainty.csv": Origin(
        ("row", "column"), ("scores/reliability/{row}.csv", "scores/coverage/{row}.csv"), (CASES, "splits.csv")
    ),
    "tables/sampling.csv": Origin(("mode", "ensemble", "steps"), ("scores/sampling.csv",), SAMPLED),
    "tables/sampling_seconds.csv": Origin(
        ("mode", "ensemble", "steps"), ("scores/sampling.csv", "scores/sampling_seconds.csv"), SAMPLED
    ),
    "claims.csv": Origin(
        ("claim",),
        ("claims_rows.csv",),
        (
            *(CASES, "splits.csv", "inventory.csv", "models/mask_autoencoder/ceiling.csv"),
            *(f"tables/{name}.csv" for name in ("cost", "networks", "sampling", "table1")),
            *(f"models/{system.key}/log.csv" for system in VARIANTS),
        ),
    ),
}


def origin_rows(study: Study, name: str, cell: Cell) -> list[Rows]:
    """The rows behind a cell of one of `ORIGINS`; notes of every file whether it is as it was recorded."""
    found, known = [], ORIGINS[name]
    if lacking := [key for key in known.keys if key not in cell.row]:
        raise InputError(name, f"lacks {', '.join(lacking)}", "make it again with `snakemake`")
    shown = {pattern.format(**cell.row) for pattern in known.shown}
    for pattern, paths in known.files(study, cell).items():
        for path in paths:
            file = path.relative_to(study.folder).as_posix()
            study.verify(file)
            if pattern in shown:
                found.append(Rows(file, _agreeing(path, known.keys, cell)))
        if not paths:
            study.verify(pattern)
    return [*found, *_score_rows(study, name, cell)]


def _agreeing(path: Path, keys: tuple[str, ...], cell: Cell) -> pd.DataFrame:
    """The rows of a file that have the cell's values in its key columns, and lie in its group of masks."""
    rows = _texts(path)
    wanted = {key: cell.row[key] for key in keys if cell.row[key] != ALL}
    group = cell.row.get("column", "").partition("@")[2]
    wanted |= {GROUPS[group]: group} if GROUPS.get(group) else {}
    for key, value in wanted.items():
        if key in rows:
            rows = rows[rows[key] == value]
    return rows


def _score_rows(study: Study, name: str, cell: Cell) -> Iterator[Rows]:
    """Those that an uncertainty was judged on, or that a claim names, by system."""
    paths = [study.folder / file for file in (CASES, "splits.csv")]
    if name not in ("tables/uncertainty.csv", "claims.csv") or not all(path.is_file() for path in paths):
        return
    cases = read_patients(paths[1]).named(read_cases(paths[0]))
    if name == "claims.csv":
        yield from _claimed(study, cases, cell)
        return
    system, (measure, _, group) = system_of(cell.row["row"]), cell.row["column"].partition("@")
    rows = of_system(cases, system)
    rows = rows[rows[GROUPS[group]] == group] if GROUPS.get(group) else rows
    yield Rows(CASES, rows, measure if measure in rows else "uncertainty", system)


def _claimed(study: Study, cases: pd.DataFrame, cell: Cell) -> Iterator[Rows]:
    """The score rows that claims_rows.csv names for the cell's claim, by system and measure."""
    path = study.folder / "claims_rows.csv"
    if not path.is_file():
        return
    named = _texts(path)
    named = named[(named["claim"] == cell.row["claim"]) & (named["table"] == CASES)]
    for measure, own in named.groupby("column", sort=False):
        rows = cases.merge(own[CLAIMED].drop_duplicates(), on=CLAIMED)
        scored = [(system, of_system(rows, system)) for system in SYSTEMS]
        yield from (Rows(CASES, mine, measure, system) for system, mine in scored if len(mine))


def _texts(path: Path) -> pd.DataFrame:
    try:
        return read_csv(path, str)
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no table ({error})", "make it again with `snakemake`") from None
