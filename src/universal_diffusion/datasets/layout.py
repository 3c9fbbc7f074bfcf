"""Finds a dataset's files in its unpacked tree, however many folders an archive tool has wrapped around them."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from errno import EACCES
from pathlib import Path

from universal_diffusion.datasets.base import natural_key, visible_files
from universal_diffusion.errors import InputError

DEPTH = 6
SUFFIX = ".nii.gz"


def folders(root: Path, pattern: str) -> list[Path]:
    """Folders at or below `root` (links followed) whose whole name matches the regular expression, naturally sorted.

    Hidden folders and the `__MACOSX` ones that macOS adds to archives are passed over; one that cannot be read is an
    InputError, since cases in it would be missing unnoticed.
    """
    found = []
    for folder, below, _ in os.walk(root, followlinks=True, onerror=_refuse):
        path = Path(folder)
        if not os.access(path, os.X_OK):  # its names can be listed, but no file of it opened
            _refuse(PermissionError(EACCES, os.strerror(EACCES), folder))
        if len(path.relative_to(root).parts) >= DEPTH:
            below.clear()
        below[:] = sorted(name for name in below if not name.startswith(".") and name != "__MACOSX")
        if re.fullmatch(pattern, path.name):
            found.append(path)
    return sorted(found, key=lambda path: natural_key(str(path)))


def _refuse(error: OSError) -> None:
    raise InputError(error.filename, f"cannot be read ({error.strerror})", "make it readable") from None


def stem(path: Path) -> str:
    """File name without `.nii.gz`."""
    return path.name.removesuffix(SUFFIX)


def pairs(labels: Path, images: Path, image_name: Callable[[str], str] = str) -> dict[str, tuple[Path, Path]]:
    """Case -> (image, label) for every label file of a folder; images without a label are passed over.

    Args:
        labels, images: the two folders.
        image_name: from the label's name to the image's, both without suffix.

    Raises:
        InputError: for a label whose image is missing.
    """
    found = {}
    for label in visible_files(labels, f"*{SUFFIX}"):
        image = images / f"{image_name(stem(label))}{SUFFIX}"
        if not image.is_file():
            raise InputError(label, f"has no scan at {image}", "complete the download, or take the label away")
        found[stem(label)] = (image, label)
    return found


def joined(parts: Iterable[Mapping[str, tuple[Path, ...]]]) -> dict[str, tuple[Path, ...]]:
    """The union of several folders' cases, naturally sorted; an InputError names a case that occurs twice."""
    union = {}
    for part in parts:
        for case, paths in part.items():
            if case in union:
                raise InputError(paths[0], f"is case {case}, as {union[case][0]} is", "keep one copy of the dataset")
            union[case] = paths
    return dict(sorted(union.items(), key=lambda item: natural_key(item[0])))


def require(cases: Mapping[str, tuple[Path, ...]], root: Path, expected: str) -> None:
    """Stop with an InputError that shows the expected layout if there is no case."""
    if not cases:
        raise InputError(root, "holds no labelled CT of this dataset", f"expected {expected}")
