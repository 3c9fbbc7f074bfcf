"""One colour for each target, the same in every picture.

The 29 of `colours.csv` are the saturated, not too dark colours that lie farthest apart in CIELAB (28 units or more),
given to the targets such that neighbours in the body differ most (73 units or more).
"""

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from matplotlib.colors import to_rgb

from universal_diffusion.targets import Target


def colour(target: Target) -> tuple[float, float, float]:
    """RGB from 0 to 1."""
    return _colours()[target.name]


@cache
def _colours() -> Mapping[str, tuple[float, float, float]]:
    with files("universal_diffusion").joinpath("colours.csv").open(encoding="utf-8") as file:
        return {row["target"]: to_rgb(row["colour"]) for row in csv.DictReader(file)}
