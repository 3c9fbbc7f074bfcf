"""Downloads from a server that lies in ways that a generator draws: the right file or one line, never a wrong file."""

import hashlib
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from universal_diffusion.datasets import catalogue
from universal_diffusion.errors import InputError
from universal_diffusion.preparation.downloads.mirrors import fetch
from universal_diffusion.preparation.downloads.session import Patience

pytestmark = pytest.mark.faults

LIES = 100
HASTY = Patience(
    attempts=3, window_s=0.5, slowest_bytes_s=1000, backoff_s=0.01, longest_wait_s=1, connect_s=2, silence_s=5
)


def lie(random: np.random.Generator, content: bytes) -> tuple[bytes, dict]:
    """A body and how it is served."""
    body, how = bytearray(content), {}
    for what in random.choice(["flip", "short", "long", "cut", "length", "shift", "slow", "status", "page"], 2, False):
        match what:
            case "flip":
                body[random.integers(len(body))] ^= 1 << int(random.integers(8))
            case "short":
                del body[int(random.integers(1, len(body))) :]
            case "long":
                body += random.bytes(100)
            case "cut":
                how["cuts"] = [int(cut) for cut in random.integers(0, len(content), 3)]
            case "length":
                how["announced"] = int(random.integers(1, 2 * len(content)))
            case "shift":
                how["shift"] = int(random.integers(1, 50))
            case "slow":
                how |= {"piece": 8, "pause_s": 0.05}
            case "status":
                how["statuses"] = [(int(random.choice([403, 404, 429, 500, 503])), {})] * 3
            case "page":
                body = bytearray(b"<html><body>Please log in</body></html>" * 20)
    return bytes(body), how


def refused(entry: catalogue.Entry, folder: Path) -> str | None:
    """What a download says when it gives up; None where it does not."""
    try:
        fetch(entry, folder, HASTY)
    except InputError as error:
        return str(error)
    return None


def test_a_lying_server_never_leaves_a_wrong_file(project_root, tmp_path, counted):
    server = runpy.run_path(str(project_root / "tests/preparation/conftest.py"))["Server"]()
    random, told, whole = np.random.default_rng(3), 0, 0
    for number in range(LIES):
        content = random.bytes(3000)
        archive = catalogue.Archive(
            "scan.bin", (catalogue.Address(f"{server.url}/{number}"),), sha256=hashlib.sha256(content).hexdigest()
        )
        entry = _toy(archive)
        body, how = lie(random, content)
        server.serve(f"/{number}", body, **how)
        folder = tmp_path / str(number)
        refusal = refused(entry, folder)
        if refusal:
            told += 1
            assert "\n" not in refusal
            assert "scan.bin" in refusal or server.url in refusal
            assert not (folder / "scan.bin").exists()
            server.serve(f"/{number}", content)  # the truth at last
            fetch(entry, folder, HASTY)
        whole += (folder / "scan.bin").read_bytes() == content
    server.stop()
    assert whole == LIES
    counted("lying server", hurt="a download, two lies each", times=LIES, survived=LIES, detected=told)


def _toy(archive: catalogue.Archive) -> catalogue.Entry:
    named = {"key": "toy", "title": "Toy set", "page": "https://example.org/toy", "credential": None, "cases": 1}
    return replace(catalogue.entry("chaos"), archives=(archive,), **named)
