"""What an adult's organs can be: plausible volumes, Hounsfield units, pieces and sides, from `limits.csv`.

A figure outside its limits is a reason to look, not an error. Volumes are those of ICRP Publication 89 (reference
woman and man; 1 g taken as 1 ml) widened for disease, or of a simple shape; the column `source` says which and how far.
Limits of the median HU are those of soft tissue: above a mixture with fat (about -100 HU), and for solid organs without
a phase of intense enhancement below it. An organ with the side "right" has its centre right of the spine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import pandas as pd

from universal_diffusion.targets import target


@dataclass(frozen=True)
class Limits:
    """Limits of one target; an open end is infinite.

    Attributes:
        low_ml, high_ml: volume of the whole structure.
        hu_low, hu_high: median Hounsfield units.
        components: pieces (26 neighbours) up to which its label may fall on the CT's own grid.
        side: "right", "left" or "" where it has none.
        empty: "suspicious" if everyone has the organ and a scan of the abdomen shows it, otherwise "possible".
        source: where the volumes come from.
    """

    low_ml: float
    high_ml: float
    hu_low: float
    hu_high: float
    components: int
    side: str
    empty: str
    source: str


@cache
def limits() -> Mapping[str, Limits]:
    """The limits of every target, by name."""
    with files("universal_diffusion.preparation.quality").joinpath("limits.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, keep_default_na=False)
    low, high = (
        {column: pd.to_numeric(table[column]).fillna(end) for column in columns}
        for columns, end in ((("low_ml", "hu_low"), -float("inf")), (("high_ml", "hu_high"), float("inf")))
    )
    rows = table.assign(**low, **high)[[*Limits.__dataclass_fields__]].to_dict("records")
    return {target(name).name: Limits(**row) for name, row in zip(table["target"], rows, strict=True)}
