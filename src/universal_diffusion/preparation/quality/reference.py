"""The tables that stand beside this file: what kinds of findings there are, and the limits of every target."""

import csv
from importlib.resources import files


def rows(name: str) -> list[dict[str, str]]:
    """The rows of one of the tables, by column."""
    with files("universal_diffusion.preparation.quality").joinpath(name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))
