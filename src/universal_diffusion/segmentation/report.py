"""`segmentation.json`, the report in a result's folder: found again, compared, and removed with all its files."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from universal_diffusion.files import partial_beside, write_json

REPORT, VIEW = "segmentation.json", "view.html"
WRITING = ".writing.json"  # names of the files that are being written, until the report names them


def read_report(folder: Path) -> dict | None:
    """The report in a result folder; None where there is none that can be read."""
    found = _read(Path(folder) / REPORT)
    return found if isinstance(found, dict) else None


def is_finished(folder: Path, identity: dict, targets: Sequence[str], files: Sequence[str]) -> bool:
    """Whether a folder holds the result of this very run, whole: its identity, its targets, these files and no others.

    Each file must have the bytes that the report counted.
    """
    found = read_report(folder)
    if found is None or found.get("identity") != json.loads(json.dumps(identity)):
        return False
    return set(found.get("targets", ())) == set(targets) and found.get("bytes") == sizes_of(folder, files)


def sizes_of(folder: Path, files: Sequence[str]) -> dict[str, int | None]:
    """Bytes of each file of a folder; None for one that is not there."""
    paths = {name: Path(folder) / name for name in files}
    return {name: path.stat().st_size if path.is_file() else None for name, path in paths.items()}


def announce(folder: Path, files: Sequence[str]) -> None:
    """Write down which files are about to be written, so that `remove_result` finds them if that is cut off."""
    write_json(Path(folder) / WRITING, sorted(files))


def remove_result(folder: Path) -> None:
    """Delete every file that a result, or writing one that was cut off, left in a folder; their lists go last."""
    folder = Path(folder)
    for name in _named(folder):
        path = folder / name
        if Path(name).name == name:  # another's file may name anything
            partial_beside(path)  # removes what a killed process left of it
            if path.is_file():
                path.unlink()
    for name in (REPORT, WRITING):
        (folder / name).unlink(missing_ok=True)


def _named(folder: Path) -> Iterator[str]:
    report, announced = read_report(folder), _read(folder / WRITING)
    if report is None and announced is None:
        return
    listed = [*(report or {}).get("bytes", ()), *(announced or ())]
    yield from (name for name in [*listed, REPORT, VIEW] if isinstance(name, str))


def _read(path: Path) -> object:
    """What a JSON file holds; None for none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
