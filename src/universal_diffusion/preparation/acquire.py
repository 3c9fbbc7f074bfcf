"""Step: the archives of one source, as their owner ships them, found on this machine or downloaded.

Both origins end alike: a folder of links to verified files, and `origin.json` with their hashes. Downloads are kept
under `<data root>/downloads/<source>`, outside the results, so that nothing fetched is lost with a failed run and a
file fetched by hand can be dropped there.
"""

import argparse
import os
import sys
from pathlib import Path

import pooch
from tqdm import tqdm

from universal_diffusion.datasets import catalogue
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.files import sha256
from universal_diffusion.preparation.folders import link, visible_tree, whole_folder
from universal_diffusion.preparation.origin import ArchiveFile, Origin, write_origin
from universal_diffusion.settings import Source, read_json

# How the catalogue's short addresses are asked for over http.
SERVICES = {
    "synapse": "https://repo-prod.prod.sagebase.org/repo/v1/entity/{}/file?redirect=true",
    "gdrive": "https://drive.usercontent.google.com/download?id={}&export=download&confirm=t",
}


def acquire(entry: catalogue.Entry, settings: Source, data_root: Path, output: Path) -> None:
    """Make the folder `output`: links to the source's verified archive files, and their record.

    Raises InputError for a file that is missing, has another size or hash than the catalogue's, or cannot be had.
    """
    files = _local(entry, settings, data_root) if settings.origin == "local" else _download(entry, data_root)
    known = {archive.name: archive for archive in entry.archives}
    with whole_folder(output) as folder:
        records, verified = [], 0
        for path in files.values():
            if not path.exists():
                raise InputError(path, "is a link to a file that is gone", "put it back, or take the link away")
        for name, path in tqdm(sorted(files.items()), desc=f"verify {entry.key}", unit="file", file=sys.stderr):
            archive = known.get(name) or known.get(path.name)
            if archive and archive.bytes is not None:
                _verify(path, "size", f"{archive.bytes} bytes", f"{path.stat().st_size} bytes")
            digest = sha256(path)
            published = _published_hash(archive)
            if published:
                algorithm, expected = published.split(":")
                found = digest if algorithm == "sha256" else pooch.file_hash(str(path), alg=algorithm)
                _verify(path, algorithm, expected, found)
                verified += 1
            link(path, folder / name)
            records.append(ArchiveFile(name, digest, path.stat().st_size))
        note = f"{verified} of {len(records)} files checked against a published hash"
        write_origin(folder, Origin(settings.origin, tuple(records), note, settings.cases, settings.mirrored))


def _local(entry: catalogue.Entry, settings: Source, data_root: Path) -> dict[str, Path]:
    """Files by their name in the output: one file, or a folder's tree under the folder's own name."""
    if settings.path is None:
        raise InputError(f"sources.{entry.key}.path", "is missing", "give the archive's file or folder under data_root")
    start = data_root / settings.path
    if start.is_file():
        return {start.name: start}
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


def _download(entry: catalogue.Entry, data_root: Path) -> dict[str, Path]:
    files = {}
    for archive in entry.archives:
        place = data_root / "downloads" / entry.key / archive.name
        if not place.exists():
            _fetch(entry, archive, place)
        tree = visible_tree(place) if place.is_dir() else []
        files |= {str(Path(archive.name) / name): place / name for name in tree} or {archive.name: place}
    return files


def _fetch(entry: catalogue.Entry, archive: catalogue.Archive, place: Path) -> None:
    """Download the archive to `place` from the first mirror that gives it whole."""
    where, by_hand = f"{entry.title}: {archive.name}", f"or fetch it by hand ({entry.page}) and put it at {place}"
    headers = {}
    if entry.credential:
        token = os.environ.get(entry.credential)
        if not token:
            problem = f"needs a personal token in the environment variable {entry.credential}, which is not set"
            raise InputError(where, problem, f"set it, {by_hand}")
        headers["Authorization"] = f"Bearer {token}"
    failures = []
    for url in archive.urls:
        downloader = pooch.HTTPDownloader(progressbar=True, headers=headers)
        try:
            pooch.retrieve(_address(url), _published_hash(archive), place.name, place.parent, downloader=downloader)
            return
        except (OSError, ValueError) as error:
            failures.append(f"{url}: {error}")
    raise InputError(where, f"could not be downloaded ({'; '.join(failures)})", f"try again later, {by_hand}")


def _address(url: str) -> str:
    """The http address of a catalogue address. Raises ValueError for a kind that has none."""
    kind, _, rest = url.partition(":")
    if kind in ("http", "https"):
        return url
    if kind not in SERVICES:
        raise ValueError(f"a {kind} collection is no single file that can be downloaded unattended")
    return SERVICES[kind].format(rest)


def _published_hash(archive: catalogue.Archive | None) -> str | None:
    """The catalogue's hash as `algorithm:digest`, the stronger one where there are two."""
    if archive is None:
        return None
    return next((f"{kind}:{getattr(archive, kind)}" for kind in ("sha256", "md5") if getattr(archive, kind)), None)


def _verify(path: Path, what: str, expected: str, found: str) -> None:
    if found != expected:
        raise InputError(
            path,
            f"has {what} {found}, the catalogue expects {expected}",
            "it is damaged or another edition: remove it and fetch it again",
        )


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
    acquire(catalogue.entry(arguments.source), settings, arguments.data_root, arguments.output)


if __name__ == "__main__":
    main()
