"""The CTs of the command line's input, and where their results go."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.inputs.ct_folder import find_cts

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip")


@dataclass(frozen=True)
class Case:
    """A CT of the input, its result's folder, and the name of both in messages."""

    name: str
    ct: Path
    folder: Path


def cases_of(given: Path, output: Path) -> list[Case]:
    """The CTs of the input: one, whose result goes into `output` itself, or a folder's, each into `output/<case>`.

    Raises InputError for nothing there, a folder without a CT, or an output that is a file.
    """
    if output.exists() and not output.is_dir():
        raise InputError(output, "is a file, expected a folder for the results", "give another --output")
    found = find_cts(given) if given.is_dir() else [given]
    if found == [given] or (len(found) == 1 and found[0].is_dir()):  # one study, however deep its DICOM files lie
        return [Case(given.name, given, output)]
    names = case_names([ct.relative_to(given).parts[0] for ct in found])
    return [Case(name, ct, output / name) for name, ct in zip(names, found, strict=True)]


def case_names(entries: Sequence[str]) -> list[str]:
    """A name for each entry of a folder: its own without suffix, or with it where two would be the same."""
    short = [_without_suffix(entry) for entry in entries]
    return [entry if short.count(name) > 1 else name for entry, name in zip(entries, short, strict=True)]


def _without_suffix(name: str) -> str:
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name
