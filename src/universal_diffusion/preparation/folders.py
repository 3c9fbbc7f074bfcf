"""Folders that appear whole or not at all, and trees mirrored by links."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from universal_diffusion.files import partial_beside


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling folder that takes the place of `path` if the block succeeds, and vanishes if not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_beside(path)
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            shutil.rmtree(path)
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def visible_tree(folder: Path) -> list[Path]:
    """The files below a folder (relative, sorted), passing over hidden ones, `._*` and `__MACOSX`; links are followed.

    The folders of a mirrored tree are real and only its files are links, so that any walk finds them.
    """
    found = []
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if _visible(name))
        found += [(Path(root) / name).relative_to(folder) for name in names if _visible(name)]
    return sorted(found)


def link(target: Path, place: Path) -> None:
    """Make `place` a symbolic link to the file that `target` is or leads to."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(Path(target).resolve())


def _visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"
