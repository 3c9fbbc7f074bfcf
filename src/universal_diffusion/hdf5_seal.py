"""HDF5 files that appear whole or not at all, with the SHA-256 of their content as their own first line.

HDF5 leaves a block at the start of a file to its user. Here it says, readable with `head -n 1`, the hash of every byte
that follows it: `tail -c +513 FILE | sha256sum` gives the same.

Files are made in memory and written by Python. HDF5 keeps quiet when it closes a dataset and the disk has no room for
what it still held of it: a file that it writes itself may then look whole.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from universal_diffusion.files import whole_file

BLOCK = 512  # bytes, the smallest that HDF5 allows
AT_ONCE = 2**20


@contextmanager
def sealed_file(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file, which is at `path` after the block; equal content gives equal bytes.

    Raises OSError, and leaves nothing, when it cannot be written.
    """
    options = {"driver": "core", "backing_store": False, "libver": "v112", "track_order": False}
    with h5py.File(path, "w", userblock_size=BLOCK, **options) as file:
        yield file
        file.flush()
        content = file.id.get_file_image()  # without the block
    with whole_file(path) as partial, open(partial, "wb") as written:
        written.write(_block(hashlib.sha256(content).hexdigest()))
        written.write(content)


def check_seal(path: Path) -> bool:
    """Whether the file's content, and all of its block, are as `sealed_file` left them."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        block = file.read(BLOCK)
        while part := file.read(AT_ONCE):
            digest.update(part)
    return block == _block(digest.hexdigest())


def _block(sha256: str) -> bytes:
    return f"SHA-256 of all that follows byte {BLOCK}: {sha256}\n".encode().ljust(BLOCK, b"\0")
