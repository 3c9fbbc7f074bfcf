"""Acquiring archives: local links, downloads from a real server on the loopback interface, and hash checks."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from universal_diffusion.datasets.catalogue import Address, Archive
from universal_diffusion.errors import InputError
from universal_diffusion.preparation.acquire import acquire
from universal_diffusion.preparation.downloads import verify
from universal_diffusion.preparation.origin import read_origin
from universal_diffusion.settings import Source

CONTENT = b"a scan" * 1000
GOOD = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "md5": hashlib.md5(CONTENT).hexdigest()}
DOWNLOAD = Source("download", "train")


def archive(name="scan.bin", *urls: str, sha256=GOOD["sha256"], md5=None, size=None) -> Archive:
    return Archive(name, tuple(map(Address, urls)), sha256, md5, size)


@pytest.fixture
def entry(toy):
    return toy


def test_a_download_is_linked_and_recorded(server, entry, tmp_path, hasty):
    scans = entry(archive("scan.bin", server.serve("/good", CONTENT)))
    acquire(scans, DOWNLOAD, tmp_path / "data", tmp_path / "out", hasty)
    assert (tmp_path / "out/scan.bin").resolve() == tmp_path / "data/downloads/toy/scan.bin"
    assert (tmp_path / "out/scan.bin").is_symlink()
    record = json.loads((tmp_path / "out/origin.json").read_text())
    assert record["origin"] == "download"
    assert record["files"] == [
        {"name": "scan.bin", "sha256": GOOD["sha256"], "bytes": len(CONTENT), "checked": "SHA-256 of the catalogue"}
    ]
    assert record["note"] == "1 of 1 files checked against a published hash"


def test_failure_says_what_to_put_where_and_leaves_nothing(server, entry, tmp_path, hasty):
    scans = entry(archive("scan.bin", server.serve("/other", b"other")))
    with pytest.raises(InputError, match=r"other gives a file that has sha256 .*expects") as caught:
        acquire(scans, DOWNLOAD, tmp_path / "data", tmp_path / "out", hasty)
    place = tmp_path / "data/downloads/toy/scan.bin"
    assert caught.value.remedy == f"fetch it by hand (https://example.org/toy) and put it at {place}"
    assert not (tmp_path / "out").exists()
    assert [path.name for path in (tmp_path / "data").rglob("*") if path.is_file()] == [".lock"]


def test_a_relative_data_root_is_told_in_full(entry, tmp_path, hasty, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        acquire(entry(archive()), DOWNLOAD, Path("."), Path("out"), hasty)
    assert str(tmp_path / "downloads/toy/scan.bin") in caught.value.remedy


def test_a_fetched_archive_is_not_fetched_again(server, entry, tmp_path, hasty):
    scans = entry(archive("scan.bin", server.serve("/good", CONTENT)))
    for _ in range(2):
        acquire(scans, DOWNLOAD, tmp_path / "data", tmp_path / "out", hasty)
    assert len(server.asked) == 1


@pytest.fixture
def locked(entry, tmp_path, monkeypatch):
    """An entry that needs a token, which is not set, and the folder to drop its file in."""
    monkeypatch.delenv("TOY_TOKEN", raising=False)
    (tmp_path / "downloads/toy").mkdir(parents=True)
    scan = Archive("scan.bin", (Address("http://127.0.0.1:9/", "synapse"),), GOOD["sha256"])
    return entry(scan, credential="TOY_TOKEN"), tmp_path / "downloads/toy"


def test_without_the_credential_the_variable_and_the_drop_in_place_are_named(locked, tmp_path, hasty):
    with pytest.raises(InputError, match=r"TOY_TOKEN.*downloads/toy/scan.bin"):
        acquire(locked[0], DOWNLOAD, tmp_path, tmp_path / "out", hasty)


@pytest.mark.parametrize("name", ["scan.bin", "scan (1).bin", "scan.bin.download"])
def test_a_file_dropped_in_by_hand_is_verified_and_used_whatever_its_name(locked, tmp_path, hasty, name):
    (locked[1] / "scan.txt").write_text("another file")
    (locked[1] / name).write_bytes(CONTENT)
    acquire(locked[0], DOWNLOAD, tmp_path, tmp_path / "out", hasty)
    assert (tmp_path / "out/scan.bin").resolve() == locked[1] / name


def test_a_truncated_file_dropped_in_by_hand_is_refused(locked, tmp_path, hasty):
    (locked[1] / "scan.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match=r"scan\.bin: has sha256 .* expects .*; it is damaged .*remove it"):
        acquire(locked[0], DOWNLOAD, tmp_path, tmp_path / "out", hasty)
    os.rename(locked[1] / "scan.bin", locked[1] / "scan (1).bin")
    with pytest.raises(InputError, match=r"it is none of the files that lie there \(scan \(1\)\.bin\)"):
        acquire(locked[0], DOWNLOAD, tmp_path, tmp_path / "out", hasty)


def test_a_folder_in_place_of_the_archive_is_refused(locked, tmp_path, hasty):
    (locked[1] / "scan.bin").mkdir()
    (locked[1] / "scan.bin/slice").write_bytes(CONTENT)
    with pytest.raises(InputError, match=r"is a folder and not the archive as published; .*`local` source"):
        acquire(locked[0], DOWNLOAD, tmp_path, tmp_path / "out", hasty)


def test_a_dropped_zip_without_published_hash_must_be_whole(entry, tmp_path, hasty):
    place = tmp_path / "downloads/toy/scans.zip"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"PK\x03\x04 the beginning of a zip")
    with pytest.raises(InputError, match=r"scans\.zip: is no zip archive, or only the beginning of one"):
        acquire(entry(archive("scans.zip", sha256=None)), DOWNLOAD, tmp_path, tmp_path / "out", hasty)


def test_the_folder_of_a_collection_is_linked_file_by_file(entry, tmp_path, hasty):
    scans = entry(Archive("Scans", (Address("http://127.0.0.1:9/", "nbia"),)), cases=1)
    with pytest.raises(InputError, match=r"put its patients' folders into .*downloads/toy/Scans"):
        acquire(scans, DOWNLOAD, tmp_path, tmp_path / "out", hasty)
    slice_file = tmp_path / "downloads/toy/Scans/P1/1.dcm"
    slice_file.parent.mkdir(parents=True)
    slice_file.write_bytes(bytes(128) + b"DICM")
    acquire(scans, DOWNLOAD, tmp_path, tmp_path / "out", hasty)
    assert (tmp_path / "out/Scans/P1/1.dcm").resolve() == slice_file


def local(path: str | None, *cases: str) -> Source:
    return Source("local", "train", path, cases)


@pytest.fixture
def tree(tmp_path) -> Path:
    for name in ("set/P1/ct.zip", "set/P11/ct.zip", "set/P1/._ct.zip", "set/LICENSE.txt", "one/scan.bin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(CONTENT)
    return tmp_path


def test_a_local_folder_is_mirrored_by_links(entry, tree):
    acquire(entry(archive()), local("set"), tree, tree / "out")
    names = [file.name for file in read_origin(tree / "out").files]
    assert names == ["set/LICENSE.txt", "set/P1/ct.zip", "set/P11/ct.zip"]
    assert all((tree / "out" / name).is_symlink() for name in names)


def test_wanted_cases_that_are_folders_are_the_only_ones_linked(entry, tree):
    acquire(entry(archive()), local("set", "P1"), tree, tree / "out")
    assert [file.name for file in read_origin(tree / "out").files] == ["set/P1/ct.zip"]
    acquire(entry(archive()), local("set", "scan_7"), tree, tree / "out")
    assert len(read_origin(tree / "out").files) == 3
    assert read_origin(tree / "out").cases == ("scan_7",)


@pytest.mark.parametrize("known", [{"sha256": GOOD["sha256"]}, {"sha256": None, "md5": GOOD["md5"]}])
def test_a_local_file_the_catalogue_knows_is_verified(entry, tree, known):
    acquire(entry(archive(**known)), local("one/scan.bin"), tree, tree / "out")
    assert "1 of 1" in read_origin(tree / "out").note
    (tree / "one/scan.bin").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"scan\.bin: has (sha256|md5) \w+, the catalogue expects \w+; .*fetch"):
        acquire(entry(archive(**known)), local("one/scan.bin"), tree, tree / "out")


def test_a_file_of_another_size_is_refused_before_it_is_hashed(entry, tree, monkeypatch):
    acquire(entry(archive(size=len(CONTENT))), local("one/scan.bin"), tree, tree / "whole")
    monkeypatch.setattr(verify, "against", None)
    with pytest.raises(InputError, match=r"scan\.bin: has size 6000 bytes, the catalogue expects 7000 bytes; .*fetch"):
        acquire(entry(archive(size=7000)), local("one/scan.bin"), tree, tree / "cut")


@pytest.mark.parametrize("path", [None, "nowhere", "empty"])
def test_a_local_path_without_files_is_refused(entry, tree, path):
    (tree / "empty").mkdir()
    with pytest.raises(InputError):
        acquire(entry(archive()), local(path), tree, tree / "out")
