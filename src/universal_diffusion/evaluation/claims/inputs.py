"""Scores that a ledger may be computed from: only of held-out cases, and of targets that somebody looked for."""

from collections.abc import Sequence

import pandas as pd

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.claims.measured import CASES
from universal_diffusion.preparation.splits import SplitRow


def checked_scores(cases: pd.DataFrame, splits: Sequence[SplitRow], inventory: pd.DataFrame) -> pd.DataFrame:
    """Score rows with the patient (a `group` of the splits) that each shows.

    Raises:
        InputError: for a case that the splits do not know or hold for another part, and for a target that is not
            annotated in its case.
    """
    known = {(row.source, row.case): row for row in splits}
    annotated = {(row.source, row.case): row.annotated.split("|") for row in inventory.itertuples()}
    for row in cases[["source", "case", "part", "target"]].drop_duplicates().itertuples(index=False):
        place, name = (row.source, row.case), f"{CASES}: {row.source}/{row.case}"
        if place not in known:
            raise InputError(name, "is scored but not in splits.csv", "run rule `score` again")
        if known[place].part != row.part:
            told = f"is scored as {row.part}, but splits.csv holds it for {known[place].part}"
            raise InputError(name, told, "run rule `score` again")
        if row.target not in annotated.get(place, ()):
            told = f"is scored for {row.target}, which inventory.csv does not list as annotated there"
            raise InputError(name, told, "run rules `inventory` and `score` again")
    places = zip(cases["source"], cases["case"], strict=True)
    return cases.assign(patient=[known[place].group for place in places])
