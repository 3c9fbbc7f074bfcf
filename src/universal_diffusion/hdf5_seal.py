"""The SHA-256 of an HDF5 file's content, as the file's own first line.

HDF5 leaves a block at the start of a file to its user. Here it says, readable with `head -n 1`, the hash of every byte
that follows it: `tail -c +513 FILE | sha256sum` gives the same.
"""

import hashlib
from pathlib import Path
from typing import BinaryIO

BLOCK = 512  # bytes, the smallest that HDF5 allows
AT_ONCE = 2**20


def seal(path: Path) -> None:
    """Fill the block of a closed file that was made with `userblock_size=BLOCK`."""
    with open(path, "r+b") as file:
        block = _block(file)
        file.seek(0)
        file.write(block)


def check_seal(path: Path) -> bool:
    """Whether the file's content, and all of its block, are as `seal` left them."""
    with open(path, "rb") as file:
        return file.read(BLOCK) == _block(file)


def _block(file: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    file.seek(BLOCK)
    while part := file.read(AT_ONCE):
        digest.update(part)
    return f"SHA-256 of all that follows byte {BLOCK}: {digest.hexdigest()}\n".encode().ljust(BLOCK, b"\0")
