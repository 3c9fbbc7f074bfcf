"""What a mask folder of 3D-IRCADb is: the rows of `ircadb_structures.csv`, and who has what."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from universal_diffusion.checksums import check_hash
from universal_diffusion.datasets.catalogue import in_order

SOURCE = "ircadb"
ANNOTATED, EMPTY, NO_FILES, NO_TARGET, UNKNOWN = "annotated", "empty", "no files", "no target", "unknown"
STATES = (ANNOTATED, EMPTY, NO_FILES, NO_TARGET, UNKNOWN)


@dataclass(frozen=True)
class Structure:
    """One mask folder of a patient.

    Attributes:
        case: the patient.
        folder: its name, as it stands.
        state: one of `STATES`.
        targets: what it annotates ("kidneys" already as both sides), joined by "|".
        reason: why it is no target.
        files: DICOM files in it.
    """

    case: str
    folder: str
    state: str
    targets: str
    reason: str
    files: int


def patients_by_target(found: Iterable[Structure], state: str = ANNOTATED) -> dict[str, list[str]]:
    """By target, in the order of the ids: the patients with a folder for it in that state."""
    patients: dict[str, list[str]] = {}
    for one in found:
        for name in filter(None, one.targets.split("|")):
            cases = patients.setdefault(name, [])
            if one.state == state and one.case not in cases:
                cases.append(one.case)
    return {name: patients[name] for name in in_order(patients)}


def read_structures(path: Path) -> list[Structure]:
    """Read the table that this step writes."""
    check_hash(path)
    rows = pd.read_csv(path, dtype={"files": int}, keep_default_na=False).to_dict("records")
    return [Structure(**row) for row in rows]
