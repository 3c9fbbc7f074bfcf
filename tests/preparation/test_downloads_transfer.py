"""Downloads against servers that break off, lie, stall and change their mind: whole and verified, or one line."""

import gzip
import hashlib
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from universal_diffusion.datasets.catalogue import Address, Archive
from universal_diffusion.errors import InputError
from universal_diffusion.preparation.downloads.mirrors import fetch

CONTENT = bytes(range(256)) * 20
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def archive(*urls: str, name: str = "scan.bin", sha256: str | None = SHA256, size: int | None = None) -> Archive:
    return Archive(name, tuple(map(Address, urls)), sha256=sha256, bytes=size)


@pytest.fixture
def got(toy, hasty, tmp_path):
    """Fetches one archive; its bytes."""
    return lambda *urls, **known: fetch(toy(archive(*urls, **known)), tmp_path, hasty)["scan.bin"].path.read_bytes()


def arrived(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob(".*.partial"))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_a_cut_transfer_goes_on_where_it_broke_off(server, got, tmp_path):
    url = server.serve("/scan", CONTENT, cuts=[1000, 2000])
    assert got(url) == CONTENT
    ranges = [asked.headers.get("Range") for asked in server.asked]
    assert ranges == [None, "bytes=1000-", "bytes=3000-"]
    assert [asked.headers.get("If-Range") for asked in server.asked] == [None, '"1"', '"1"']
    assert sum(asked.served for asked in server.asked) == len(CONTENT)
    assert files(tmp_path) == ["scan.bin"]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(400, 3000), max_size=4),
    ranges=st.booleans(),
    etag=st.sampled_from([None, '"1"', 'W/"1"']),
    modified=st.sampled_from([None, "Sat, 01 Jan 2022 00:00:00 GMT"]),
    length=st.sampled_from(["told", "chunked"]),
)
def test_whatever_the_server_can_do_the_file_arrives_whole(
    server, toy, hasty, tmp_path_factory, cuts, ranges, etag, modified, length
):
    how = {"ranges": ranges, "etag": etag, "modified": modified, "length": length}
    url = server.serve("/scan", CONTENT, cuts=cuts[:2], **how)
    folder = tmp_path_factory.mktemp("scan")
    assert fetch(toy(archive(url)), folder, hasty)["scan.bin"].path.read_bytes() == CONTENT


def test_the_next_run_goes_on_where_the_last_gave_up(server, got, tmp_path):
    url = server.serve("/scan", CONTENT, cuts=[1500, 0, 0, 0])
    with pytest.raises(InputError, match=r"cut the connection \(3 attempts\)"):
        got(url)
    assert arrived(tmp_path) == 1500
    assert not (tmp_path / "scan.bin").exists()
    server.asked.clear()
    assert got(url) == CONTENT
    assert server.asked[-1].headers["Range"] == "bytes=1500-"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_has_changed_starts_again(server, got, tmp_path, ranges):
    url = server.serve("/scan", b"another edition" * 500, cuts=[3000, 0, 0])
    with pytest.raises(InputError):
        got(url)
    server.serve("/scan", CONTENT, etag='"2"', ranges=ranges)
    assert got(url) == CONTENT


def test_editions_joined_by_a_server_that_ignores_if_range_are_fetched_again(server, got, tmp_path):
    url = server.serve("/scan", bytes(len(CONTENT)), cuts=[3000, 0, 0])
    with pytest.raises(InputError):
        got(url)
    server.serve("/scan", CONTENT)  # under the same ETag
    assert got(url) == CONTENT
    assert [asked.headers.get("Range") for asked in server.asked[-2:]] == ["bytes=3000-", None]


def test_a_range_that_begins_elsewhere_is_not_appended(server, got):
    url = server.serve("/scan", CONTENT, cuts=[1000], shift=5)
    assert got(url, sha256=None) == CONTENT
    assert [asked.headers.get("Range") for asked in server.asked] == [None, "bytes=1000-", None]


def test_a_partial_file_that_is_whole_or_too_long_meets_416(server, got, tmp_path):
    url = server.serve("/scan", CONTENT, cuts=[4000, 0, 0])
    with pytest.raises(InputError):
        got(url)
    partial = next(tmp_path.glob(".*.partial"))
    partial.write_bytes(CONTENT)
    assert got(url) == CONTENT
    assert server.asked[-1].served == 0
    (tmp_path / "scan.bin").unlink()
    server.serve("/scan", CONTENT, cuts=[4000, 0, 0])
    with pytest.raises(InputError):
        got(url)
    next(tmp_path.glob(".*.partial")).write_bytes(CONTENT + b"more")
    assert got(url) == CONTENT


