"""Step: the native tree of one source, unpacked from its archives.

Archives (tar, zip, zip under the password that its owners publish) are unpacked beside their name, archives inside
them likewise and then dropped; every other file is linked, never copied, and nothing is written where it came from.
What an archive may do is bounded: members stay inside the tree, links do not leave it, one archive with all that is
inside it expands to at most 1100 times its size plus 64 MiB (deflate, honest, reaches 1032), and archives nest at most
two deep.
"""

import argparse
import gzip
import lzma
import shutil
import stat
import sys
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyzipper
from tqdm import tqdm

from universal_diffusion.datasets import catalogue
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.preparation.folders import link, visible_tree, whole_folder
from universal_diffusion.preparation.origin import ORIGIN, read_origin, write_origin

EXPANSION, ALLOWANCE, NESTING = 1100, 64 * 2**20, 2
UNUSED = ("LABELLED_DICOM", "MESHES_VTK")  # of 3D-IRCADb: large, and every label is in MASKS_DICOM too
BY_HAND = "unpack it by hand (7z x) and give the folder as a `local` source"
DAMAGED = (pyzipper.BadZipFile, tarfile.TarError, EOFError, KeyError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


@dataclass
class Budget:
    """The bytes that an archive and everything inside it may still expand to."""

    archive: Path
    left: int

    def spend(self, size: int, folder: Path) -> None:
        """Take `size` bytes. Raises InputError when they exceed the bound, or the disk that `folder` is on."""
        self.left -= size
        if self.left < 0:
            raise InputError(
                self.archive,
                f"would expand to more than {EXPANSION} times its size, which no honest archive does",
                "do not trust it: fetch it again from its owner",
            )
        if size > shutil.disk_usage(folder).free:
            raise InputError(self.archive, f"needs {size / 1e9:.1f} GB, which the disk does not have", "make room")


def unpack(archives: Path, output: Path, password: str | None) -> None:
    """Make `output` the native tree of the files under `archives`, with their record.

    Raises InputError for an archive that is damaged, locked under another password or reaches out of its tree.
    """
    with whole_folder(output) as folder:
        for name in tqdm(visible_tree(archives), desc="unpack", unit="file", file=sys.stderr):
            if _unused(str(name)) or name.name == ORIGIN:
                continue
            if not (archives / name).exists():
                raise InputError(archives / name, "is a link to a file that is gone", "put it back, or `acquire` again")
            if _is_archive(name):
                budget = Budget(archives / name, EXPANSION * (archives / name).stat().st_size + ALLOWANCE)
                _expand(archives / name, folder / name.parent, password, budget, NESTING)
            else:
                link(archives / name, folder / name)
        write_origin(folder, read_origin(archives))


def _is_archive(path: Path) -> bool:
    return path.name.endswith((".zip", ".tar", ".tar.gz", ".tgz"))


def _unused(member: str) -> bool:
    """Side files of macOS, and what no reader needs."""
    path = PurePosixPath(member)
    return path.name.startswith("._") or "__MACOSX" in path.parts or path.stem in UNUSED


def _expand(archive: Path, folder: Path, password: str | None, budget: Budget, nesting: int) -> None:
    """Unpack one archive into `folder`, then those found in it."""
    folder.mkdir(parents=True, exist_ok=True)
    where = budget.archive if archive == budget.archive else f"{budget.archive}, in it {archive.name}"
    try:
        members = (_unzip if archive.name.endswith(".zip") else _untar)(archive, folder, password, budget)
    except DAMAGED as error:
        if isinstance(error, tarfile.FilterError):
            raise InputError(where, f"reaches out of its tree ({error})", "do not trust it") from None
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(": ")  # tarfile tells of every method
        raise InputError(where, f"is truncated or damaged ({reason})", "fetch it again") from None
    except OSError as error:
        raise InputError(
            where, f"could not be unpacked ({error.strerror})", "check the disk and its permissions"
        ) from None
    for inner in [folder / name for name in dict.fromkeys(members) if _is_archive(Path(name))]:
        if nesting == 0:
            raise InputError(budget.archive, f"nests archives more than {NESTING} deep", BY_HAND)
        _expand(inner, inner.parent, password, budget, nesting - 1)
        inner.unlink()


def _untar(archive: Path, folder: Path, _: str | None, budget: Budget) -> list[str]:
    names = []
    with tarfile.open(archive) as tar:
        for member in tar:
            if _unused(member.name):
                continue
            budget.spend(member.size, folder)
            tar.extract(member, folder, filter="data")
            names += [member.name.lstrip("/")] if member.isfile() else []  # as the filter writes it
        _require_end(tar)
    return names


def _require_end(tar: tarfile.TarFile) -> None:
    """Read on after the last member: tarfile takes a cut between members, or in gzip's tail, for the end."""
    tar.fileobj.seek(tar.offset)
    if len(tar.fileobj.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
        raise EOFError("the archive's end is missing")
    while tar.fileobj.read(2**20):
        pass


def _unzip(archive: Path, folder: Path, password: str | None, budget: Budget) -> list[str]:
    names = []
    with pyzipper.AESZipFile(archive) as bundle:
        bundle.setpassword(password.encode() if password else None)
        members = [member for member in bundle.infolist() if not member.is_dir() and not _unused(member.filename)]
        budget.spend(sum(member.file_size for member in members), folder)
        for member in members:
            _refuse_escape(archive, member)
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


def _refuse_escape(archive: Path, member: pyzipper.ZipInfo) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in member.filename or stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(archive, f"reaches out of its tree ({member.filename})", "do not trust it")


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, help="key of the dataset catalogue")
    parser.add_argument(
        "--archives", required=True, type=Path, help="folder from `acquire` or the phantom, with origin.json"
    )
    parser.add_argument("--output", required=True, type=Path, help="folder to make")
    arguments = parser.parse_args()
    unpack(arguments.archives, arguments.output, catalogue.entry(arguments.source).password)


if __name__ == "__main__":
    main()
