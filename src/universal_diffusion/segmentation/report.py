"""`segmentation.json`, the report in a result's folder: found again, and removed with all its files."""

import json
from collections.abc import Sequence
from pathlib import Path

REPORT, VIEW = "segmentation.json", "view.html"


def read_report(folder: Path) -> dict | None:
    """The report in a result folder; None where there is none that can be read."""
    try:
        found = json.loads((Path(folder) / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def is_finished(folder: Path, identity: dict, targets: Sequence[str], files: Sequence[str]) -> bool:
    """Whether a folder holds the whole result of this very run: its identity, its targets, and these files."""
    found = read_report(folder)
    if found is None or found.get("identity") != json.loads(json.dumps(identity)):
        return False
    return set(found["targets"]) == set(targets) and all((folder / name).exists() for name in files)


def remove_result(folder: Path) -> None:
    """Delete a result's report and every file that it names, so that no mask of an earlier run stays behind."""
    found = read_report(folder)
    if found is None:
        return
    (folder / REPORT).unlink()
    of_targets = (name for facts in found.get("targets", {}).values() for name in facts.get("files", {}).values())
    for name in [*of_targets, *found.get("files", {}).values(), VIEW]:
        if Path(name).name == name:  # another's file may name anything
            (folder / name).unlink(missing_ok=True)
