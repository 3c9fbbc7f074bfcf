"""The table all other tables are made from: one row per system, case and annotated target.

| column | meaning |
|---|---|
| system, variant | `universal_diffusion` and its variant, or a baseline and nothing |
| dataset, source, case, part | whose scan, and whether it is a validation or a test case |
| target | one of the 29 |
| dice, surface_dice, hd95_mm | agreement on the CT's own grid (`scores.Overlap`); empty where undefined |
| dice_harmonised | Dice on the harmonised grid |
| ece, error_auroc | calibration and error detection of the ensemble (`calibration`); empty for baselines |
| truth_ml, predicted_ml | volumes in millilitres |
| outcome | scored, both_empty, false_positive or missed |
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from universal_diffusion.csv_tables import read_csv
from universal_diffusion.errors import InputError
from universal_diffusion.files import write_text
from universal_diffusion.systems import System

IDENTITY = ["system", "variant", "dataset", "source", "case", "target"]
SCORED = ["source", "case", "target"]
MEASURES = ["dice", "dice_harmonised", "surface_dice", "hd95_mm", "ece", "error_auroc", "truth_ml", "predicted_ml"]
COLUMNS = ["system", "variant", "dataset", "case", "target", "dice", "source", "part", *MEASURES[1:], "outcome"]


def write_cases(path: Path, cases: pd.DataFrame) -> None:
    """Write rows in the order of their identity; equal rows give equal bytes."""
    ordered = cases[COLUMNS].sort_values(IDENTITY, kind="stable")
    write_text(path, ordered.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def read_cases(path: Path) -> pd.DataFrame:
    """Read such a table. Raises InputError when it is none."""
    names = dict.fromkeys([*IDENTITY, "part", "outcome"], str)
    try:
        cases = read_csv(path, names | dict.fromkeys(MEASURES, float))
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no table of scores ({error})", "run rule `score` again") from None
    if list(cases.columns) != COLUMNS:
        raise InputError(path, f"has columns {list(cases.columns)}, expected {COLUMNS}", "run rule `score` again")
    return cases


def collect(parts: Sequence[Path]) -> pd.DataFrame:
    """All systems' rows in one table. Raises InputError unless all were scored on the same cases and targets."""
    tables = {Path(path): read_cases(path) for path in parts}
    scored = {path: set(table[SCORED].itertuples(index=False, name=None)) for path, table in tables.items()}
    first = next(iter(scored))
    for path, rows in scored.items():
        if rows != scored[first]:
            odd = "/".join(sorted(rows ^ scored[first])[0])
            raise InputError(path, f"is not of the same cases as {first}, e.g. {odd}", "run rule `score` for all again")
    together = pd.concat(tables.values(), ignore_index=True)
    repeated = together[together.duplicated(IDENTITY)]
    if len(repeated):
        raise InputError(parts[0], f"scores {repeated.iloc[0].to_dict()} twice", "give each system's scores once")
    return together


def of_system(cases: pd.DataFrame, system: System) -> pd.DataFrame:
    """The rows of one system."""
    return cases[(cases["system"] == system.family) & (cases["variant"] == system.variant)]
