"""The table all other tables are made from: one row per system, case and annotated target.

A target that nobody looked for in a case has no row. Empty cells are undefined, never zero.

| column | meaning |
|---|---|
| system, variant | `universal_diffusion` and its variant, or a baseline and nothing |
| dataset, source, case, part | whose scan, and whether it is a validation or a test case |
| target | one of the 29 |
| outcome | scored, both_empty, false_positive (absent, predicted) or missed (present, not predicted) |
| dice, surface_dice, hd95_mm | agreement on the CT's own grid (`scores.Agreement`) |
| dice_harmonised, surface_dice_harmonised, hd95_harmonised_mm | the same on the harmonised grid |
| dice_clip_universal | Dice as the published comparison counts it (`protocol`) |
| truth_ml, predicted_ml | volumes in millilitres, on the CT's own grid |
| volume_error | (predicted_ml - truth_ml) / truth_ml; empty where the target is absent |
| false_positive_ml | predicted_ml where the target is absent; empty elsewhere |
| ece, brier, error_auroc | calibration and error detection of the ensemble (`calibration`); empty for baselines |
| uncertainty | the ensemble's own doubt: mean entropy in bits (`calibration`); empty for baselines |
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from universal_diffusion.checksums import write_with_hash
from universal_diffusion.csv_tables import read_csv
from universal_diffusion.errors import InputError
from universal_diffusion.systems import System

IDENTITY = ["system", "variant", "dataset", "source", "case", "target"]
SCORED = ["source", "case", "target"]
NATIVE = ["dice", "surface_dice", "hd95_mm"]
HARMONISED = ["dice_harmonised", "surface_dice_harmonised", "hd95_harmonised_mm"]
VOLUMES = ["truth_ml", "predicted_ml", "volume_error", "false_positive_ml"]
UNCERTAINTY = ["ece", "brier", "error_auroc", "uncertainty"]
MEASURES = [*NATIVE, *HARMONISED, "dice_clip_universal", *VOLUMES, *UNCERTAINTY]
COLUMNS = ["system", "variant", "dataset", "source", "case", "part", "target", "outcome", *MEASURES]


def write_cases(path: Path, cases: pd.DataFrame) -> None:
    """Write rows in the order of their identity; equal rows give equal bytes."""
    ordered = cases[COLUMNS].sort_values(IDENTITY, kind="stable")
    write_with_hash(path, ordered.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


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