@pytest.mark.parametrize("status", [429, 503, 500, 502, 504, 408])
def test_a_busy_server_is_asked_again(server, got, status):
    assert got(server.serve("/scan", CONTENT, statuses=[(status, {}), (status, {})])) == CONTENT
    assert len(server.asked) == 3


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed(server, got, form):
    wait = "1" if form == "seconds" else formatdate(time.time() + 3, usegmt=True)
    url = server.serve("/scan", CONTENT, statuses=[(429, {"Retry-After": wait})])
    begun = time.monotonic()
    assert got(url) == CONTENT
    assert time.monotonic() - begun > 0.9


def test_a_mirror_that_asks_for_hours_is_left(server, got):
    busy = server.serve("/busy", CONTENT, statuses=[(429, {"Retry-After": "7200"})])
    assert got(busy, server.serve("/scan", CONTENT)) == CONTENT
    assert server.paths() == ["/busy", "/scan"]


def test_mirrors_are_tried_in_order_and_each_failure_is_told(server, other_server, got):
    other_server.stop()
    server.serve("/loop", status=302, headers={"Location": "/loop"})
    server.serve("/page", b"<html>log in</html>", headers={"Content-Type": "text/html; charset=utf-8"})
    server.serve("/disguised", b"\n <!DOCTYPE html><html>log in</html>")
    server.serve("/other", b"other")
    server.serve("/nowhere", status=302, headers={"Location": "ftp://example.org/scan?X-Signature=secret"})
    server.serve("/garbled", status=302, headers={"Location": "http://[broken?X-Signature=secret"})
    server.serve("/long", CONTENT)
    paths = ["absent", "loop", "page", "disguised", "other", "nowhere", "garbled", "long"]
    urls = [other_server.url, *(f"{server.url}/{path}" for path in paths)]
    with pytest.raises(InputError) as caught:
        got(*urls, size=len(CONTENT) + 1)
    told = dict(zip(urls, caught.value.problem.split("; "), strict=True))
    for url, reason in zip(
        urls,
        [
            "cannot be reached (3 attempts)",
            "answers HTTP 404 Not Found",
            "redirects in circles",
            "answers with a web page instead of the file",
            "serves 36 bytes",
            "serves 5 bytes where the catalogue expects 5121",
            "leads to an address that is none",
            "leads to an address that is none",
            "serves 5120 bytes where the catalogue expects 5121",
        ],
        strict=True,
    ):
        assert f"{url} {reason}" in told[url]
    assert "secret" not in str(caught.value)


def test_the_first_mirror_that_has_the_right_bytes_gives_them(server, got, tmp_path):
    wrong, login = server.serve("/wrong", CONTENT[::-1]), server.serve("/login", b"<html><body>log in")
    assert got(wrong, login, server.serve("/right", CONTENT), server.serve("/never", CONTENT)) == CONTENT
    assert server.paths() == ["/wrong", "/login", "/right"]
    assert files(tmp_path) == ["scan.bin"]


def test_redirects_are_followed(server, other_server, got):
    there = other_server.serve("/storage/scan", CONTENT)
    server.serve("/two", status=307, headers={"Location": f"{there}?X-Signature=1"})
    assert got(server.serve("/one", status=301, headers={"Location": "two"})) == CONTENT


def test_a_trickle_fails_over_instead_of_hanging(server, got):
    """At its pace the first mirror would take more than four minutes."""
    slow = server.serve("/slow", CONTENT, piece=1, pause_s=0.05)
    begun = time.monotonic()
    assert got(slow, server.serve("/scan", CONTENT)) == CONTENT
    assert time.monotonic() - begun < 60


def test_silence_fails_over(server, toy, hasty, tmp_path):
    silent = server.serve("/silent", CONTENT, piece=100, pause_s=60)
    scans = toy(archive(silent, server.serve("/scan", CONTENT)))
    assert fetch(scans, tmp_path, replace(hasty, silence_s=0.3, attempts=2))["scan.bin"].path.read_bytes() == CONTENT


def test_a_body_without_end_is_left_when_it_exceeds_the_published_size(server, got):
    long = server.serve("/long", CONTENT * 50, length="chunked", piece=4000)
    with pytest.raises(InputError, match="sends more than the 5120 bytes that the file should have"):
        got(long, size=len(CONTENT))


