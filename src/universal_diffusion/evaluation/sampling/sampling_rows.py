"""The rows behind the tables of sampling: what every setting found and cost in every case.

`scores/sampling.csv`, which no clock decides, has one row per setting, case and target that the case holds:

| column | meaning |
|---|---|
| mode, ensemble, steps | the setting: gate and warm start, samples, steps of each |
| source, case, target | whose scan, and what of it |
| dice | of the ensemble's mean at 0.5, on the harmonised grid |
| calls, gflop | of the case: denoiser steps of one sample in one window, the gate's included; operations / 1e9 |

`scores/sampling_seconds.csv` has one row per setting and case: setting, source, case, seconds.
"""

from pathlib import Path

import pandas as pd

from universal_diffusion.csv_tables import read_csv
from universal_diffusion.errors import InputError
from universal_diffusion.files import write_text

SETTING = ["mode", "ensemble", "steps"]
CASE = ["source", "case"]
FOUND = [*SETTING, *CASE, "target", "dice", "calls", "gflop"]
TIMED = [*SETTING, *CASE, "seconds"]
COSTS = ("seconds", "calls", "gflop")
KINDS = {"mode": str, "ensemble": int, "steps": int, "dice": float, "calls": int, "gflop": float, "seconds": float}


def write_rows(rows: pd.DataFrame, found: Path, timed: Path) -> None:
    """Write the rows of a sweep (`FOUND` and seconds), every figure with all its digits."""
    for path, columns in ((found, FOUND), (timed, TIMED)):
        write_text(path, rows[columns].drop_duplicates().to_csv(index=False, lineterminator="\n"))


def read_found(path: Path) -> pd.DataFrame:
    """What every setting found and cost. Raises InputError for a file that is no such table."""
    return _read(path, FOUND)


def read_timed(found: Path, timed: Path) -> pd.DataFrame:
    """The same with seconds in place of calls and operations. Raises InputError for files that are no such tables."""
    seconds, dice = _read(timed, TIMED), _read(found, FOUND).drop(columns=["calls", "gflop"])
    together = dice.merge(seconds, on=[*SETTING, *CASE], how="left", validate="many_to_one")
    if together["seconds"].isna().any():
        raise InputError(timed, f"does not time every setting and case of {found.name}", "run `sampling_sweep` again")
    return together


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per setting: cases, n (targets in them), mean Dice, and those of `COSTS` that the rows have, per case."""
    found, costs = [], [name for name in COSTS if name in rows]
    for key, own in rows.groupby(SETTING, sort=False):
        cases = own.drop_duplicates(CASE)
        means = {"dice": own["dice"].mean()} | cases[costs].mean().to_dict()
        found.append(dict(zip(SETTING, key, strict=True)) | {"cases": len(cases), "n": len(own)} | means)
    return pd.DataFrame(found)


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        return read_csv(path, {name: kind for name, kind in KINDS.items() if name in columns}, columns)
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no table of a sweep ({error})", "run rule `sampling_sweep` again") from None
