"""Hash and number of a folder's slices, for sources whose archives are packed anew for every download."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from universal_diffusion.errors import InputError
from universal_diffusion.files import sha256

SCAN = "PATIENT_DICOM"  # the folder of the slices that are counted; those of masks lie beside it


def content_hash(folder: Path) -> str:
    """SHA-256 of the lines `<sha256>  <parent folder>/<name>` of every file `image_*` below, sorted by the latter.

    It does not depend on how the archives were packed, nor on folders that an archive tool has doubled.
    """
    slices = sorted((f"{path.parent.name}/{path.name}", path) for path in _files(folder))
    return hashlib.sha256("".join(f"{sha256(path)}  {name}\n" for name, path in slices).encode()).hexdigest()


def verified_contents(
    root: Path, known: Mapping[str, str | None], published: bool, slices: Mapping[str, int] = MappingProxyType({})
) -> dict[str, str]:
    """Hash of the slices below each folder of the tree that `known` names, by that name.

    Raises:
        InputError: a `published` tree has other slices than are known of it, or a scan of another number than `slices`.
    """
    found = {}
    for parent, folders, _ in os.walk(root, followlinks=True):
        for name in sorted(known.keys() & set(folders)):
            folders.remove(name)
            found[name] = content_hash(Path(parent, name))
            if published and name in slices:
                _check_count(Path(parent, name), slices[name])
            if published and known[name] not in (None, found[name]):
                problem = f"holds slices of hash {found[name]}, the catalogue expects {known[name]}"
                raise InputError(name, problem, "it is incomplete or another edition: fetch it again")
    return dict(sorted(found.items()))


def _check_count(folder: Path, expected: int) -> None:
    count = sum(path.parent.name == SCAN for path in _files(folder))
    if count != expected:
        problem = f"holds {count} slices in {SCAN}, the catalogue expects {expected}"
        raise InputError(folder.name, problem, "it is incomplete or another edition: fetch it again")


def _files(folder: Path) -> list[Path]:
    walked = os.walk(folder, followlinks=True)
    return [Path(parent, name) for parent, _, names in walked for name in names if name.startswith("image_")]
