"""Step: the archives of one source, as their owner ships them, found on this machine or downloaded.

Both origins end alike: a folder of links to verified files, and `origin.json` with their hashes. Downloads are kept
under `<data root>/downloads/<source>`, outside the results, so that nothing fetched is lost with a failed run and a
file fetched by hand can be dropped there.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from universal_diffusion.datasets import catalogue
from universal_diffusion.datasets.own.cases import files as own_files
from universal_diffusion.datasets.own.description import DESCRIPTION
from universal_diffusion.datasets.own.source import entry_of
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.preparation.downloads.mirrors import DAMAGED, fetch
from universal_diffusion.preparation.downloads.session import Patience
from universal_diffusion.preparation.downloads.verify import Checked, Mismatch, against, check
from universal_diffusion.preparation.folders import link, visible_tree, whole_folder
from universal_diffusion.preparation.origin import ArchiveFile, Origin, write_origin
from universal_diffusion.settings import Source, read_json

PATIENCE = Patience()


def acquire(
    entry: catalogue.Entry, settings: Source, data_root: Path, output: Path, patience: Patience = PATIENCE
) -> None:
    """Make the folder `output`: links to the source's verified archive files, and their record.

    Args:
        patience: how long the servers of a download are waited for.

    Raises:
        InputError: a file is missing, has another size or hash than the catalogue's, or cannot be had.
    """
    if settings.origin == "local":
        files = _verified(entry, _local(entry, settings, data_root))
    else:
        files = fetch(entry, data_root / "downloads" / entry.key, patience)
    with whole_folder(output) as folder:
        records = []
        for name, file in sorted(files.items()):
            link(file.path, folder / name)
            records.append(ArchiveFile(name, file.sha256, file.path.stat().st_size, file.check))
        note = _note(files.values())
        write_origin(folder, Origin(settings.origin, tuple(records), note, settings.cases, settings.mirrored))


def _local(entry: catalogue.Entry, settings: Source, data_root: Path) -> dict[str, Path]:
    """Files by their name in the output: one file, or a folder's tree under its own name; those of an own dataset."""
    if settings.path is None:
        raise InputError(f"sources.{entry.key}.path", "is missing", "give the archive's file or folder under data_root")
    start = data_root / settings.path
    if start.is_file():
        return {start.name: start}
    if entry.key not in catalogue.sources() and (start / DESCRIPTION).is_file():
        return {str(name): start / name for name in own_files(start)}
    files = {str(Path(start.name) / name): start / name for name in visible_tree(start)}
    if not files:
        raise InputError(start, "is no file and no folder with files", f"put the {entry.title} archive there")
    return _of_cases(files, settings.cases)


def _of_cases(files: dict[str, Path], cases: tuple[str, ...]) -> dict[str, Path]:
    """Where every wanted case is a subfolder of its own, only those; else all files (`harmonise` then chooses)."""
    folder_of = {name: Path(name).parts[1] for name in files}
    if cases and set(cases) <= set(folder_of.values()):
        return {name: path for name, path in files.items() if folder_of[name] in cases}
    return files


def _verified(entry: catalogue.Entry, files: dict[str, Path]) -> dict[str, Checked]:
    """The files, read. Raises InputError for one that is gone or is not the published one."""
    known, found = {archive.name: archive for archive in entry.archives}, {}
    for path in files.values():
        if not path.exists():
            raise InputError(path, "is a link to a file that is gone", "put it back, or take the link away")
    for name, path in tqdm(sorted(files.items()), desc=f"verify {entry.key}", unit="file", file=sys.stderr):
        archive = known.get(name) or known.get(path.name)
        try:
            found[name] = check(path, archive) if archive else against(path, None)
        except Mismatch as wrong:
            raise InputError(path, str(wrong), DAMAGED) from None
    return found


def _note(files: Iterable[Checked]) -> str:
    """How many files were checked against a published hash, and by what the others."""
    files = list(files)
    others = Counter(file.check for file in files if not file.published)
    unchecked = others.pop("", 0)
    told = [f"{sum(file.published for file in files)} of {len(files)} files checked against a published hash"]
    told += [f"{count} by {kind} alone" for kind, count in sorted(others.items())]
    return "; ".join(told + [f"{unchecked} by nothing"] * bool(unchecked))


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, help="key of the dataset catalogue")
    parser.add_argument("--settings", required=True, help="JSON of settings.Source")
    parser.add_argument(
        "--data-root", required=True, type=Path, help="folder that local paths start from; downloads are kept in it"
    )
    parser.add_argument("--output", required=True, type=Path, help="folder to make")
    arguments = parser.parse_args()
    settings = read_json(Source, arguments.settings, f"sources.{arguments.source}")
    entry = entry_of(arguments.source, arguments.data_root / (settings.path or ""))
    acquire(entry, settings, arguments.data_root, arguments.output)


if __name__ == "__main__":
    main()
