"""One archive unpacked beside its name, within bounds that no dataset's own archive comes near.

Members with an absolute path or `..`, and links of any kind, are refused. An archive with all that is inside it expands
to at most 400 times its size plus 64 MiB (the masks of 3D-IRCADb are the most compressible of the datasets and stay
below that; deflate can do 1032), to a million files, and no further than the disk. Archives inside an archive are
unpacked too and then dropped, at most two deep. A tar's bytes count as they are inflated, headers and padding with
them, and no header may be larger than 256 KiB, as tarfile holds it in memory; a zip's sizes are those that its
directory declares, beyond which zipfile does not write. Its members may be stored or deflated: of bzip2 and LZMA
zipfile inflates a whole piece at once, 64 KiB of which can be gigabytes.
"""

import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pyzipper

from universal_diffusion.errors import InputError

EXPANSION, ALLOWANCE, MEMBERS, NESTING = 400, 64 * 2**20, 10**6, 2
HEADER = 2**18  # bytes of a tar's header (PAX records, a long name)
METHODS = (pyzipper.ZIP_STORED, pyzipper.ZIP_DEFLATED)
UNUSED = ("LABELLED_DICOM", "MESHES_VTK")  # of 3D-IRCADb: large, and every label is in MASKS_DICOM too
BY_HAND = "unpack it by hand (7z x) and give the folder as a `local` source"
AGAIN = "fetch it again"
DISTRUST = "do not trust it: fetch it again from its owner"
DAMAGED = (
    pyzipper.BadZipFile,
    tarfile.TarError,
    EOFError,
    KeyError,
    IndexError,  # pyzipper's, of a member without a name
    ValueError,
    OverflowError,
    NotImplementedError,
    RecursionError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
)


@dataclass
class Budget:
    """The bytes and files that an archive and everything inside it may still expand to, and what to do if damaged."""

    archive: Path
    bytes: int
    members: int
    again: str

    def spend(self, count: int) -> None:
        """Take so many bytes. Raises InputError when they exceed the bound."""
        self._require(count)
        self.bytes -= count

    def admit(self, sizes: list[int], folder: Path) -> None:
        """Take members, whose bytes are spent as they are read. Raises InputError for too many, or too large a one."""
        self._require(sum(sizes))
        self.members -= len(sizes)
        if self.members < 0:
            raise InputError(self.archive, f"holds more than {MEMBERS} files, which no honest archive does", DISTRUST)
        if sum(sizes) > shutil.disk_usage(folder).free:
            problem = f"needs {sum(sizes) / 1e9:.1f} GB, which the disk does not have"
            raise InputError(self.archive, problem, "make room")

    def _require(self, count: int) -> None:
        if count > self.bytes:
            problem = f"would expand to more than {EXPANSION} times its size, which no honest archive does"
            raise InputError(self.archive, problem, DISTRUST)


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive."""
    return path.name.endswith((".zip", ".tar", ".tar.gz", ".tgz"))


def is_unused(name: str) -> bool:
    """Whether nothing reads a member: hidden ones (macOS adds them) and the parts of `UNUSED`."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    hidden = any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts)
    return hidden or any(part.removesuffix(".zip") in UNUSED for part in parts)


def extract(archive: Path, folder: Path, password: str | None, again: str = AGAIN) -> None:
    """Unpack `archive` and the archives inside it into `folder`; `again` says how to get a damaged one anew.

    Raises:
        InputError: it is damaged, locked under another password, reaches out of `folder` or exceeds the bounds.
    """
    budget = Budget(archive, EXPANSION * archive.stat().st_size + ALLOWANCE, MEMBERS, again)
    _expand(archive, folder, password, budget, NESTING)


