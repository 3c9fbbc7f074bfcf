"""What every dataset reader gives: an inventory of cases, and each case with labels in the common language."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from universal_diffusion.errors import InputError


@dataclass(frozen=True)
class Case:
    """One labelled CT as its owner ships it, in its own array order.

    Attributes:
        source: key of the dataset catalogue, e.g. "msd03".
        case: the native name, unique within the source.
        image: 3-D float32 Hounsfield units.
        affine: 4 x 4, from voxel indices to RAS millimetres (nibabel's convention).
        labels: uint32 target bits, same shape as `image`, sides already split.
        annotated: names of the targets that were looked for in this case.
    """

    source: str
    case: str
    image: np.ndarray
    affine: np.ndarray
    labels: np.ndarray
    annotated: tuple[str, ...]


class Reader(Protocol):
    """One native layout. Modules of this package provide a class with this shape, registered in `readers.py`."""

    def cases(self) -> tuple[str, ...]:
        """Names of the labelled CT cases found, naturally sorted; unlabelled and non-CT files are passed over."""

    def paths(self, case: str) -> tuple[Path, ...]:
        """The files that `read` reads, and folders of which it reads any."""

    def read(self, case: str) -> Case:
        """Read one case. Raises InputError for anything unreadable, inconsistent or outside the label table."""


def natural_key(name: str) -> tuple:
    """Sorts case_2 before case_10."""
    return tuple(int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name))


def visible_files(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder by pattern, naturally sorted, without the `._*` side files that macOS leaves in archives."""
    return sorted((p for p in folder.glob(pattern) if not p.name.startswith(".")), key=lambda p: natural_key(p.name))


def itk_name(path: Path) -> str:
    """The path as SimpleITK takes it; InputError for a name that is no UTF-8, on which it would abort the process."""
    try:
        return str(path).encode().decode()
    except UnicodeEncodeError:
        raise InputError(path, "has a name that is not encoded in UTF-8", "rename it") from None
