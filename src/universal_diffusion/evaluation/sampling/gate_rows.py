"""The rows behind the table of the gate: one per variant, case and annotated target.

| column | meaning |
|---|---|
| variant, part, source, case, target | which model, and whose scan |
| pairs, kept | (axial slice, window) pairs that hold body, and those of them that the gate kept |
| ungated_calls, gated_calls | denoiser steps of one sample in one window: without the gate; with it, its own included |
| truth_voxels, missed_voxels | voxels of truth on the harmonised grid, and those of them in no window that was kept |
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from universal_diffusion.checksums import write_with_hash
from universal_diffusion.csv_tables import read_csv
from universal_diffusion.errors import InputError

IDENTITY = ["variant", "part", "source", "case", "target"]
COUNTS = ["pairs", "kept", "ungated_calls", "gated_calls", "truth_voxels", "missed_voxels"]


def write_rows(path: Path, rows: pd.DataFrame) -> None:
    """Write rows in the order of their identity; equal rows give equal bytes."""
    ordered = rows[IDENTITY + COUNTS].sort_values(IDENTITY, kind="stable")
    write_with_hash(path, ordered.to_csv(index=False, lineterminator="\n"))


def read_rows(parts: Sequence[Path]) -> pd.DataFrame:
    """The rows of all shards and variants. Raises InputError for a file that is no such table."""
    kinds, read = dict.fromkeys(IDENTITY, str) | dict.fromkeys(COUNTS, int), []
    for path in parts:
        try:
            read.append(read_csv(path, kinds, IDENTITY + COUNTS))
        except (OSError, ValueError) as error:
            raise InputError(path, f"is no table of the gate ({error})", "run rule `gate` again") from None
    return pd.concat(read, ignore_index=True)
