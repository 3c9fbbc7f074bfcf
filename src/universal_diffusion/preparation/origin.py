"""Where the archives of a source came from: the record that travels with them as `origin.json`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from universal_diffusion.errors import InputError
from universal_diffusion.files import write_json

ORIGIN = "origin.json"


@dataclass(frozen=True)
class ArchiveFile:
    """One file as it was acquired: its name relative to the source's folder, its SHA-256 and its size.

    `checked` is what it was found to agree with, "" (and left out of the record) for nothing.
    """

    name: str
    sha256: str
    bytes: int
    checked: str = ""


@dataclass(frozen=True)
class Origin:
    """The record. `cases` are the only ones wanted of the archive, all when empty; `mirrored` those to turn round.

    `contents` are the hashes of folders' slices, where archives are packed anew for every download (`contents.py`).
    """

    origin: str
    files: tuple[ArchiveFile, ...]
    note: str
    cases: tuple[str, ...] = ()
    mirrored: tuple[str, ...] = ()
    contents: Mapping[str, str] = field(default_factory=dict)


def write_origin(folder: Path, origin: Origin) -> None:
    """Write the record into the folder it describes."""
    content = asdict(origin)
    content["files"] = [{key: value for key, value in file.items() if value != ""} for file in content["files"]]
    write_json(folder / ORIGIN, content)


def read_origin(folder: Path) -> Origin:
    """Read a folder's record. Raises InputError where there is none."""
    try:
        content = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
        files = tuple(ArchiveFile(**file) for file in content["files"])
        cases, mirrored = (tuple(content.get(key, ())) for key in ("cases", "mirrored"))
        return Origin(content["origin"], files, content["note"], cases, mirrored, content.get("contents", {}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(folder / ORIGIN, f"is no record of origin ({error})", "run `acquire` again") from None
