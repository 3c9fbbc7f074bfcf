"""Tar, zip and encrypted zip files that are the same bytes whenever they hold the same members, and plain folders.

Each context manager yields `add(name, data)`, which appends one member; nothing appears at `path` before all are there.
"""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from Cryptodome.Cipher import AES
from Cryptodome.Hash import HMAC, SHA1
from Cryptodome.Protocol.KDF import PBKDF2
from Cryptodome.Util import Counter
from pyzipper import WZ_AES, AESZipFile
from pyzipper.zipfile_aes import AESZipEncrypter, AESZipInfo

from universal_diffusion.files import whole_file
from universal_diffusion.randomness import numpy_generator

Add = Callable[[str, bytes], None]

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip file can name
READABLE = 0o100644


def gzipped(data: bytes) -> bytes:
    """Gzip with neither name nor time in its header."""
    return gzip.compress(data, compresslevel=1, mtime=0)


@contextmanager
def folder(path: Path) -> Iterator[Add]:
    """Members as files under a folder."""

    def add(name: str, data: bytes) -> None:
        with whole_file(path / name) as partial:
            partial.write_bytes(data)

    yield add


@contextmanager
def tar(path: Path) -> Iterator[Add]:
    """An uncompressed POSIX tar whose members have no owner and no time."""

    def add(name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))

    with whole_file(path) as partial, tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as archive:
        yield add


@contextmanager
def zipped(path: Path, compress: bool) -> Iterator[Add]:
    """A zip file; `compress` is for members that are not compressed already."""
    with whole_file(path) as partial, open(partial, "wb") as file, _zip_into(file, compress) as add:
        yield add


@contextmanager
def zipped_bytes(buffer: io.BytesIO, compress: bool) -> Iterator[Add]:
    """A zip file in memory, to be a member of another."""
    with _zip_into(buffer, compress) as add:
        yield add


@contextmanager
def _zip_into(file, compress: bool) -> Iterator[Add]:
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED

    def add(name: str, data: bytes) -> None:
        archive.writestr(_member(zipfile.ZipInfo, name), data, method, compresslevel=1)

    with zipfile.ZipFile(file, "w") as archive:
        yield add


@contextmanager
def encrypted_zip(path: Path, password: bytes, study_seed: int) -> Iterator[Add]:
    """A WinZip AES-256 zip of stored members. Its salts come from the study seed: the password is public anyway."""

    def add(name: str, data: bytes) -> None:
        archive.writestr(_member(AESZipInfo, name), data)

    with whole_file(path) as partial, _SeededAESZip(partial, password, study_seed) as archive:
        yield add


def _member(kind: type[zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    member = kind(name, date_time=EPOCH)
    member.create_system, member.external_attr = 3, READABLE << 16
    return member


class _SeededAESZip(AESZipFile):
    """pyzipper's writer, with salts from a generator instead of the operating system."""

    def __init__(self, path: Path, password: bytes, study_seed: int):
        super().__init__(path, "w", encryption=WZ_AES)
        self.setpassword(password)
        self._salts = numpy_generator(study_seed, "zip salts")

    def get_encrypter(self) -> AESZipEncrypter:
        return _SeededEncrypter(self.pwd, self._salts.bytes(16))


class _SeededEncrypter(AESZipEncrypter):
    """WinZip AE-2, 256 bits, keyed anew from a given 16-byte salt (PBKDF2, 1000 rounds: key, HMAC key, check)."""

    def __init__(self, password: bytes, salt: bytes):
        super().__init__(password, nbits=256)
        material = PBKDF2(password, salt, dkLen=66, count=1000)
        self.salt, self.encpwdverify = salt, material[64:]
        self.encrypter = AES.new(material[:32], AES.MODE_CTR, counter=Counter.new(nbits=128, little_endian=True))
        self.hmac = HMAC.new(material[32:64], digestmod=SHA1)


def mac_side_file(name: str) -> tuple[str, bytes]:
    """The `._name` AppleDouble file that macOS leaves in archives beside `name`: its path and its bytes."""
    path = Path(name)
    header = b"\x00\x05\x16\x07\x00\x02\x00\x00" + b"Mac OS X        " + b"\x00\x00"
    return (path.parent / f"._{path.name}").as_posix(), header
