"""A real http server on the loopback interface that can be told to misbehave as servers do."""

import gzip
import http.server
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from universal_diffusion.datasets import catalogue
from universal_diffusion.preparation.downloads.session import Patience


@dataclass
class Page:
    """What a path answers with.

    Attributes:
        etag, modified: validators to send; None for none.
        ranges: whether Range is honoured, If-Range included.
        length: "told" (Content-Length), "chunked", or "untold" (the end is the closed connection).
        cuts: bytes after which the connection is cut, one for each of the first answers.
        statuses: what the first answers are instead: (status, headers).
        piece, pause_s: a slow body: bytes at a time, and the time between.
        announced: a Content-Length that is not the body's.
        shift: bytes by which a range begins later than asked for.
    """

    content: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    etag: str | None = '"1"'
    modified: str | None = None
    ranges: bool = True
    length: str = "told"
    gzipped: bool = False
    cuts: list[int] = field(default_factory=list)
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    piece: int = 2**20
    pause_s: float = 0.0
    announced: int | None = None
    shift: int = 0


@dataclass
class Asked:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    served: int = 0


class Server:
    """Pages by path, a log of what was asked, and the number of connections."""

    def __init__(self):
        self.pages: dict[str, Page] = {}
        self.asked: list[Asked] = []
        self.connections = 0
        server = self

        class Handler(_Handler):
            owner = server

        self._listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._listening.daemon_threads = True
        threading.Thread(target=self._listening.serve_forever, args=(0.01,), daemon=True).start()
        self.port = self._listening.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def serve(self, path: str, content: bytes = b"", **how) -> str:
        """Answer `path` with that; its address."""
        self.pages[path] = Page(content, **how)
        return self.url + path

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def stop(self) -> None:
        self._listening.shutdown()
        self._listening.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Server

    def setup(self):
        super().setup()
        self.owner.connections += 1

    def do_GET(self):
        asked = Asked(self.path, dict(self.headers))
        self.owner.asked.append(asked)
        path = re.sub(r"^http://[^/]+", "", self.path)  # as a proxy is asked
        page = self.owner.pages.get(path) or self.owner.pages.get(path.split("?")[0]) or Page(status=404)
        try:
            self._answer(page, asked)
        except OSError:
            self.close_connection = True

    def _answer(self, page: Page, asked: Asked) -> None:
        if page.statuses:
            return self._send(*page.statuses.pop(0), b"", page, asked)
        body, status, headers = page.content, page.status, dict(page.headers)
        headers |= {"ETag": page.etag} if page.etag else {}
        headers |= {"Last-Modified": page.modified} if page.modified else {}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, page.etag, page.modified)
        if page.ranges and page.status == 200 and wanted and same:
            start = int(wanted[1]) + page.shift
            if start >= len(body):
                return self._send(416, {"Content-Range": f"bytes */{len(body)}"}, b"", page, asked)
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        if page.gzipped:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        self._send(status, headers, body, page, asked)

    def _send(self, status: int, headers: dict[str, str], body: bytes, page: Page, asked: Asked) -> None:
        if page.length == "chunked":
            headers = headers | {"Transfer-Encoding": "chunked"}
        elif page.length == "told":
            headers = headers | {"Content-Length": str(page.announced or len(body))}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        cut = page.cuts.pop(0) if page.cuts and status in (200, 206) else None
        for start in range(0, len(body[:cut]), page.piece):
            piece = body[:cut][start : start + page.piece]
            framed = b"%x\r\n%s\r\n" % (len(piece), piece) if page.length == "chunked" else piece
            asked.served += len(piece)  # first: the client may be done with the piece before this thread goes on
            self.wfile.write(framed)
            self.wfile.flush()
            time.sleep(page.pause_s)
        if page.length == "chunked" and cut is None:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = cut is not None or page.length == "untold" or bool(page.announced)

    def log_message(self, *_):
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.stop()


@pytest.fixture
def other_server() -> Iterator[Server]:
    """A second one, to be redirected to."""
    started = Server()
    yield started
    started.stop()


@pytest.fixture
def toy() -> Callable[..., catalogue.Entry]:
    """Makes a catalogue entry of these archives."""

    def entry(*archives: catalogue.Archive, credential: str | None = None, cases: int = 1) -> catalogue.Entry:
        page = "https://example.org/toy"
        named = {"key": "toy", "title": "Toy set", "page": page, "credential": credential, "cases": cases}
        return replace(catalogue.entry("chaos"), archives=archives, **named)

    return entry


@pytest.fixture
def hasty() -> Patience:
    """Patience for servers that are a test."""
    waits = {"backoff_s": 0.01, "longest_wait_s": 5, "connect_s": 2, "silence_s": 10}
    return Patience(attempts=3, window_s=1, slowest_bytes_s=1000, **waits)
