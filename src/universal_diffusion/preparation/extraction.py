"""One archive unpacked beside its name, within bounds that no dataset's own archive comes near.

Members with an absolute path or `..`, and links of any kind, are refused. An archive with all that is inside it expands
to at most 400 times its size plus 64 MiB (the most compressible real one, patient 1's masks of 3D-IRCADb, expands 216
times, its emptiest slice 314 times; deflate can do 1032), to a million files, and no further than the disk. Archives
inside an archive are unpacked too and then dropped, at most two deep. Sizes are those that the archive declares, beyond
which neither zipfile nor tarfile writes.
"""

import gzip
import lzma
import shutil
import stat
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyzipper

from universal_diffusion.errors import InputError

EXPANSION, ALLOWANCE, MEMBERS, NESTING = 400, 64 * 2**20, 10**6, 2
UNUSED = ("LABELLED_DICOM", "MESHES_VTK")  # of 3D-IRCADb: large, and every label is in MASKS_DICOM too
BY_HAND = "unpack it by hand (7z x) and give the folder as a `local` source"
DISTRUST = "do not trust it: fetch it again from its owner"
DAMAGED = (pyzipper.BadZipFile, tarfile.TarError, EOFError, KeyError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


@dataclass
class Budget:
    """The bytes and files that an archive and everything inside it may still expand to."""

    archive: Path
    bytes: int
    members: int

    def spend(self, sizes: list[int], folder: Path) -> None:
        """Take members of these sizes. Raises InputError when they exceed the bound, or the disk of `folder`."""
        self.bytes -= sum(sizes)
        self.members -= len(sizes)
        if self.bytes < 0:
            problem = f"would expand to more than {EXPANSION} times its size, which no honest archive does"
            raise InputError(self.archive, problem, DISTRUST)
        if self.members < 0:
            raise InputError(self.archive, f"holds more than {MEMBERS} files, which no honest archive does", DISTRUST)
        if sum(sizes) > shutil.disk_usage(folder).free:
            problem = f"needs {sum(sizes) / 1e9:.1f} GB, which the disk does not have"
            raise InputError(self.archive, problem, "make room")


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive."""
    return path.name.endswith((".zip", ".tar", ".tar.gz", ".tgz"))


def is_unused(name: str) -> bool:
    """Whether nothing reads a member: hidden ones (macOS adds them) and the parts of `UNUSED`."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    hidden = any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts)
    return hidden or any(part.removesuffix(".zip") in UNUSED for part in parts)


def extract(archive: Path, folder: Path, password: str | None) -> None:
    """Unpack `archive` and the archives inside it into `folder`.

    Raises:
        InputError: it is damaged, locked under another password, reaches out of `folder` or exceeds the bounds.
    """
    budget = Budget(archive, EXPANSION * archive.stat().st_size + ALLOWANCE, MEMBERS)
    _expand(archive, folder, password, budget, NESTING)


def _expand(archive: Path, folder: Path, password: str | None, budget: Budget, nesting: int) -> None:
    """Unpack one archive into `folder`, then those found in it."""
    folder.mkdir(parents=True, exist_ok=True)
    where = budget.archive if archive == budget.archive else f"{budget.archive}, in it {archive.name}"
    try:
        members = (_unzip if archive.name.endswith(".zip") else _untar)(archive, folder, password, budget)
    except DAMAGED as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(": ")  # tarfile tells of every method
        raise InputError(where, f"is truncated or damaged ({reason})", "fetch it again") from None
    except OSError as error:
        problem = f"could not be unpacked ({error.strerror})"
        raise InputError(where, problem, "check the disk and its permissions") from None
    for inner in [folder / name for name in dict.fromkeys(members) if is_archive(Path(name))]:
        if nesting == 0:
            raise InputError(budget.archive, f"nests archives more than {NESTING} deep", BY_HAND)
        _expand(inner, inner.parent, password, budget, nesting - 1)
        inner.unlink()


def _untar(archive: Path, folder: Path, _: str | None, budget: Budget) -> list[str]:
    names = []
    with tarfile.open(archive) as tar:
        for member in tar:
            budget.spend([member.size], folder)
            if is_unused(member.name):
                continue
            _refuse_escape(archive, member.name, member.issym() or member.islnk())
            tar.extract(member, folder, filter="data")
            names += [member.name] if member.isfile() else []
        _require_end(tar, budget, folder)
    return names


def _require_end(tar: tarfile.TarFile, budget: Budget, folder: Path) -> None:
    """Read on after the last member: tarfile takes a cut between members, or in gzip's tail, for the end."""
    tar.fileobj.seek(tar.offset)
    if len(tar.fileobj.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
        raise EOFError("the archive's end is missing")
    while padding := tar.fileobj.read(2**20):
        budget.spend([len(padding)], folder)


def _unzip(archive: Path, folder: Path, password: str | None, budget: Budget) -> list[str]:
    names = []
    with pyzipper.AESZipFile(archive) as bundle:
        bundle.setpassword(password.encode() if password else None)
        members = [member for member in bundle.infolist() if not member.is_dir() and not is_unused(member.filename)]
        budget.spend([member.file_size for member in members], folder)
        for member in members:
            _refuse_escape(archive, member.filename, stat.S_ISLNK(member.external_attr >> 16))
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


def _refuse_escape(archive: Path, name: str, is_link: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name or is_link:
        raise InputError(archive, f"reaches out of its tree ({name}{', a link' if is_link else ''})", DISTRUST)
