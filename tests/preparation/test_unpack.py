"""Unpacking: what is honest arrives whole, what is hostile or damaged stops with one line."""

import contextlib
import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import pyzipper
from hypothesis import given, settings
from hypothesis import strategies as st

from universal_diffusion.datasets.catalogue import entry
from universal_diffusion.errors import InputError
from universal_diffusion.preparation import extraction
from universal_diffusion.preparation.contents import content_hash
from universal_diffusion.preparation.origin import Origin, read_origin, write_origin
from universal_diffusion.preparation.unpack import unpack

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "3dircadb"


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
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("origin.json", "SHA256SUMS"))
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


@settings(max_examples=30)
@given(
    names=st.lists(st.text("ab./\\ \t:~$*\u00e4\u202e-", min_size=1, max_size=12), min_size=1, max_size=4),
    tarred=st.booleans(),
)
def test_whatever_its_members_are_called_nothing_is_written_outside(tmp_path_factory, names, tarred):
    folder = tmp_path_factory.mktemp("names")
    (folder / "archives").mkdir()
    write_origin(folder / "archives", Origin("local", (), ""))
    if tarred:
        write_tar(folder / "archives/evil.tar", *((tarfile.TarInfo(name), b"x") for name in names))
    else:
        write_zip(folder / "archives/evil.zip", dict.fromkeys(names, b"x"))
    before = sorted(tmp_path_factory.getbasetemp().rglob("*"))
    with contextlib.suppress(InputError):
        unpack(folder / "archives", folder / "native", None)
    inside = {folder / "native", *(folder / "native").rglob("*")}
    assert sorted(set(tmp_path_factory.getbasetemp().rglob("*")) - inside) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize(
    ("name", "link"), [("../escaped", ""), ("/escaped", ""), ("a", "/etc"), ("a", "../.."), ("a", "inside")]
)
def test_a_tar_that_reaches_out_or_links_is_refused(archives, tmp_path, name, link, kind):
    """A link inside the tree too: no dataset needs one, and tarfile's own filter was escaped through such links."""
    member = tarfile.TarInfo(name)
    if link:
        member.type, member.linkname = kind, link
    write_tar(archives / "evil.tar", (member, b""), (tarfile.TarInfo("a/escaped"), b"x"))
    with pytest.raises(InputError, match=r"evil\.tar: reaches out of its tree"):
        unpack(archives, tmp_path / "native", None)
    assert not list(tmp_path.rglob("escaped*"))


def test_a_link_in_a_zip_is_refused(archives, tmp_path):
    member = zipfile.ZipInfo("a")
    member.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archives / "evil.zip", "w") as bundle:
        bundle.writestr(member, "/etc/passwd")
    with pytest.raises(InputError, match=r"evil\.zip: reaches out of its tree \(a, a link\)"):
        unpack(archives, tmp_path / "native", None)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_tar_with_a_device_is_refused(archives, tmp_path, kind):
    member = tarfile.TarInfo("device")
    member.type = kind
    write_tar(archives / "evil.tar", (member, b""))
    with pytest.raises(InputError, match=r"evil\.tar: "):
        unpack(archives, tmp_path / "native", None)


