"""Unpacking: what is honest arrives whole, what is hostile or damaged stops with one line."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import pyzipper

from universal_diffusion.errors import InputError
from universal_diffusion.preparation import unpack as step
from universal_diffusion.preparation.origin import Origin, write_origin
from universal_diffusion.preparation.unpack import unpack


@pytest.fixture
def archives(tmp_path) -> Path:
    folder = tmp_path / "archives"
    folder.mkdir()
    write_origin(folder, Origin("local", (), "", ("P1",)))
    return folder


def write_zip(path: Path, members: dict[str, bytes]) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    return path.read_bytes()


def write_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "origin.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tar(archives, tmp_path, mode):
    name = "set.tar" if mode == "w" else "set.tar.gz"
    members = [(tarfile.TarInfo("Task/a.nii.gz"), b"a"), (tarfile.TarInfo("Task/._a.nii.gz"), b"mac")]
    write_tar(archives / name, *members, mode=mode)
    unpack(archives, tmp_path / "native", None)
    assert tree(tmp_path / "native") == {"Task/a.nii.gz": b"a"}


def test_nested_zips_unpack_beside_themselves_and_the_source_is_not_touched(archives, tmp_path):
    """As in 3D-IRCADb, both as a local folder of zips and as one zip of zips."""
    inner = write_zip(tmp_path / "source/P1/PATIENT_DICOM.zip", {"PATIENT_DICOM/image_0": b"slice"})
    unused = write_zip(tmp_path / "source/P1/MESHES_VTK.zip", {"MESHES_VTK/liver.vtk": b"mesh"})
    for path in (tmp_path / "source/P1").iterdir():
        (archives / "set/P1").mkdir(parents=True, exist_ok=True)
        (archives / "set/P1" / path.name).symlink_to(path)
    (archives / "set/LICENSE.txt").write_text("free")
    write_zip(archives / "P2.zip", {"P2/PATIENT_DICOM.zip": inner, "P2/MESHES_VTK.zip": unused})
    unpack(archives, tmp_path / "native", None)
    assert tree(tmp_path / "native") == {
        "set/P1/PATIENT_DICOM/image_0": b"slice",
        "set/LICENSE.txt": b"free",
        "P2/PATIENT_DICOM/image_0": b"slice",
    }
    assert (tmp_path / "native/set/LICENSE.txt").is_symlink()
    assert sorted(tree(tmp_path / "source")) == ["P1/MESHES_VTK.zip", "P1/PATIENT_DICOM.zip"]
    assert (tmp_path / "native/origin.json").read_bytes() == (archives / "origin.json").read_bytes()


@pytest.mark.parametrize("encryption", [pyzipper.WZ_AES, None])
def test_locked_zip(archives, tmp_path, encryption):
    if encryption is None:
        (archives / "word.zip").write_bytes(ZIPCRYPTO)
    else:
        with pyzipper.AESZipFile(archives / "word.zip", "w", encryption=encryption) as bundle:
            bundle.setpassword(b"published")
            bundle.writestr("scan.txt", b"open sesame")
    unpack(archives, tmp_path / "native", "published")
    assert tree(tmp_path / "native") == {"scan.txt": b"open sesame"}
    with pytest.raises(InputError, match=r"word\.zip: does not open under the catalogue's password"):
        unpack(archives, tmp_path / "native", "guess")
    with pytest.raises(InputError, match="catalogue knows no password"):
        unpack(archives, tmp_path / "native", None)


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "a/../../escaped", "..\\escaped", "C:\\escaped"])
def test_a_zip_that_reaches_out_is_refused(archives, tmp_path, name):
    write_zip(archives / "evil.zip", {name: b"x"})
    with pytest.raises(InputError, match=r"evil\.zip: reaches out of its tree"):
        unpack(archives, tmp_path / "native", None)
    assert not list(tmp_path.rglob("escaped*"))


@pytest.mark.parametrize(("name", "link"), [("../escaped", ""), ("a", "/etc"), ("a", "../..")])
def test_a_tar_that_reaches_out_is_refused(archives, tmp_path, name, link):
    member = tarfile.TarInfo(name)
    if link:
        member.type, member.linkname = tarfile.SYMTYPE, link
    write_tar(archives / "evil.tar", (member, b""), (tarfile.TarInfo("a/escaped"), b"x"))
    with pytest.raises(InputError, match=r"evil\.tar: reaches out of its tree"):
        unpack(archives, tmp_path / "native", None)
    assert not (tmp_path / "escaped").exists()


def test_a_leading_slash_in_a_tar_is_dropped(archives, tmp_path):
    inner = write_zip(tmp_path / "inner.zip", {"b": b"b"})
    write_tar(archives / "set.tar", (tarfile.TarInfo("/Task/a"), b"a"), (tarfile.TarInfo("/Task/inner.zip"), inner))
    unpack(archives, tmp_path / "native", None)
    assert tree(tmp_path / "native") == {"Task/a": b"a", "Task/b": b"b"}


def test_a_bomb_is_refused_also_when_nested(archives, tmp_path, monkeypatch):
    monkeypatch.setattr(step, "EXPANSION", 10)
    monkeypatch.setattr(step, "ALLOWANCE", 1000)
    bomb = write_zip(archives / "bomb.zip", {"zeros": bytes(100_000)})
    with pytest.raises(InputError, match=r"bomb\.zip: would expand"):
        unpack(archives, tmp_path / "native", None)
    (archives / "bomb.zip").unlink()
    write_zip(archives / "outer.zip", {"inner.zip": bomb})
    with pytest.raises(InputError, match=r"outer\.zip: would expand"):
        unpack(archives, tmp_path / "native", None)


def test_archives_nested_too_deep_are_refused(archives, tmp_path):
    content = b"x"
    for depth in range(4):
        content = write_zip(tmp_path / f"{depth}.zip", {f"{depth}.zip" if depth else "x": content})
    (archives / "deep.zip").write_bytes(content)
    with pytest.raises(InputError, match="nests archives"):
        unpack(archives, tmp_path / "native", None)


@pytest.mark.parametrize("name", ["set.zip", "set.tar", "set.tar.gz"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.97])
def test_a_truncated_archive_stops_with_one_line_and_leaves_nothing(archives, tmp_path, name, kept):
    content = bytes(range(256)) * 40
    if name.endswith(".zip"):
        write_zip(archives / name, {"a": content, "b": content})
    else:
        members = [(tarfile.TarInfo(letter), content) for letter in "ab"]
        write_tar(archives / name, *members, mode="w" if name == "set.tar" else "w:gz")
    whole = (archives / name).read_bytes()
    used = len(whole) if name != "set.tar" else 2 * (512 + 10240)  # a tar ends in padding
    (archives / name).write_bytes(whole[: int(used * kept)])
    with pytest.raises(InputError, match=r"is truncated or damaged") as caught:
        unpack(archives, tmp_path / "native", None)
    assert name in str(caught.value)
    assert not (tmp_path / "native").exists()
    assert not list(tmp_path.glob(".partial*"))


# `scan.txt` holding "open sesame" under the password "published", in the older ZipCrypto, which Python cannot write.
ZIPCRYPTO = bytes.fromhex(
    "504b0304140001000000000021007eb0ba43170000000b000000080000007363616e2e74787457c591ac5b699a09a63c2d04"
    "8b10afb81ae5f8f4f8ec97504b01021400140001000000000021007eb0ba43170000000b0000000800000000000000000000"
    "00a481000000007363616e2e747874504b05060000000001000100360000003d0000000000"
)
