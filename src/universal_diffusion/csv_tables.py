"""Reading the study's CSV files in which names of cases stand: a name is text, whatever it looks like."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from universal_diffusion.checksums import check_hash

_SCANS = [f"{whose}{name}" for whose in ("", "other_", "matched_") for name in ("source", "case")]
NAMES = (*_SCANS, "dataset", "group", "target")  # columns that are text wherever they stand


def read_csv(
    path: Path, kinds: type | Mapping[str, type] = MappingProxyType({}), columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """A table as this study writes it: `NA`, `null`, `001`, `1e5` and `True` stay what they are where text stands.

    Args:
        kinds: of columns, or of all; what is not told and not in `NAMES` is inferred.
        columns: the only ones that are read.

    Returns:
        The table; an empty cell is "" in a column of text, and missing (NaN) in one of numbers.

    Raises:
        OSError, ValueError: as `pandas.read_csv`, for a file that is no such table.
        InputError: it is not the table that the hash beside it is of.
    """
    check_hash(path)
    told = kinds if isinstance(kinds, type) else dict.fromkeys(NAMES, str) | dict(kinds)
    table = pd.read_csv(path, dtype=told, usecols=columns, keep_default_na=False, na_values=[""])
    text = table.select_dtypes("str").columns
    return table.fillna(dict.fromkeys(text, ""))
