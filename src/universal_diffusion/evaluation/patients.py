"""Whose scans were scored, from `splits.csv`: the unit of every interval and test.

A patient is a `group` of the splits: all copies of a scan, in whichever sources they stand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from universal_diffusion.errors import InputError
from universal_diffusion.preparation.splits import SplitRow, read_splits


@dataclass(frozen=True)
class Patients:
    """Who the scans show.

    Attributes:
        rows: of the splits, by (source, case).
        copied: patients of the test set of whom another scan stands in a training archive, left out or not.
        trained: those of them that were trained on all the same.
    """

    rows: Mapping[tuple[str, str], SplitRow]
    copied: frozenset[str]
    trained: frozenset[str]

    def named(self, cases: pd.DataFrame) -> pd.DataFrame:
        """Score rows with a column `patient`.

        Raises InputError for a case that the splits do not know, or hold in another part than the scores.
        """
        for scored in cases.drop_duplicates(["source", "case", "part"]).itertuples():
            row = self.rows.get((scored.source, scored.case))
            if row is None or row.part != scored.part:
                told = "not in the splits" if row is None else f"in the part {row.part} of the splits"
                where = f"{scored.source}/{scored.case}"
                raise InputError(where, f"is scored as {scored.part} but {told}", "run rule `score` again")
        places = zip(cases["source"], cases["case"], strict=True)
        return cases.assign(patient=[self.rows[place].group for place in places])

    def untrained(self, cases: pd.DataFrame) -> pd.DataFrame:
        """Score rows with a column `patient` (`named`), without the patients of whom a scan was trained on."""
        named = self.named(cases)
        return named[~named["patient"].isin(self.trained)]


def read_patients(splits: Path) -> Patients:
    """Read `splits.csv`. Raises InputError if a validation patient is trained on as well."""
    return patients_of(read_splits(splits), splits)


def patients_of(rows: Sequence[SplitRow], where: Path | str = "splits.csv") -> Patients:
    """The patients of the splits' rows; `where` they stand is named in an error, as in `read_patients`."""
    patients = {part: {row.group for row in rows if row.part == part} for part in {row.part for row in rows}}
    tested, trained = patients.get("test", set()), patients.get("train", set())
    leaked = [row for row in rows if row.part == "validation" and row.group in trained]
    if leaked:
        told = f"holds {leaked[0].source}/{leaked[0].case} for validation and a copy of it for training"
        raise InputError(where, told, "remake it with the step `split`")
    others = {row.group for row in rows if row.part != "test"}
    return Patients(
        {(row.source, row.case): row for row in rows}, frozenset(tested & others), frozenset(tested & trained)
    )
