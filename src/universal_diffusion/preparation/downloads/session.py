"""Requests to one source's servers: kept-open connections, a token for one host, and answers told apart by status."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import responses as PHRASES
from typing import TypeVar

import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from universal_diffusion.preparation.downloads.failures import Failure, Network, Transient, of_network

T = TypeVar("T")
BUSY = (408, 425, 429, 500, 502, 503, 504)
REDIRECTS = 10


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        attempts: in a row that bring less than `progress_bytes` before a mirror is given up.
        backoff_s: the wait after the first of them, doubled after every other.
        longest_wait_s: a mirror that asks for a longer wait is given up.
        connect_s, silence_s: waits for a connection, and for the next byte.
        window_s, slowest_bytes_s: a transfer slower than this over a whole window counts as broken.
    """

    attempts: int = 6
    backoff_s: float = 2.0
    longest_wait_s: float = 600.0
    connect_s: float = 20.0
    silence_s: float = 60.0
    window_s: float = 60.0
    slowest_bytes_s: float = 10_000.0

    @property
    def progress_bytes(self) -> float:
        """What an attempt must bring to count as progress."""
        return self.window_s * self.slowest_bytes_s

    def attempt(self, title: str, action: Callable[[], T], arrived: Callable[[], int] = int) -> T:
        """What `action` returns, called again after every Transient as long as it gets on.

        Args:
            title: what the notes about waiting call it.
            arrived: the bytes that have arrived by now.

        Raises:
            Failure: the last one, after `attempts` that brought no progress.
        """
        failed, furthest = 0, arrived()
        while True:
            try:
                return action()
            except Transient as failure:
                failed = 1 if arrived() >= furthest + self.progress_bytes else failed + 1
                furthest = max(furthest, arrived())
                if failed >= self.attempts:
                    raise Failure(f"{failure} ({failed} attempts)") from None
                wait = self.backoff_s * 2 ** (failed - 1) if failure.wait_s is None else failure.wait_s
                print(f"{title}: the server {failure}; trying again in {wait:.0f} s", file=sys.stderr)
                time.sleep(wait)


class Session(requests.Session):
    """A requests session that takes credentials from its caller alone and carries them to no other host."""

    def __init__(self, patience: Patience):
        super().__init__()
        self.patience = patience
        self.max_redirects = REDIRECTS
        self.headers["User-Agent"] = "universal-diffusion (fetches public research data)"
        self.headers["Accept-Encoding"] = "identity"  # offsets then count the bytes of the file

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Drop the token at a redirect to another scheme, host or port, and look none up in ~/.netrc."""
        if self.should_strip_auth(response.request.url, prepared_request.url):
            prepared_request.headers.pop("Authorization", None)

    @contextmanager
    def answer(
        self, url: str, token: str | None, headers: Mapping[str, str] | None = None
    ) -> Iterator[requests.Response]:
        """The answer to a GET, its body not yet read, with status 200, 206 or 416. Raises Failure for any other."""
        waits = (self.patience.connect_s, self.patience.silence_s)
        try:
            response = self.get(url, headers=headers, auth=_Bearer(token), stream=True, timeout=waits)
        except (*Network, ValueError) as error:
            raise of_network(error) from None
        with response:
            _refuse_status(response, self.patience, token)
            yield response

    def json(self, url: str) -> object:
        """The JSON that an address answers with. Raises Failure."""
        with self.answer(url, None) as response:
            try:
                return response.json()
            except (requests.JSONDecodeError, RecursionError):
                raise Failure("answers with something that is no JSON") from None
            except Network as error:
                raise of_network(error) from None


class _Bearer(requests.auth.AuthBase):
    """The token, if any; being there it also keeps requests from reading ~/.netrc."""

    def __init__(self, token: str | None):
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def _refuse_status(response: requests.Response, patience: Patience, token: str | None) -> None:
    status = response.status_code
    if status in (200, 206, 416):
        return
    reason = f"answers HTTP {status} {PHRASES.get(status, '')}".rstrip()
    if status in (401, 403) and token:
        raise Failure(f"{reason}: the token is not valid there, or its account has not accepted the dataset's terms")
    if status not in BUSY:
        raise Failure(reason)
    wait = _retry_after(response.headers.get("Retry-After"))
    if wait is not None and wait > patience.longest_wait_s:
        raise Failure(f"{reason} and asks to come back in {wait:.0f} s")
    raise Transient(reason, wait)


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header (a number or an HTTP date), None for one that is neither."""
    try:
        return Retry().parse_retry_after(value) if value else None
    except InvalidHeader:
        return None
