"""Acquiring archives: local links, downloads from a real server on the loopback interface, and hash checks."""

import hashlib
import http.server
import json
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from universal_diffusion.datasets import catalogue
from universal_diffusion.errors import InputError
from universal_diffusion.preparation import acquire as step
from universal_diffusion.preparation.acquire import acquire
from universal_diffusion.preparation.origin import read_origin
from universal_diffusion.settings import Source

CONTENT = b"a scan" * 1000
GOOD = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "md5": hashlib.md5(CONTENT).hexdigest()}


def entry(*archives: catalogue.Archive, credential: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(
        key="toy", title="Toy set", page="https://example.org", credential=credential, archives=archives
    )


def archive(name="scan.bin", urls=(), sha256=GOOD["sha256"], md5=None, size=None) -> catalogue.Archive:
    return catalogue.Archive(name, tuple(urls), sha256, md5, size)


@pytest.fixture
def server():
    """Serves CONTENT under /good, other bytes under /other, a part under /cut, else 404; notes what was asked."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            body = {"/good": CONTENT, "/other": b"other", "/cut": CONTENT[:99]}.get(self.path)
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(CONTENT) if self.path == "/cut" else len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    asked = []
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{listening.server_port}", asked=asked)
    listening.shutdown()
    listening.server_close()


DOWNLOAD = Source("download", "train")


def test_mirrors_are_tried_in_order_until_one_is_whole(server, tmp_path):
    urls = [f"{server.url}/{path}" for path in ("absent", "other", "cut", "good")]
    acquire(entry(archive(urls=urls)), DOWNLOAD, tmp_path / "data", tmp_path / "out")
    assert [path for path, _ in server.asked] == ["/absent", "/other", "/cut", "/good"]
    assert (tmp_path / "out/scan.bin").read_bytes() == CONTENT
    assert (tmp_path / "out/scan.bin").is_symlink()
    record = json.loads((tmp_path / "out/origin.json").read_text())
    assert record["origin"] == "download"
    assert record["files"] == [{"name": "scan.bin", "sha256": GOOD["sha256"], "bytes": len(CONTENT)}]
    assert record["note"] == "1 of 1 files checked against a published hash"


def test_failure_names_every_mirror_and_leaves_nothing(server, tmp_path):
    urls = [f"{server.url}/other", f"{server.url}/cut"]
    with pytest.raises(InputError, match=r"(?s)/other: .*/cut: .*by hand") as caught:
        acquire(entry(archive(urls=urls)), DOWNLOAD, tmp_path / "data", tmp_path / "out")
    assert "downloads/toy/scan.bin" in caught.value.remedy
    assert not (tmp_path / "out").exists()
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_a_fetched_archive_is_not_fetched_again(server, tmp_path):
    for _ in range(2):
        acquire(entry(archive(urls=[f"{server.url}/good"])), DOWNLOAD, tmp_path / "data", tmp_path / "out")
    assert len(server.asked) == 1


def test_without_the_credential_the_variable_and_the_drop_in_place_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("TOY_TOKEN", raising=False)
    locked = entry(archive(urls=["synapse:syn1"]), credential="TOY_TOKEN")
    with pytest.raises(InputError, match=r"TOY_TOKEN.*downloads/toy/scan.bin"):
        acquire(locked, DOWNLOAD, tmp_path, tmp_path / "out")
    dropped = tmp_path / "downloads/toy/scan.bin"
    dropped.parent.mkdir(parents=True, exist_ok=True)
    dropped.write_bytes(CONTENT)
    acquire(locked, DOWNLOAD, tmp_path, tmp_path / "out")
    assert (tmp_path / "out/scan.bin").resolve() == dropped
    dropped.write_bytes(b"wrong")
    with pytest.raises(InputError, match=r"scan.bin: has sha256 .* expects"):
        acquire(locked, DOWNLOAD, tmp_path, tmp_path / "out")


def test_the_credential_is_sent(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_TOKEN", "secret")
    monkeypatch.setitem(step.SERVICES, "synapse", f"{server.url}/{{}}")
    acquire(entry(archive(urls=["synapse:good"]), credential="TOY_TOKEN"), DOWNLOAD, tmp_path, tmp_path / "out")
    assert server.asked == [("/good", "Bearer secret")]


def test_a_dropped_folder_stands_for_a_collection_that_is_no_file(tmp_path):
    collection = entry(archive("Scans", ["nbia:Scans"], None))
    with pytest.raises(InputError, match="nbia"):
        acquire(collection, DOWNLOAD, tmp_path, tmp_path / "out")
    slice_file = tmp_path / "downloads/toy/Scans/P1/1.dcm"
    slice_file.parent.mkdir(parents=True)
    slice_file.write_bytes(b"1")
    acquire(collection, DOWNLOAD, tmp_path, tmp_path / "out")
    assert (tmp_path / "out/Scans/P1/1.dcm").resolve() == slice_file


def local(path: str | None, *cases: str) -> Source:
    return Source("local", "train", path, cases)


@pytest.fixture
def tree(tmp_path) -> Path:
    for name in ("set/P1/ct.zip", "set/P11/ct.zip", "set/P1/._ct.zip", "set/LICENSE.txt", "one/scan.bin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(CONTENT)
    return tmp_path


def test_a_local_folder_is_mirrored_by_links(tree):
    acquire(entry(archive()), local("set"), tree, tree / "out")
    names = [file.name for file in read_origin(tree / "out").files]
    assert names == ["set/LICENSE.txt", "set/P1/ct.zip", "set/P11/ct.zip"]
    assert all((tree / "out" / name).is_symlink() for name in names)


def test_wanted_cases_that_are_folders_are_the_only_ones_linked(tree):
    acquire(entry(archive()), local("set", "P1"), tree, tree / "out")
    assert [file.name for file in read_origin(tree / "out").files] == ["set/P1/ct.zip"]
    acquire(entry(archive()), local("set", "scan_7"), tree, tree / "out")
    assert len(read_origin(tree / "out").files) == 3
    assert read_origin(tree / "out").cases == ("scan_7",)


@pytest.mark.parametrize("known", [{"sha256": GOOD["sha256"]}, {"sha256": None, "md5": GOOD["md5"]}])
def test_a_local_file_the_catalogue_knows_is_verified(tree, known):
    acquire(entry(archive(**known)), local("one/scan.bin"), tree, tree / "out")
    assert "1 of 1" in read_origin(tree / "out").note
    (tree / "one/scan.bin").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"scan\.bin: has (sha256|md5) \w+, the catalogue expects \w+; .*fetch"):
        acquire(entry(archive(**known)), local("one/scan.bin"), tree, tree / "out")


def test_a_file_of_another_size_is_refused_before_it_is_hashed(tree, monkeypatch):
    acquire(entry(archive(size=len(CONTENT))), local("one/scan.bin"), tree, tree / "whole")
    monkeypatch.delattr(step, "sha256")
    with pytest.raises(InputError, match=r"scan\.bin: has size 6000 bytes, the catalogue expects 7000 bytes; .*fetch"):
        acquire(entry(archive(size=7000)), local("one/scan.bin"), tree, tree / "cut")


@pytest.mark.parametrize("path", [None, "nowhere", "empty"])
def test_a_local_path_without_files_is_refused(tree, path):
    (tree / "empty").mkdir()
    with pytest.raises(InputError):
        acquire(entry(archive()), local(path), tree, tree / "out")
