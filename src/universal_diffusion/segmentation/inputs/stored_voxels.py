"""The voxels behind a NRRD or MetaImage header, read to the last byte.

ITK reads both formats too, and is what the tests compare with. It is not used here: of a damaged file it gives other
voxels without a word (compressed data without its checksum, data longer than the header says), or ends the process.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

import numpy as np

from universal_diffusion.datasets.grids import MOST_VOXELS, check_affine
from universal_diffusion.datasets.nifti import DEFLATE_MOST
from universal_diffusion.errors import InputError

AGAIN = "export or copy it again, with its data file if it has one"
AT_ONCE = 2**16  # bytes read at a time; deflated ones expand to at most 66 MB
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
WINDOW_BITS = {"gzip": 31, "zlib": 15}  # as zlib names the two


@dataclass(frozen=True)
class StoredVoxels:
    """What a header says of its voxels.

    Attributes:
        shape: of the three axes of space, the first fastest.
        kind: of a voxel, with its byte order.
        affine: voxel indices to RAS millimetres.
        data: the file that holds them.
        skip: bytes in it before them; None where they are its last ones.
        encoding: how they are packed.
        notes: what to tell.
    """

    shape: tuple[int, int, int]
    kind: np.dtype
    affine: np.ndarray
    data: Path
    skip: int | None
    encoding: Literal["raw", "gzip", "zlib"]
    notes: tuple[str, ...] = ()


def read_voxels(path: Path, stored: StoredVoxels) -> np.ndarray:
    """(X, Y, Z) float32, the first axis fastest in memory.

    Args:
        path: the header's file, for errors.

    Raises:
        InputError: the data are missing, shorter or longer than the header says, or damaged; a grid without volume.
    """
    check_affine(stored.affine, path)
    if not stored.data.is_file():
        raise InputError(path, f"lacks its data file {stored.data.name}", "put the two side by side")
    count = math.prod(stored.shape)
    promised, held = count * stored.kind.itemsize, stored.data.stat().st_size
    if count > MOST_VOXELS or promised > held * (1 if stored.encoding == "raw" else DEFLATE_MOST):
        problem = f"promises {' x '.join(map(str, stored.shape))} voxels, which {held} bytes cannot hold"
        raise InputError(path, problem, AGAIN)
    skip = held - promised if stored.skip is None else stored.skip
    try:
        with open(stored.data, "rb") as file:
            file.seek(skip)
            voxels = _filled(_bytes(file, stored.encoding), count, stored.kind)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(path, f"has damaged data ({error})", AGAIN) from None
    return voxels.reshape(stored.shape, order="F")


def _bytes(file: BinaryIO, encoding: str) -> Iterator[bytes]:
    pieces = iter(lambda: file.read(AT_ONCE), b"")
    if encoding == "raw":
        yield from pieces
        return
    inflater = zlib.decompressobj(WINDOW_BITS[encoding])
    for piece in pieces:
        yield inflater.decompress(piece)
    if not inflater.eof:
        raise EOFError("it ends before its compressed data do")


def _filled(pieces: Iterator[bytes], count: int, kind: np.dtype) -> np.ndarray:
    """`count` voxels of some kind as float32; too large numbers become infinite. EOFError: not as many bytes."""
    voxels, at, rest = np.empty(count, np.float32), 0, b""
    for piece in pieces:
        held = rest + piece
        whole = len(held) // kind.itemsize
        if at + whole > count:
            raise EOFError(f"it holds more than the {count * kind.itemsize} bytes that its header says")
        with np.errstate(over="ignore", invalid="ignore"):
            voxels[at : at + whole] = np.frombuffer(held, kind, whole)
        at, rest = at + whole, held[whole * kind.itemsize :]
    if at < count or rest:
        problem = f"it holds {at * kind.itemsize + len(rest)} bytes, its header says {count * kind.itemsize}"
        raise EOFError(problem)
    return voxels


def beside(path: Path, named: str) -> Path:
    """The data file that a header at `path` names: in its folder or below. Raises InputError for one elsewhere.

    A header from a stranger could show any file of this machine in the pictures that are made of its voxels.
    """
    inside = PurePosixPath(named.replace("\\", "/"))
    if inside.is_absolute() or ".." in inside.parts or ":" in named:
        problem = f"has its data outside of its own folder ({named})"
        raise InputError(path, problem, "put the two side by side, and name the data file alone in the header")
    return path.parent / inside


def numbers(text: str, count: int) -> np.ndarray | None:
    """`count` numbers separated by blanks, or None where the text is anything else."""
    try:
        found = np.array([float(word) for word in text.split()])
    except ValueError:
        return None
    return found if found.size == count else None


def counts(text: str) -> tuple[int, ...] | None:
    """Positive whole numbers separated by blanks, or None where the text is anything else."""
    words = text.split()
    if not words or not all(word.isascii() and word.isdecimal() and len(word) < 12 and int(word) for word in words):
        return None
    return tuple(map(int, words))