def test_an_encoded_answer_is_decoded_and_never_continued(server, got):
    url = server.serve("/scan", CONTENT, gzipped=True, cuts=[100])
    assert got(url) == CONTENT
    assert [asked.headers.get("Range") for asked in server.asked] == [None, None]
    assert server.asked[0].headers["Accept-Encoding"] == "identity"


def test_without_a_told_length_the_hash_tells_a_cut_file(server, got):
    cut = server.serve("/cut", CONTENT, length="untold", cuts=[3000])
    whole = server.serve("/whole", CONTENT, length="untold")
    assert got(cut, whole) == CONTENT
    assert server.paths() == ["/cut", "/whole"]


def test_a_file_larger_than_the_disk_is_not_begun(server, got, tmp_path):
    url = server.serve("/scan", CONTENT, announced=10**17)
    with pytest.raises(InputError, match=r"needs 100000000.0 GB more, its disk has .* GB left; make room") as caught:
        got(url, sha256=None)
    assert caught.value.where == str(tmp_path)


def test_a_disk_that_takes_no_more_stops_at_once_and_keeps_what_arrived(server, tmp_path):
    url = server.serve("/scan", CONTENT * 100, piece=1000)
    script = f"""
import resource, signal
from pathlib import Path
from dataclasses import replace
from universal_diffusion.datasets import catalogue
from universal_diffusion.errors import one_line_errors
from universal_diffusion.preparation.downloads.mirrors import fetch
from universal_diffusion.preparation.downloads.session import Patience
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
archive = catalogue.Archive("scan.bin", (catalogue.Address({url!r}),))
one_line_errors(fetch)(replace(catalogue.entry("chaos"), archives=(archive,)), Path({str(tmp_path)!r}), Patience())
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 2
    assert (
        "cannot be written (File too large); make room or make it writable, and run again"
        in run.stderr.splitlines()[-1]
    )
    assert arrived(tmp_path) == 100_000
    assert len(server.asked) == 1


def test_a_folder_that_cannot_be_made_is_told(server, toy, hasty, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/downloads: cannot be written \(Not a directory\); make room"):
        fetch(toy(archive(server.serve("/scan", CONTENT))), tmp_path / "file/downloads", hasty)


def test_a_proxy_of_the_environment_is_used(server, other_server, got, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.serve("/scan", CONTENT)
    assert got("http://data.invalid/scan") == CONTENT
    assert server.paths() == ["http://data.invalid/scan"]
    monkeypatch.setenv("http_proxy", "http://person:secret@127.0.0.1:9")
    with pytest.raises(InputError, match="through the proxy") as caught:
        got("http://data.invalid/gone", name="gone.bin", sha256="0" * 64)
    assert "secret" not in str(caught.value)


def test_two_runs_at_once_fetch_the_file_once(server, toy, hasty, tmp_path):
    url = server.serve("/scan", CONTENT, piece=500, pause_s=0.02)
    found = []
    runs = [
        threading.Thread(target=lambda: found.append(fetch(toy(archive(url)), tmp_path, hasty)["scan.bin"]))
        for _ in range(3)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [file.path.read_bytes() for file in found] == [CONTENT] * 3
    assert len(server.asked) == 1


def test_many_small_files_share_a_connection_and_one_that_fails_loses_no_other(server, toy, hasty, tmp_path):
    names = [f"case_{number}/scan.nii.gz" for number in range(40)]
    urls = [server.serve(f"/{name}", gzip.compress(name.encode())) for name in names]
    server.pages["/case_7/scan.nii.gz"].status = 404
    cases = toy(*(archive(url, name=name, sha256=None) for url, name in zip(urls, names, strict=True)))
    with pytest.raises(InputError, match=r"case_7/scan.nii.gz: could not be downloaded .*404"):
        fetch(cases, tmp_path, hasty)
    assert server.connections <= 2  # the 404 ends one
    assert len(list(tmp_path.glob("case_*/scan.nii.gz"))) == 39
    server.pages["/case_7/scan.nii.gz"].status = 200
    server.asked.clear()
    assert len(fetch(cases, tmp_path, hasty)) == 40
    assert server.paths() == ["/case_7/scan.nii.gz"]


def test_a_dead_server_is_not_asked_for_every_file(server, toy, hasty, tmp_path):
    cases = toy(*(archive(f"{server.url}/{number}", name=f"{number}.bin") for number in range(40)))
    with pytest.raises(InputError, match=r"Toy set: 0 of 40 files are there, 3 failed, first .*; run again"):
        fetch(cases, tmp_path, hasty)
    assert len(server.asked) == 3


@pytest.mark.parametrize(("name", "content"), [("a.zip", b"no archive"), ("a.nii.gz", b"plain")])
def test_a_file_without_published_hash_must_at_least_be_what_its_name_says(server, toy, hasty, tmp_path, name, content):
    with pytest.raises(InputError, match=r"gives a file that is no (zip|gzip)"):
        fetch(toy(archive(server.serve("/a", content), name=name, sha256=None)), tmp_path, hasty)


def test_progress_in_a_log_is_a_few_lines_with_speed_and_remaining_time(server, toy, tmp_path):
    url = server.serve("/scan", CONTENT * 50, piece=2000, pause_s=0.02)
    script = f"""
