"""Python, the packages of `requirements.lock`, and what the viewer needs."""

import platform
import re
import webbrowser
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.resources import files
from pathlib import Path

from packaging.requirements import Requirement

from universal_diffusion.doctor.finding import Asked, Finding
from universal_diffusion.errors import InputError

LOCK = "requirements.lock"
NAMED = 4  # packages that a line names
REINSTALL = "`make env` installs what is locked; without it results may differ"


def check_software(asked: Asked) -> list[Finding]:
    """Python and its packages, then the viewer."""
    locked = read_lock(asked.project / LOCK)
    found = {each.name: installed(each.name) for each in locked}
    other = {each: found[each.name] for each in locked if found[each.name] not in (None, pinned(each))}
    absent = sorted(needed() - {name for name, there in found.items() if there})
    text = f"{platform.python_version()}, {sum(map(bool, found.values()))} of {len(locked)} locked packages"
    lines = [Finding("python", text if other or absent else f"{text}, each of the locked version")]
    if absent:
        lines.append(Finding("packages", f"not installed: {', '.join(absent)}", "missing", REINSTALL))
    if other:
        names = [f"{each.name} {there} (locked {pinned(each)})" for each, there in other.items()]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        lines.append(Finding("packages", ", ".join(names[:NAMED]) + more, "missing", REINSTALL))
    return [*lines, _viewer()]


def read_lock(path: Path) -> list[Requirement]:
    """What is locked for this machine and Python. Raises InputError where there is no lock."""
    if not path.is_file():
        raise InputError(path, "is missing", "run this in the project's folder")
    lines = re.findall(r"^[A-Za-z0-9].*?(?= *\\?$)", path.read_text(encoding="utf-8"), re.MULTILINE)
    locked = map(Requirement, lines)
    return [each for each in locked if each.marker is None or each.marker.evaluate()]


def pinned(requirement: Requirement) -> str:
    """The one version that a line of the lock allows."""
    (only,) = requirement.specifier
    return only.version


def installed(name: str) -> str | None:
    """The version of a distribution, without what a build adds to it (2.15.0+cpu), None if it is not installed."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None


def needed() -> set[str]:
    """What the library and the workflow import themselves, by the lock's names."""
    asked = map(Requirement, requires("universal-diffusion") or ())
    kept = (each for each in asked if each.marker is None or each.marker.evaluate({"extra": "study"}))
    return {re.sub(r"[-_.]+", "-", each.name).lower() for each in kept}


def _viewer() -> Finding:
    if not files("universal_diffusion.viewer").joinpath("niivue.umd.js").is_file():
        return Finding("viewer", "niivue is not built, which pages and `view` hold", "missing", "`make env` builds it")
    try:
        webbrowser.get()
    except webbrowser.Error:
        return Finding("viewer", "niivue is there; no browser: `view --no-browser` writes pages to open elsewhere")
    return Finding("viewer", "niivue and a browser are there")
