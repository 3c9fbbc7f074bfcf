"""The 29 segmentation targets: one language for every dataset, model and table.

A label volume is an unsigned 32-bit integer per voxel in which bit `id - 1` says "this voxel belongs to target `id`",
so any number of targets may share a voxel without loss.
"""

import csv
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from universal_diffusion.errors import InputError


@dataclass(frozen=True)
class Code:
    """A SNOMED CT concept: its number, and its meaning as DICOM's context groups spell it."""

    value: str
    meaning: str


@dataclass(frozen=True)
class Target:
    """One anatomical structure, and how DICOM codes it.

    Where SNOMED CT has no one concept for the target, `type` is the nearest that holds all of it: a "vein" in the
    regions portal vein and splenic vein; a "blood vessel" in the liver, and a "neoplasm" of an organ, because the
    datasets tell neither hepatic from portal veins nor primary from secondary tumours. AMOS's "prostate" may be a
    uterus, WORD's "intestine" is the small one.

    Attributes:
        kind: "organ" or "tumour".
        parents: a voxel of the target lies in one of them.
        category: DICOM's segmented property category (context group 7150).
        type: its segmented property type.
        laterality: right or left, the type's modifier; None where the target is no one side's.
        regions: anatomic regions, where the type alone does not name the organ.
    """

    id: int
    name: str
    kind: str
    parents: tuple[str, ...]
    category: Code
    type: Code
    laterality: Code | None
    regions: tuple[Code, ...]

    @property
    def bit(self) -> np.uint32:
        """The target's bit in a label volume."""
        return np.uint32(1 << (self.id - 1))

    @property
    def slug(self) -> str:
        """The name as it appears in file names."""
        return self.name.replace(" ", "_")

    @property
    def prompt(self) -> str:
        """The text whose CLIP features embed the target (Liu et al. 2023, with the spellings corrected)."""
        return f"A computerized tomography of a {self.name}"


@cache
def all_targets() -> tuple[Target, ...]:
    """The targets in the order of their ids, read from `targets.csv`."""
    with files("universal_diffusion").joinpath("targets.csv").open(encoding="utf-8") as file:
        return tuple(
            Target(
                int(row["id"]),
                row["name"],
                row["kind"],
                tuple(filter(None, row["parents"].split("|"))),
                *_codes(row["category"]),
                *_codes(row["type"]),
                next(iter(_codes(row["laterality"])), None),
                _codes(row["regions"]),
            )
            for row in csv.DictReader(file)
        )


def _codes(cell: str) -> tuple[Code, ...]:
    """The concepts of a cell like "32764006 Portal vein|35819009 Splenic vein"."""
    return tuple(Code(*concept.split(" ", 1)) for concept in cell.split("|") if concept)


def target(name: str) -> Target:
    """The target of that name (spaces or underscores, any case); an InputError names the nearest ones otherwise."""
    by_name = {known.name: known for known in all_targets()}
    wanted = " ".join(name.replace("_", " ").lower().split())
    if wanted in by_name:
        return by_name[wanted]
    nearest = difflib.get_close_matches(wanted, by_name, n=3, cutoff=0.4) or sorted(by_name)[:3]
    raise InputError(
        f"target {name!r}",
        "is none of the 29",
        f"nearest: {', '.join(nearest)} (list: universal-diffusion targets)",
    )


def bits(names: Iterable[str]) -> np.uint32:
    """The union of the named targets' bits."""
    return np.uint32(sum(int(target(name).bit) for name in set(names)))


def mask(labels: np.ndarray, name: str) -> np.ndarray:
    """Boolean mask of one target in a label volume of any shape."""
    return (labels & target(name).bit) != 0
