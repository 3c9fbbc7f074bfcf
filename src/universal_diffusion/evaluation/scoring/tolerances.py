"""How far a surface may lie from the true one and still count as found, per target: `tolerances.csv`.

The tolerances of 13 abdominal organs are those of the FLARE 2022 challenge's evaluation, that of a tumour is FLARE
2023's. No challenge that we know gives one for the other targets; they get 2 mm, FLARE's strictest ("strictest" in the
table), so that their score cannot be flattered. Nikolov et al. (2018), who brought in the measure, give tolerances for
organs of the head and neck only, and none of them is a target here.

The scores are not comparable with FLARE's all the same: its code weighs surface elements by their area, MONAI's, used
here, counts surface voxels and measures between their centres, which reads lower where slices are 3 to 5 mm apart.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from universal_diffusion.targets import target


@dataclass(frozen=True)
class Tolerance:
    """`surface_mm`: the largest distance that counts as found; `source`: who set it."""

    surface_mm: float
    source: str


@cache
def tolerances() -> Mapping[str, Tolerance]:
    """The tolerance of every target, by name."""
    with files("universal_diffusion.evaluation.scoring").joinpath("tolerances.csv").open(encoding="utf-8") as file:
        return {
            target(row["target"]).name: Tolerance(float(row["surface_tolerance_mm"]), row["source"])
            for row in csv.DictReader(file)
        }
