"""One file from one address: resumed after a break, waited for with growing patience, never taken for another file."""

import re
import shutil
import sys
import time
from typing import BinaryIO

import requests
from tqdm import tqdm

from universal_diffusion.errors import InputError
from universal_diffusion.preparation.downloads.failures import Failure, Network, Transient, of_network
from universal_diffusion.preparation.downloads.partial import Partial
from universal_diffusion.preparation.downloads.session import Session

CHUNK = 2**20
WEB_PAGE = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)


def transfer(
    session: Session, url: str, token: str | None, partial: Partial, expected: int | None, title: str
) -> str | None:
    """Bring `partial` to the whole file at `url`, going on from what has arrived.

    Args:
        token: sent to the address' own host only.
        expected: the file's size in bytes, None where nobody publishes it.
        title: what the progress bar and the notes call it.

    Returns:
        The SHA-256 that the server says the file has, None where it does not say.

    Raises:
        Failure: the address gives no whole file of that size.
        InputError: the disk has no room for it.
        OSError: the disk takes no more.
    """

    def attempt() -> str | None:
        return _attempt(session, url, token, partial, expected, title)

    try:
        return session.patience.attempt(title, attempt, lambda: partial.size)
    except Failure:
        if not partial.size:
            partial.discard()
        raise


def _attempt(
    session: Session, url: str, token: str | None, partial: Partial, expected: int | None, title: str
) -> str | None:
    if expected is not None and partial.size == expected:
        return None
    with session.answer(url, token, partial.range_headers()) as response:
        if response.status_code == 416 and _sizes(response)[1] == partial.size:
            return _sent_sha256(response)
        total = _open(response, partial)
        if expected is not None and total not in (None, expected):
            partial.discard()
            raise Failure(f"serves {total} bytes where the catalogue expects {expected}")
        _require_space(partial, total or expected)
        _receive(response, session, partial, total or expected, title)
    if total is not None and partial.size != total:
        raise Transient(f"sent {partial.size} of {total} bytes")
    return _sent_sha256(response)


def _sent_sha256(response: requests.Response) -> str | None:
    """The SHA-256 by which Hugging Face's storage (git LFS) names a file, in a header of its redirect to the bytes."""
    tags = (answer.headers.get("X-Linked-ETag", "").strip('"') for answer in (*response.history, response))
    return next((tag for tag in tags if re.fullmatch(r"[0-9a-f]{64}", tag)), None)


def _open(response: requests.Response, partial: Partial) -> int | None:
    """Make `partial` end where the answer's body begins; the file's size, None where the server does not tell."""
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise Failure(_of_web_page(_read(response)))
    if response.status_code == 200:
        partial.begin(response.headers.get("ETag"), response.headers.get("Last-Modified"))
        if response.headers.get("Content-Encoding", "identity") != "identity":
            partial.begin(None, None)  # offsets would count encoded bytes
            return None
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else None
    start, total = _sizes(response)
    if response.status_code == 416 or start != partial.size:
        partial.discard()
        raise Transient("does not go on where the transfer broke off", wait_s=0)
    return total


def _sizes(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and size of the whole file, of a Content-Range header."""
    told = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
    first, total = told.groups() if told else (None, "*")
    return (int(first) if first else None, None if total == "*" else int(total))


def _require_space(partial: Partial, total: int | None) -> None:
    missing, free = (total or 0) - partial.size, shutil.disk_usage(partial.path.parent).free
    if missing > free:
        problem = f"needs {missing / 1e9:.1f} GB more, its disk has {free / 1e9:.1f} GB left"
        raise InputError(partial.path.parent, problem, "make room and run again: what has arrived is kept")


def _receive(response: requests.Response, session: Session, partial: Partial, total: int | None, title: str) -> None:
    with open(partial.path, "ab", buffering=0) as file, _progress(title, total, partial.size) as bar:
        pace = _Pace(session.patience.window_s, session.patience.slowest_bytes_s)
        while chunk := _read(response):
            if file.tell() == 0 and WEB_PAGE.match(chunk):
                raise Failure(_of_web_page(chunk))
            _write(file, chunk)
            if total is not None and file.tell() > total:
                raise Failure(f"sends more than the {total} bytes that the file should have")
            bar.update(len(chunk))
            pace.count(len(chunk))


def _write(file: BinaryIO, chunk: bytes) -> None:
    """Unbuffered, so that a full disk is told here and not again when the file is closed."""
    left = memoryview(chunk)
    while left:
        left = left[file.write(left) :]


def _read(response: requests.Response) -> bytes:
    try:
        return response.raw.read1(CHUNK, decode_content=True)
    except Network as error:
        raise of_network(error) from None


class _Pace:
    """Raises Transient when a whole window brought less than the slowest bearable rate."""

    def __init__(self, window_s: float, slowest_bytes_s: float):
        self.window_s, self.slowest = window_s, slowest_bytes_s
        self._begun, self._bytes = time.monotonic(), 0

    def count(self, size: int) -> None:
        self._bytes += size
        elapsed = time.monotonic() - self._begun
        if elapsed < self.window_s:
            return
        if self._bytes < self.slowest * elapsed:
            raise Transient(f"sends less than {self.slowest / 1000:g} kB/s")
        self._begun, self._bytes = time.monotonic(), 0


def _of_web_page(page: bytes) -> str:
    quota = re.search(rb"too many users|quota", page, re.IGNORECASE)
    return "says that its download quota is used up" if quota else "answers with a web page instead of the file"


def _progress(title: str, total: int | None, arrived: int) -> tqdm:
    """A bar with speed and remaining time: every second on a terminal, every half minute in a log file."""
    interval, delay = (1, 1) if sys.stderr.isatty() else (30, 0)
    size = {"total": total, "initial": arrived, "unit": "B", "unit_scale": True}
    return tqdm(desc=title, file=sys.stderr, mininterval=interval, maxinterval=interval, delay=delay, **size)
