"""What an adult's organs can be: plausible volumes, Hounsfield units, pieces and sides, from `limits.csv`.

A figure outside its limits is a reason to look, not an error. Volumes are those of ICRP Publication 89 (reference
woman and man; 1 g taken as 1 ml) widened for disease, or of a simple shape; the column `source` says which and how far.
Limits of the median HU are those of soft tissue: above a mixture with fat (about -100 HU), and for solid organs without
a phase of intense enhancement below it. An organ with the side "right" has its centre right of the spine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from universal_diffusion.preparation.quality.reference import rows
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
    found = {}
    for row in rows("limits.csv"):
        low_ml, hu_low = (float(row[column] or "-inf") for column in ("low_ml", "hu_low"))
        high_ml, hu_high = (float(row[column] or "inf") for column in ("high_ml", "hu_high"))
        words = (row["side"], row["empty"], row["source"])
        found[target(row["target"]).name] = Limits(low_ml, high_ml, hu_low, hu_high, int(row["components"]), *words)
    return found
