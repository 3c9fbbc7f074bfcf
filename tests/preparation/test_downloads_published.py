"""What a file is compared with: a published hash, its own checksums, or nothing, as the record then says."""

import gzip
import hashlib
import io
import json
import random
import zipfile
from pathlib import Path

import pytest

from universal_diffusion.datasets.catalogue import Address, Archive
from universal_diffusion.errors import InputError
from universal_diffusion.preparation.acquire import acquire
from universal_diffusion.preparation.downloads.mirrors import fetch
from universal_diffusion.preparation.origin import read_origin
from universal_diffusion.settings import Source

NOISE = random.Random(1).randbytes(60_000)
SCAN = gzip.compress(NOISE)
DOWNLOAD = Source("download", "train")


def zipped(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr(name, NOISE)
    return stream.getvalue()


SUBTASK = zipped("Subtask1/scan")


def drop(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def sent(digest: str) -> dict[str, str]:
    return {"X-Linked-ETag": f'"{digest}"'}


def checks(folder: Path) -> dict[str, str]:
    return {file.name: file.checked for file in read_origin(folder).files}


@pytest.fixture
def record(server):
    """Address of a Zenodo record that holds Subtask1.zip."""
    described = {"key": "Subtask1.zip", "size": len(SUBTASK), "links": {"self": server.serve("/file", SUBTASK)}}
    described["checksum"] = f"md5:{hashlib.md5(SUBTASK).hexdigest()}"
    return Address(server.serve("/record", json.dumps({"files": [described]}).encode()), "zenodo")


@pytest.mark.parametrize("length", ["untold", "chunked", "told"])
@pytest.mark.parametrize("kept", [1000, len(SCAN) - 1])
def test_a_gz_of_untold_hash_that_was_cut_does_not_appear(server, toy, hasty, tmp_path, length, kept):
    cut = server.serve("/cut", SCAN[:kept], length=length)
    with pytest.raises(InputError, match="gives a file that is no gzip file, a damaged one or only the beginning"):
        fetch(toy(Archive("scan.nii.gz", (Address(cut),))), tmp_path, hasty)
    whole = server.serve("/whole", SCAN, length=length)
    found = fetch(toy(Archive("scan.nii.gz", (Address(cut), Address(whole)))), tmp_path, hasty)["scan.nii.gz"]
    assert found.path.read_bytes() == SCAN
    assert (found.sha256, found.check, found.published) == (
        hashlib.sha256(SCAN).hexdigest(),
        "the gzip file's own checksum",
        False,
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("scan.nii.gz", SCAN[:1000]),
        ("scan.nii.gz", SCAN[:2000] + b"\0" + SCAN[2001:]),
        ("scan.nii.gz", b""),
        ("3Dircadb1.1.zip", SUBTASK[:1000] + bytes([SUBTASK[1000] ^ 1]) + SUBTASK[1001:]),
        ("3Dircadb1.1.zip", SUBTASK[:-30]),
    ],
)
def test_a_dropped_file_without_published_hash_must_be_whole(toy, hasty, tmp_path, name, content):
    drop(tmp_path / name, content)
    with pytest.raises(InputError, match=rf"{name}: is .*(damaged|beginning|nothing|cannot be read).*; .*remove it"):
        fetch(toy(Archive(name, (Address("http://127.0.0.1:9/"),))), tmp_path, hasty)


def test_the_hash_that_hugging_face_sends_with_its_redirect_is_compared(server, other_server, toy, hasty, tmp_path):
    damaged = other_server.serve("/xet/1", gzip.compress(b"another scan"))
    headers = {"Location": damaged} | sent(hashlib.sha256(SCAN).hexdigest())
    scan = toy(Archive("scan.nii.gz", (Address(server.serve("/resolve", status=302, headers=headers)),)))
    with pytest.raises(InputError, match=r"gives a file that has sha256 \w+, 127\.0\.0\.1 expects"):
        fetch(scan, tmp_path, hasty)
    other_server.serve("/xet/1", SCAN, cuts=[1000])
    found = fetch(scan, tmp_path, hasty)["scan.nii.gz"]
    assert (found.check, found.published) == ("SHA-256 of 127.0.0.1", True)
    assert other_server.asked[-1].headers["Range"] == "bytes=1000-"
    server.stop()
    assert fetch(scan, tmp_path, hasty)["scan.nii.gz"] == found  # remembered
    found.path.write_bytes(gzip.compress(b"another scan"))
    with pytest.raises(InputError, match=r"has sha256 .*it is damaged or another edition"):
        fetch(scan, tmp_path, hasty)


@pytest.mark.parametrize("tag", ["9b0f1c", "A" * 64 + "B", "z" * 64, ""])
def test_a_tag_that_is_no_sha256_is_not_taken_for_one(server, toy, hasty, tmp_path, tag):
    url = server.serve("/scan", SCAN, headers=sent(tag))
    assert not fetch(toy(Archive("scan.nii.gz", (Address(url),))), tmp_path, hasty)["scan.nii.gz"].published


def test_a_mirror_that_sends_no_hash_is_not_held_to_that_of_another(server, toy, hasty, tmp_path):
    other = gzip.compress(b"the same scan packed anew")
    first = server.serve("/first", SCAN, headers=sent(hashlib.sha256(SCAN).hexdigest()))
    scan = toy(Archive("scan.nii.gz", (Address(first), Address(server.serve("/second", other)))))
    fetch(scan, tmp_path, hasty)["scan.nii.gz"].path.unlink()
    server.pages["/first"].status = 404
    for _ in range(2):
        assert not fetch(scan, tmp_path, hasty)["scan.nii.gz"].published


@pytest.mark.parametrize("name", ["Subtask1.zip", "Subtask1 (1).zip"])
def test_a_dropped_zenodo_file_is_compared_with_its_record_once(server, record, toy, hasty, tmp_path, name):
    subtask = toy(Archive("Subtask1.zip", (record,)))
    drop(tmp_path / "downloads/toy" / name, SUBTASK)
    for _ in range(2):
        acquire(subtask, DOWNLOAD, tmp_path, tmp_path / "out", hasty)
    assert server.paths() == ["/record"]
    assert read_origin(tmp_path / "out").note == "1 of 1 files checked against a published hash"
    assert checks(tmp_path / "out") == {"Subtask1.zip": f"MD5 of {record.url}"}


def test_a_dropped_file_that_is_another_than_in_its_record_is_refused(record, toy, hasty, tmp_path):
    drop(tmp_path / "Subtask1.zip", zipped("Subtask1/other"))
    with pytest.raises(InputError, match=r"Subtask1\.zip: has md5 \w+, http.*/record expects \w+; .*remove it"):
        fetch(toy(Archive("Subtask1.zip", (record,))), tmp_path, hasty)


def test_a_dropped_file_whose_record_is_out_of_reach_is_used_and_that_is_said(
    server, record, toy, hasty, tmp_path, capsys
):
    server.pages["/record"].status = 503
    drop(tmp_path / "downloads/toy/Subtask1.zip", SUBTASK)
    acquire(toy(Archive("Subtask1.zip", (record,))), DOWNLOAD, tmp_path, tmp_path / "out", hasty)
    assert len(server.asked) == 1
    assert f"Subtask1.zip: not compared with {record.url}, which answers HTTP 503" in capsys.readouterr().err
    own = "the zip archive's own checksums"
    assert read_origin(tmp_path / "out").note == f"0 of 1 files checked against a published hash; 1 by {own} alone"
    assert checks(tmp_path / "out") == {"Subtask1.zip": own}


def test_the_record_says_by_what_a_download_was_checked(record, server, toy, hasty, tmp_path):
    sha256 = hashlib.sha256(NOISE).hexdigest()
    known = Archive("known.bin", (Address(server.serve("/known", NOISE)),), sha256=sha256)
    unknown = Archive("unknown.bin", (Address(server.serve("/unknown", NOISE)),))
    archives = known, Archive("Subtask1.zip", (record,)), unknown
    acquire(toy(*archives), DOWNLOAD, tmp_path, tmp_path / "out", hasty)
    assert read_origin(tmp_path / "out").note == "2 of 3 files checked against a published hash; 1 by nothing"
    assert checks(tmp_path / "out") == {
        "known.bin": "SHA-256 of the catalogue",
        "Subtask1.zip": f"MD5 of {record.url}",
        "unknown.bin": "",
    }


def bytes_read() -> int:
    """Of files, by this process."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts what a process reads")
@pytest.mark.parametrize("known", [{"sha256": True}, {"md5": True}, {"md5": True, "name": "other (1).tar"}, {}])
def test_a_file_is_read_once_fresh_and_once_when_it_is_there(server, toy, hasty, tmp_path, known):
    content = random.Random(2).randbytes(20_000_000)
    name, kinds = known.get("name"), known.keys() & {"sha256", "md5"}
    content = content if kinds else gzip.compress(content, 0)
    hashes = {kind: hashlib.new(kind, content).hexdigest() for kind in kinds}
    scans = toy(Archive("scans.tar" if kinds else "scan.gz", (Address(server.serve("/scans", content)),), **hashes))
    if name:
        drop(tmp_path / "downloads/toy" / name, content)
    for _ in range(2):
        before = bytes_read()
        acquire(scans, DOWNLOAD, tmp_path, tmp_path / "out", hasty)
        assert len(content) <= bytes_read() - before < 1.2 * len(content)