def _expand(archive: Path, folder: Path, password: str | None, budget: Budget, nesting: int) -> None:
    """Unpack one archive into `folder`, then those found in it."""
    folder.mkdir(parents=True, exist_ok=True)
    where = budget.archive if archive == budget.archive else f"{budget.archive}, in it {archive.name}"
    try:
        members = (_unzip if archive.name.endswith(".zip") else _untar)(archive, folder, password, budget)
    except DAMAGED as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(": ")  # tarfile tells of every method
        raise InputError(where, f"is truncated or damaged ({reason})", budget.again) from None
    except OSError as error:
        problem = f"could not be unpacked ({error.strerror})"
        raise InputError(where, problem, "check the disk and its permissions") from None
    for inner in [folder / name for name in dict.fromkeys(members) if is_archive(Path(name))]:
        if nesting == 0:
            raise InputError(budget.archive, f"nests archives more than {NESTING} deep", BY_HAND)
        _expand(inner, inner.parent, password, budget, nesting - 1)
        inner.unlink()


class _Spending:
    """A tar's inflated bytes, each spent of the budget before it is read or passed over for the first time."""

    def __init__(self, file: BinaryIO, budget: Budget):
        self._file, self._budget, self._furthest = file, budget, 0

    def read(self, size: int) -> bytes:
        if size > HEADER:
            problem = f"has a header of {size} bytes, which no honest archive has"
            raise InputError(self._budget.archive, problem, DISTRUST)
        self._reach(self.tell() + size)
        return self._file.read(size)

    def seek(self, position: int) -> int:
        self._reach(position)
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()

    def _reach(self, position: int) -> None:
        self._budget.spend(max(0, position - self._furthest))
        self._furthest = max(self._furthest, position)


def _untar(archive: Path, folder: Path, _: str | None, budget: Budget) -> list[str]:
    names = []
    with (
        open(archive, "rb") if archive.name.endswith(".tar") else gzip.open(archive) as file,
        tarfile.open(fileobj=_Spending(file, budget), mode="r:") as tar,
    ):
        for member in tar:
            budget.admit([member.size], folder)
            budget.spend(member.size if member.issparse() else 0)  # its holes are not in the archive
            if is_unused(member.name):
                continue
            _refuse_escape(archive, member.name, member.issym() or member.islnk())
            tar.extract(member, folder, filter="data")
            names += [member.name] if member.isfile() else []
        _require_end(tar)
    return names


def _require_end(tar: tarfile.TarFile) -> None:
    """Read on after the last member: tarfile takes a cut between members, or in gzip's tail, for the end."""
    tar.fileobj.seek(tar.offset)
    if len(tar.fileobj.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
        raise EOFError("the archive's end is missing")
    while tar.fileobj.read(HEADER):
        pass


def _unzip(archive: Path, folder: Path, password: str | None, budget: Budget) -> list[str]:
    names = []
    with pyzipper.AESZipFile(archive) as bundle:
        bundle.setpassword(password.encode() if password else None)
        members = [member for member in bundle.infolist() if not member.is_dir() and not is_unused(member.filename)]
        sizes = [member.file_size for member in members]
        budget.admit(sizes, folder)
        budget.spend(sum(sizes))
        for member in members:
            _refuse_escape(archive, member.filename, stat.S_ISLNK(member.external_attr >> 16))
            _refuse_method(archive, member)
            if member.flag_bits & 1 and not password:
                raise InputError(archive, "is locked and the catalogue knows no password", BY_HAND)
            try:
                bundle.extract(member, folder)
            except NotImplementedError as error:
                raise InputError(archive, f"cannot be unpacked here ({error})", BY_HAND) from None
            except RuntimeError as error:
                raise InputError(archive, f"does not open under the catalogue's password ({error})", BY_HAND) from None
            names.append(member.filename)
    return names


def _refuse_method(archive: Path, member: pyzipper.ZipInfo) -> None:
    if member.compress_type not in METHODS:
        problem = f"packs {member.filename} by method {member.compress_type}, expected stored or deflated"
        raise InputError(archive, problem, BY_HAND)


def _refuse_escape(archive: Path, name: str, is_link: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name or is_link:
        raise InputError(archive, f"reaches out of its tree ({name}{', a link' if is_link else ''})", DISTRUST)
