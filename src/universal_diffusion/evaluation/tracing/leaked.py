"""The score rows behind a cell of `leakage_effect`: of the study's model, and of its counterpart's."""

import pandas as pd

from universal_diffusion.evaluation.beyond.leakage_effect import LEAKED, MEAN, effect_rows, paired
from universal_diffusion.evaluation.patients import read_patients
from universal_diffusion.evaluation.scoring.cases import SCORED, of_system, read_cases
from universal_diffusion.evaluation.tracing.behind import Rows, needed
from universal_diffusion.evaluation.tracing.cells import Cell
from universal_diffusion.evaluation.tracing.checks import Study
from universal_diffusion.systems import system_of

SYSTEM = system_of("mask_clip")
PARTS = f"scores/parts/{SYSTEM.key}.csv"
COUNTERPART = "counterpart/"


def leakage_rows(study: Study, name: str, cell: Cell) -> list[Rows]:
    """The rows of both models that the cell is made of; recomputes its whole row and notes whether it agrees."""
    patients = read_patients(needed(study, "splits.csv"))
    branches = {"drop": ("", COUNTERPART), "keep": (COUNTERPART, "")}[study.record["configuration"]["leakage"]]
    sides = [of_system(read_cases(needed(study, branch + PARTS)), SYSTEM) for branch in branches]
    rows = effect_rows(*sides, patients, int(study.record["seed"]))
    keys = ["patients", "target"]
    again = rows[(rows[keys] == pd.Series({key: cell.row[key] for key in keys})).all(axis=1)].iloc[0]
    for column in rows.columns.difference(keys, sort=False):
        study.verify_value(f"{name}: {column}", cell.row[column], again[column])
    chosen = paired(*sides, patients)
    chosen = chosen[chosen["patient"].isin(patients.copied) == (cell.row["patients"] == LEAKED)]
    chosen = chosen if cell.row["target"] == MEAN else chosen[chosen["target"] == cell.row["target"]]
    both = [side.merge(chosen[[*SCORED, "patient"]], on=SCORED) for side in sides]
    return [Rows(branch + PARTS, own, "dice", SYSTEM, branch) for branch, own in zip(branches, both, strict=True)]
