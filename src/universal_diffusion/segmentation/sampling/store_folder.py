"""The folder of a store: which files are its own, what it says that it holds, and emptying it."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from universal_diffusion.errors import InputError

IDENTITY, KEPT, BATCH = "identity.json", "kept.npz", "batch.json"
LOCK = ".lock"  # of a run that is at work in it


def holds(folder: Path, identity: dict, targets: Sequence[str]) -> bool:
    """Whether a folder is a store of these targets, in any order, of this identity."""
    found = recorded(Path(folder)) or {}
    return set(found.get("targets", ())) == set(targets) and found.get("identity") == json.loads(json.dumps(identity))


def recorded(folder: Path) -> dict | None:
    """What a folder says that it holds; None where it says nothing that can be read."""
    if folder.exists() and not folder.is_dir():
        raise InputError(folder, "is a file, expected a folder for unfinished work", "give another folder")
    try:
        return json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def empty(folder: Path, show: bool) -> None:
    """Delete a store of another identity; a folder with anything else in it is refused."""
    if not folder.exists():
        return
    inside = sorted(path for path in folder.iterdir() if path.name != LOCK)
    strange = [path for path in inside if not _is_ours(path.name)]
    if strange:
        raise InputError(folder, f"holds {strange[0].name}, which is no unfinished work", "give an empty folder")
    if inside and show:
        print(f"{folder}: holds unfinished work of another run; it is started anew", file=sys.stderr)
    for path in inside:
        path.unlink()


def _is_ours(name: str) -> bool:
    return name in (IDENTITY, KEPT, BATCH) or name.startswith((".partial-", "slab_"))
