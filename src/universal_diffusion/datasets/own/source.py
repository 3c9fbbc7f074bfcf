"""What a source is called and what is known of it, whether the catalogue lists it or its user describes it."""

import re
from pathlib import Path

from universal_diffusion.datasets import catalogue
from universal_diffusion.datasets.own.description import DESCRIPTION, read
from universal_diffusion.errors import InputError


def entry_of(source: str, folder: Path) -> catalogue.Entry:
    """The catalogue's entry of a source, or that of the description in `folder` for one outside the catalogue."""
    if source in catalogue.sources() or not (Path(folder) / DESCRIPTION).is_file():
        return catalogue.entry(source)
    return read(folder).entry(source)


def check_name(source: str, where: str) -> None:
    """Stop with an InputError naming `where` unless an own dataset may have this name."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", source):
        raise InputError(where, "is no name for a source", "take a letter, then letters, digits and _, all lower case")
    if source in {catalogue.entry(known).dataset for known in catalogue.sources()}:
        raise InputError(where, "is the name of a dataset of the catalogue", f"take another, e.g. my_{source}")