from pathlib import Path
from dataclasses import replace
from universal_diffusion.datasets import catalogue
from universal_diffusion.preparation.downloads.mirrors import fetch
from universal_diffusion.preparation.downloads.session import Patience
archive = catalogue.Archive("scan.bin", (catalogue.Address({url!r}),))
fetch(replace(catalogue.entry("chaos"), archives=(archive,)), Path({str(tmp_path)!r}), Patience())
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    updates = [part for part in run.stderr.replace("\r", "\n").split("\n") if part.strip()]
    assert len(updates) == 2
    assert "100%" in updates[-1]
    assert "B/s" in updates[-1]
    assert "<" in updates[-1]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({}, None),
        ({"checksum": "md5:" + "0" * 32}, "gives a file that has md5"),
        ({"size": 7}, "serves 5120 bytes where the catalogue expects 7"),
        ({"key": "other.bin"}, "holds no file scan.bin"),
        ({"checksum": "crc:1"}, "gives a checksum of an unknown kind"),
        ({"links": None}, "answers with something that is no record"),
    ],
)
def test_a_zenodo_record_tells_what_its_file_must_be(server, toy, hasty, tmp_path, changed, problem):
    described = {
        "key": "scan.bin",
        "size": len(CONTENT),
        "checksum": f"md5:{hashlib.md5(CONTENT).hexdigest()}",
        "links": {"self": server.serve("/content", CONTENT)},
    }
    record = server.serve("/api/records/1", json.dumps({"files": [described | changed]}).encode())
    scans = toy(Archive("scan.bin", (Address(record, "zenodo"),)))
    if problem is None:
        assert fetch(scans, tmp_path, hasty)["scan.bin"].path.read_bytes() == CONTENT
    else:
        with pytest.raises(InputError, match=problem):
            fetch(scans, tmp_path, hasty)
        assert files(tmp_path) == []


def test_a_drive_that_is_out_of_quota_says_which_file_to_put_where(server, toy, hasty, tmp_path):
    page = b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title>Too many users have viewed or downloaded"
    url = server.serve("/download?id=1&confirm=t", page, headers={"Content-Type": "text/html; charset=utf-8"})
    scans = toy(Archive("scans.zip", (Address(url, "gdrive"),), sha256=SHA256))
    with pytest.raises(InputError, match="says that its download quota is used up") as caught:
        fetch(scans, tmp_path, hasty)
    assert caught.value.remedy == f"fetch it by hand (https://example.org/toy) and put it at {tmp_path}/scans.zip"


def test_a_run_that_is_killed_leaves_no_file_and_is_gone_on_with(server, got, tmp_path):
    url = server.serve("/scan", CONTENT, piece=100, pause_s=0.02)
    script = f"""
from pathlib import Path
from dataclasses import replace
from universal_diffusion.datasets import catalogue
from universal_diffusion.preparation.downloads.mirrors import fetch
from universal_diffusion.preparation.downloads.session import Patience
archive = catalogue.Archive("scan.bin", (catalogue.Address({url!r}),))
fetch(replace(catalogue.entry("chaos"), archives=(archive,)), Path({str(tmp_path)!r}), Patience())
"""
    run = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    while arrived(tmp_path) < 500:
        assert run.poll() is None
        time.sleep(0.01)
    run.kill()
    run.wait()
    reached = arrived(tmp_path)
    assert not (tmp_path / "scan.bin").exists()
    assert got(url) == CONTENT
    assert server.asked[-1].headers["Range"] == f"bytes={reached}-"
