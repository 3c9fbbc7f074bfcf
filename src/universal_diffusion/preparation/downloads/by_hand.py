"""Files that a person fetched: where they belong, and how they are known under another name."""

from collections.abc import Iterable
from pathlib import Path

from universal_diffusion.datasets.catalogue import Archive, Entry
from universal_diffusion.preparation.downloads.verify import Checked, Mismatch, Published, check


def remedy(entry: Entry, archive: Archive, place: Path) -> str:
    """What a person can do who has to fetch an archive without us."""
    what = "put its patients' folders into" if archive.is_collection else "put it at"
    return f"fetch it by hand ({entry.page}) and {what} {place.absolute()}"


def under_another_name(archive: Archive, told: Published | None, lying: Iterable[Path]) -> Checked | None:
    """The one of the files that is the archive by its published hash, whatever a browser called it."""
    for path in lying if archive.hash or told else ():
        try:
            return check(path, archive, told)
        except Mismatch:
            continue
    return None


def strangers(folder: Path, archives: Iterable[Archive]) -> list[Path]:
    """The files directly in `folder` that have no archive's name, sorted."""
    names = {Path(archive.name).name for archive in archives}
    files = (path for path in folder.glob("[!.]*") if path.is_file())
    return sorted(path for path in files if path.name not in names)
