"""Whether a file is the published one, by whatever is known of it; a file is read once for all of its hashes."""

import gzip
import hashlib
import json
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from universal_diffusion.datasets.catalogue import Archive
from universal_diffusion.files import write_json

CHUNK = 2**20
LABELS = {"sha256": "SHA-256", "md5": "MD5"}


class Mismatch(Exception):
    """What tells a file from the published one, in words."""


@dataclass(frozen=True)
class Published:
    """A hash that someone publishes of a file, and who does."""

    algorithm: str
    digest: str
    source: str


@dataclass(frozen=True)
class Checked:
    """A file that was read to its end.

    Attributes:
        path: where it lies.
        sha256: of its bytes.
        check: what it was found to agree with, "" where there was nothing.
        published: whether that is a published hash.
    """

    path: Path
    sha256: str
    check: str = ""
    published: bool = False


def check(path: Path, archive: Archive, told: Published | None = None) -> Checked:
    """Compare a file with the archive that it should be: its size first, then a hash of the catalogue, or else `told`.

    A gz or zip file without either is compared with the checksums in it, for which all of it is inflated (a gz in the
    same read, a zip in a second one): they tell a cut or damaged file, and not another edition.

    Raises:
        Mismatch: it is not that.
    """
    size = path.stat().st_size
    if archive.bytes is not None and size != archive.bytes:
        raise Mismatch(f"has size {size} bytes, the catalogue expects {archive.bytes} bytes")
    expected = Published(*archive.hash, "the catalogue") if archive.hash else told
    if expected is None and archive.name.endswith(".gz"):
        return _whole_gzip(path)
    if expected is None and archive.name.endswith(".zip"):
        return _whole_zip(path)
    return against(path, expected)


def against(path: Path, expected: Published | None) -> Checked:
    """Compare a file with a published hash. Raises Mismatch."""
    algorithm = expected.algorithm if expected else "sha256"
    with open(path, "rb") as file, _Reading(file, path, {"sha256", algorithm}) as reading:
        while reading.read(CHUNK):
            pass
    sha256 = reading.digest("sha256")
    if expected is None:
        return Checked(path, sha256)
    if (found := reading.digest(algorithm)) != expected.digest:
        raise Mismatch(f"has {algorithm} {found}, {expected.source} expects {expected.digest}")
    return Checked(path, sha256, f"{LABELS[algorithm]} of {expected.source}", published=True)


def remember(place: Path, url: str, told: Published | None) -> None:
    """Keep beside `place` what the server at `url` told of its hash, so that later runs compare it without asking."""
    if told is None:
        _memory(place).unlink(missing_ok=True)
    else:
        write_json(_memory(place), {"url": url, **vars(told)})


def remembered(place: Path, archive: Archive) -> Published | None:
    """What an address that the archive still has once told of its hash."""
    try:
        content = json.loads(_memory(place).read_text(encoding="utf-8"))
        known = content.pop("url") in {address.url for address in archive.addresses}
        return Published(**content) if known else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _memory(place: Path) -> Path:
    return place.with_name(f".{place.name}.published.json")


class _Reading:
    """A file whose bytes go into hashes as they are read, with a progress bar for a reading that takes long."""

    def __init__(self, file: BinaryIO, path: Path, algorithms: set[str]):
        self._file = file
        self._hashes = {name: hashlib.new(name) for name in algorithms}
        bar = {"total": path.stat().st_size, "unit": "B", "unit_scale": True, "mininterval": 30, "delay": 30}
        self._bar = tqdm(desc=f"verify {path.name}", file=sys.stderr, **bar)

    def read(self, size: int) -> bytes:
        chunk = self._file.read(size)
        for hashed in self._hashes.values():
            hashed.update(chunk)
        self._bar.update(len(chunk))
        return chunk

    def digest(self, algorithm: str) -> str:
        return self._hashes[algorithm].hexdigest()

    def __enter__(self) -> "_Reading":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _whole_gzip(path: Path) -> Checked:
    """Raises Mismatch unless the file inflates to its end and to its CRC-32 and length."""
    with open(path, "rb") as file, _Reading(file, path, {"sha256"}) as reading:
        try:
            with gzip.GzipFile(fileobj=reading, mode="rb") as inflated:
                size = sum(map(len, iter(lambda: inflated.read(CHUNK), b"")))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Mismatch(f"is no gzip file, a damaged one or only the beginning of one ({error})") from None
    if size == 0:  # no bytes at all are a gzip file to Python
        raise Mismatch("is no gzip file, or one of nothing")
    return Checked(path, reading.digest("sha256"), "the gzip file's own checksum")


def _whole_zip(path: Path) -> Checked:
    """Raises Mismatch unless the file has its directory and every member inflates to its CRC-32."""
    if not zipfile.is_zipfile(path):
        raise Mismatch("is no zip archive, or only the beginning of one")
    try:
        with zipfile.ZipFile(path) as bundle:
            damaged = bundle.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise Mismatch(f"is a zip archive that cannot be read ({error})") from None
    if damaged is not None:
        raise Mismatch(f"is a damaged zip archive (its member {damaged})")
    return Checked(path, against(path, None).sha256, "the zip archive's own checksums")