def zeros(path: Path, size: int) -> None:
    """A zip of one file of zeros, which deflate packs about 1030 to 1."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle, bundle.open("zeros", "w") as file:
        for _ in range(size // 2**20):
            file.write(bytes(2**20))


@pytest.mark.parametrize("nested", [False, True])
def test_a_bomb_is_refused_before_it_is_written(archives, tmp_path, nested):
    zeros(archives / "bomb.zip", 200 * 2**20)
    if nested:
        bomb = (archives / "bomb.zip").read_bytes()
        write_zip(archives / "bomb.zip", {"inner.zip": bomb})
    with pytest.raises(InputError, match=r"bomb\.zip: would expand to more than 400 times its size"):
        unpack(archives, tmp_path / "native", None)
    assert not (tmp_path / "native").exists()


def test_a_bomb_in_a_compressed_tar_is_refused_also_behind_its_last_member(archives, tmp_path):
    for content in (bytes(160 * 2**20), b""):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            member = tarfile.TarInfo("._hidden")  # which is passed over
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        padding = 0 if content else 160 * 2**20
        (archives / "bomb.tar.gz").write_bytes(gzip.compress(stream.getvalue() + bytes(padding), 9))
        with pytest.raises(InputError, match=r"bomb\.tar\.gz: would expand"):
            unpack(archives, tmp_path / "native", None)


def header_bomb(path: Path, kind: bytes, size: int, count: int = 1) -> None:
    """A packed tar of `count` headers before its member, each of which declares `size` bytes and holds them."""
    header = tarfile.TarInfo("././@LongLink")
    header.size, header.type = size, kind
    with lzma.open(path, "wb", preset=0) if path.suffix == ".tar" else gzip.open(path, "wb", 1) as file:
        for _ in range(count):
            file.write(header.tobuf(tarfile.USTAR_FORMAT) + b"a" * size)
        file.write(tarfile.TarInfo("member").tobuf() + bytes(10240))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("name", ["bomb.tar.gz", "bomb.tgz", "bomb.tar"])
def test_a_header_of_a_tar_is_not_inflated_into_memory(archives, tmp_path, kind, name):
    """Nor is a .tar taken for xz or bzip2, which pack closer than the bound foresees."""
    header_bomb(archives / name, kind, 48 * 2**20)
    tracemalloc.start()
    with pytest.raises(InputError, match=rf"{name}: (has a header of 50331648 bytes|is truncated or damaged)"):
        unpack(archives, tmp_path / "native", None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_the_headers_of_a_tar_are_spent_of_its_bound(archives, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "ALLOWANCE", 2**20)
    monkeypatch.setattr(extraction, "EXPANSION", 1)
    header_bomb(archives / "bomb.tar.gz", tarfile.GNUTYPE_LONGNAME, 200 * 1024, count=10)
    with pytest.raises(InputError, match=r"bomb\.tar\.gz: would expand to more than"):
        unpack(archives, tmp_path / "native", None)


def test_headers_without_end_are_damage(archives, tmp_path):
    header_bomb(archives / "bomb.tar.gz", tarfile.GNUTYPE_LONGNAME, 512, count=5000)
    with pytest.raises(InputError, match=r"bomb\.tar\.gz: is truncated or damaged"):
        unpack(archives, tmp_path / "native", None)


def test_the_holes_of_a_sparse_member_are_spent_of_the_bound(archives, tmp_path):
    sparse = tarfile.TarInfo("sparse")
    sparse.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % (10**9)  # the size with its holes
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (archives / "bomb.tar").write_bytes(bytes(header) + bytes(10240))
    with pytest.raises(InputError, match=r"bomb\.tar: would expand to more than"):
        unpack(archives, tmp_path / "native", None)


def test_sizes_that_lie_are_damage_and_write_no_more_than_they_say(archives, tmp_path):
    content = write_zip(archives / "lie.zip", {"a": bytes(10_000)})
    (archives / "lie.zip").write_bytes(content.replace(struct.pack("<I", 10_000), struct.pack("<I", 10)))
    with pytest.raises(InputError, match=r"lie\.zip: is truncated or damaged \(Bad CRC-32"):
        unpack(archives, tmp_path / "native", None)


def test_more_files_than_any_dataset_has_are_refused(archives, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "MEMBERS", 10)
    write_zip(archives / "many.zip", {str(number): b"" for number in range(11)})
    with pytest.raises(InputError, match=r"many\.zip: holds more than 10 files"):
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
    assert f"put a whole {archives / name} in its place, delete {archives} and run again" in str(caught.value)
    assert not (tmp_path / "native").exists()
    assert not list(tmp_path.glob(".partial*"))


def patient(folder: Path, changed: bytes = b"mask") -> None:
    for name, content in {"PATIENT_DICOM/image_0": b"slice", "MASKS_DICOM/liver/image_0": changed}.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content)


def test_content_is_the_same_however_it_was_packed(archives, tmp_path):
    """One zip of folders with one packing, zips in a zip with a doubled folder with another: equal hashes."""
    patient(tmp_path / "P1")
    slices = {"PATIENT_DICOM/image_0": b"slice", "MASKS_DICOM/liver/image_0": b"mask"}
    inner = {
        name: write_zip(tmp_path / f"{name}.zip", {f"{name}/{name}/{path}": content})
        for name, path, content in [("PATIENT_DICOM", "image_0", b"slice"), ("MASKS_DICOM", "liver/image_0", b"mask")]
    }
    write_zip(archives / "set/P1.zip", {f"P1/{name}": content for name, content in slices.items()})
    write_zip(archives / "set/P2.zip", {f"P2/{name}.zip": content for name, content in inner.items()})
    expected = content_hash(tmp_path / "P1")
    unpack(archives, tmp_path / "native", None, {"P1": expected, "P2": None, "P3": expected})
    assert read_origin(tmp_path / "native").contents == {"P1": expected, "P2": expected}
    lines = [
        f"{hashlib.sha256(b'mask').hexdigest()}  liver/image_0\n",
        f"{hashlib.sha256(b'slice').hexdigest()}  PATIENT_DICOM/image_0\n",
    ]
    assert expected == hashlib.sha256("".join(sorted(lines, key=lambda line: line[66:])).encode()).hexdigest()


def test_other_content_than_the_published_is_refused_unless_we_wrote_it(archives, tmp_path):
    patient(archives / "P1", b"mask redrawn")
    wrong = {"P1": "0" * 64}
    with pytest.raises(InputError, match=r"P1: holds slices of hash \w+, the catalogue expects 0000.*fetch it again"):
        unpack(archives, tmp_path / "native", None, wrong)
    write_origin(archives, Origin("phantom", (), ""))
    unpack(archives, tmp_path / "native", None, wrong)
    assert read_origin(tmp_path / "native").contents == {"P1": content_hash(archives / "P1")}


@pytest.mark.parametrize("lost", [(3, 4), (0,), ()])
def test_trap_ircadb_a_scan_that_lost_slices_at_an_end_is_refused_unless_we_wrote_it(archives, tmp_path, lost):
    """The masks lost theirs too, so that the patient alone says nothing."""
    for folder in ("PATIENT_DICOM", "MASKS_DICOM/liver"):
        for number in sorted({*range(5)} - {*lost}):
            path = archives / f"P1/{folder}/{folder}/image_{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"slice")
    given = (archives, tmp_path / "native", None, {"P1": None}, {"P1": 5})
    if lost:
        told = rf"^P1: holds {5 - len(lost)} slices in PATIENT_DICOM, the catalogue expects 5; it is incomplete"
        with pytest.raises(InputError, match=told):
            unpack(*given)
        write_origin(archives, Origin("phantom", (), ""))
    unpack(*given)
    assert list(read_origin(tmp_path / "native").contents) == ["P1"]


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason="3D-IRCADb patients 1 and 17 of ../shared/data are not here")
@pytest.mark.parametrize("case", ["3Dircadb1.1", "3Dircadb1.17"])
def test_real_patients_have_the_content_that_the_catalogue_expects(archives, tmp_path, case):
    (archives / case).mkdir()
    for path in (REAL / case).glob("*.zip"):
        (archives / case / path.name).symlink_to(path)
    known = entry("ircadb")
    contents = known.contents
    assert contents[case]
    unpack(archives, tmp_path / "native", None, contents, known.slices)
    assert read_origin(tmp_path / "native").contents == {case: contents[case]}


# `scan.txt` holding "open sesame" under the password "published", in the older ZipCrypto, which Python cannot write.
ZIPCRYPTO = bytes.fromhex(
    "504b0304140001000000000021007eb0ba43170000000b000000080000007363616e2e74787457c591ac5b699a09a63c2d04"
    "8b10afb81ae5f8f4f8ec97504b01021400140001000000000021007eb0ba43170000000b0000000800000000000000000000"
    "00a481000000007363616e2e747874504b05060000000001000100360000003d0000000000"
)
