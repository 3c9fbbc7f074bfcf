"""Step: the native tree of one source, unpacked from its archives.

Archives (tar, zip, zip under the password that its owners publish) are unpacked beside their name within the bounds of
`extraction.py`; every other file is linked, never copied, and nothing is written where it came from. Where the
catalogue knows folders by the hash or number of their slices, it is compared; the hash is recorded. `SHA256SUMS` says
what every file of the tree was (`unpacked.py` compares it).
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from tqdm import tqdm

from universal_diffusion.checksums import hashes, write_sums
from universal_diffusion.datasets.own.source import entry_of
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.preparation.contents import verified_contents
from universal_diffusion.preparation.extraction import extract, is_archive, is_unused
from universal_diffusion.preparation.folders import link, visible_tree, whole_folder
from universal_diffusion.preparation.origin import ORIGIN, Origin, read_origin, write_origin


def unpack(
    archives: Path,
    output: Path,
    password: str | None,
    contents: Mapping[str, str | None] = MappingProxyType({}),
    slices: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Make `output` the native tree of the files under `archives`, with their record and hashes.

    Args:
        password: of the archives, as their owners publish it.
        contents: folder of the tree -> hash of its slices that a published one must have, or None.
        slices: folder of the tree -> slices that a published scan in it has.

    Raises:
        InputError: an archive is damaged, locked under another password or reaches out of its tree, or its content is
            not the published one.
    """
    origin = read_origin(archives)
    with whole_folder(output) as folder:
        for name in tqdm(visible_tree(archives), desc="unpack", unit="file", file=sys.stderr):
            if is_unused(str(name)) or name.name == ORIGIN:
                continue
            path = archives / name
            if not path.exists():
                raise InputError(path, "is a link to a file that is gone", "put it back, or `acquire` again")
            if is_archive(name):
                extract(path, folder / name.parent, password, _again(path, archives, origin.origin))
            else:
                link(path, folder / name)
        found = verified_contents(folder, contents, published=origin.origin != "phantom", slices=slices)
        write_origin(folder, replace(origin, contents=found))
        write_tree_sums(folder, origin)


def write_tree_sums(folder: Path, origin: Origin) -> None:
    """Write the hashes of all files of a native tree; links keep that which their file was acquired with."""
    acquired = {file.name: file.sha256 for file in origin.files}
    names = {name.as_posix() for name in visible_tree(folder) if name.name != ORIGIN}
    links = {name: acquired[name] for name in names & acquired.keys() if (folder / name).is_symlink()}
    write_sums(folder, links | hashes(folder, (folder / name for name in names - links.keys())))


def _again(archive: Path, archives: Path, origin: str) -> str:
    """How a damaged archive is had anew."""
    if origin == "phantom":
        return f"delete {archives} and run again: rule `phantom_archive` writes it"
    if origin == "download":
        return f"delete {archive.resolve()} and {archives} and run again: rule `acquire` fetches it"
    return f"put a whole {archive.resolve()} in its place, delete {archives} and run again: rule `acquire` takes it"


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, help="key of the dataset catalogue")
    parser.add_argument(
        "--archives", required=True, type=Path, help="folder from `acquire` or the phantom, with origin.json"
    )
    parser.add_argument("--output", required=True, type=Path, help="folder to make")
    arguments = parser.parse_args()
    entry = entry_of(arguments.source, arguments.archives)
    unpack(arguments.archives, arguments.output, entry.password, entry.contents, entry.slices)


if __name__ == "__main__":
    main()
