"""Files that appear whole or not at all, and their hashes."""

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` that takes its place if the block succeeds, and vanishes if not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_beside(path)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def partial_beside(path: Path) -> Path:
    """A temporary sibling's name for `path`; what killed processes of this machine left under such names is removed.

    The name holds machine and process, so that a living one's work is let be, and any of another machine on one disk.
    """
    mine = f".partial-{socket.gethostname()}-"
    for left in path.parent.glob(f"{escape(mine)}*-{escape(path.name)}"):
        process = left.name.removeprefix(mine).removesuffix(f"-{path.name}")
        if process.isdecimal() and not _lives(int(process)):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return path.with_name(f"{mine}{os.getpid()}-{path.name}")


def _lives(process: int) -> bool:
    """Whether another process has that number; one that had ours is gone."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """Write indented, key-sorted JSON atomically."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
