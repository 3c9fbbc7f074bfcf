"""Small files that ask for much: each is refused before it has taken a tenth of the memory or disk that it asks for."""

import bz2
import gzip
import importlib.util
import lzma
import shutil
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1

from universal_diffusion.datasets.dicom_codestreams import coded_size
from universal_diffusion.errors import InputError
from universal_diffusion.preparation.extraction import extract
from universal_diffusion.segmentation.inputs.ct_input import read_ct

spec = importlib.util.spec_from_file_location("strangers", Path(__file__).with_name("strangers.py"))
strangers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(strangers)

MIB = 2**20
LEAST = 24 * MIB  # what reading may take


@pytest.fixture
def frugal():
    """Python's memory must stay small; C's is not seen, so a decoder must not be reached (the match says why)."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < LEAST


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_of_a_method_that_is_inflated_at_once(tmp_path, method):
    """300 bytes that say they hold 1000, and hold 32 MiB."""
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", method) as bundle:
        bundle.writestr("zeros", bytes(32 * MIB))
    content = (tmp_path / "bomb.zip").read_bytes()
    (tmp_path / "bomb.zip").write_bytes(content.replace(struct.pack("<I", 32 * MIB), struct.pack("<I", 1000)))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"bomb\.zip: packs zeros by method 1[24], expected stored or deflated"):
        extract(tmp_path / "bomb.zip", tmp_path / "out", None)
    assert tracemalloc.get_traced_memory()[1] < LEAST
    tracemalloc.stop()


def test_members_that_share_their_bytes_are_counted_each(tmp_path):
    """Overlapping members (Fifield, "A better zip bomb"): 1000 directory entries for one deflated MiB."""
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("zeros", bytes(MIB))
        first = bundle.filelist[0]
        for number in range(1000):
            again = zipfile.ZipInfo(f"z{number:04}"[-5:])
            for name in ("compress_type", "CRC", "compress_size", "file_size", "header_offset", "flag_bits"):
                setattr(again, name, getattr(first, name))
            bundle.filelist.append(again)
    with pytest.raises(InputError, match="would expand to more than 400 times its size"):
        extract(tmp_path / "bomb.zip", tmp_path / "out", None)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_bomb_below_the_bound_takes_no_more_than_the_disk_has(tmp_path, monkeypatch):
    """Half the bound: told before a byte is written, if the disk has not so much; else it takes what it says."""
    honest = [zlib.compress(bytes(MIB)), bytes(range(256)) * 20]
    with zipfile.ZipFile(tmp_path / "large.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("zeros", bytes(4 * MIB))
        bundle.writestr("noise", b"".join(honest))
    extract(tmp_path / "large.zip", tmp_path / "out", None)
    assert (tmp_path / "out/zeros").stat().st_size == 4 * MIB
    full = shutil.disk_usage(tmp_path)._replace(free=3 * MIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(InputError, match=r"needs 0\.0 GB, which the disk does not have; make room"):
        extract(tmp_path / "large.zip", tmp_path / "again", None)
    assert list((tmp_path / "again").iterdir()) == []


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_archives_inside_archives_share_one_bound(tmp_path, pack):
    """A tar in a zip; of gzip it is unpacked and counted, of others it stays the file that it is."""
    suffix = {"gzip": "gz", "bz2": "bz2", "lzma": "xz"}[pack.__module__]
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr(f"inner.tar.{suffix}", pack(bytes((80 if pack is gzip.compress else 8) * MIB)))
    if suffix == "gz":
        with pytest.raises(InputError, match=r"would expand to more than 400 times|damaged"):
            extract(tmp_path / "a.zip", tmp_path / "out", None)
    else:
        extract(tmp_path / "a.zip", tmp_path / "out", None)
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()) < MIB


@pytest.mark.parametrize("extension", [64 * MIB, 64 * MIB + 2**26])
def test_an_extension_of_a_nifti_file_is_not_taken_into_memory(tmp_path, frugal, extension):
    header = bytearray(strangers.nifti()[:348])
    header[108:112] = struct.pack("<f", 352 + 64 * MIB)
    with gzip.open(tmp_path / "ct.nii.gz", "wb", 1) as file:
        file.write(bytes(header) + b"\1\0\0\0" + struct.pack("<ii", extension, 6))
        for _ in range(65):
            file.write(bytes(MIB))
    with pytest.raises(InputError, match="is 0 everywhere"):  # the voxels are read, from behind the extension
        read_ct(tmp_path / "ct.nii.gz")


def test_a_header_that_promises_more_voxels_than_its_file_holds(tmp_path, frugal):
    nrrd = strangers.nrrd().replace(b"sizes: 4 5 3", b"sizes: 1024 1024 1024")
    metaimage = strangers.metaimage().replace(b"DimSize = 4 5 3", b"DimSize = 1024 1024 1024")
    nifti = bytearray(strangers.nifti())
    nifti[42:48] = struct.pack("<3h", 1024, 1024, 1024)
    for name, content in (("a.nrrd", nrrd), ("a.mha", metaimage), ("a.nii", nifti)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"promises 1024 x 1024 x 1024 voxels, which .* cannot hold"):
            read_ct(tmp_path / name)


def test_a_deflated_dicom_file_is_inflated_within_bounds(tmp_path, frugal):
    """A private element of zeros, 64 MiB in 64 kB, behind an honest header."""
    whole = strangers.deflated()
    start = 144 + struct.unpack("<I", whole[140:144])[0]  # behind group 0002
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(struct.pack("<HH2sHI", 9, 0x1010, b"OB", 0, 64 * MIB))
    packed += b"".join(packer.compress(bytes(MIB)) for _ in range(64)) + packer.flush()
    (tmp_path / "bomb").write_bytes(whole[:start] + packed)
    with pytest.raises(InputError, match="would inflate to more than 64 times its size"):
        read_ct(tmp_path)


def longer(syntax: str, z: int, tail: bytes) -> bytes:
    """Slice `z` with `tail` behind its pixels, deflated as the rest where that is."""
    whole = strangers.dicom(z, syntax)
    if syntax != DeflatedExplicitVRLittleEndian:
        return whole + tail
    start = 144 + struct.unpack("<I", whole[140:144])[0]
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    inflated = zlib.decompress(whole[start:], -zlib.MAX_WBITS)
    return whole[:start] + packer.compress(inflated + tail) + packer.flush()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize(("declared", "nested"), [(0x9000A7A7, False), (0x9000A7A7, True), (0xF0005858, False)])
def test_a_dicom_element_that_declares_more_than_its_file_is_not_given_to_gdcm(tmp_path, syntax, declared, nested):
    """It would take 2.4 GB and more. pydicom reads 0x5858 as type XX, and a length in what is left."""
    bomb = struct.pack("<HHI", 0x7FF1, 0x1010, declared)
    if nested:
        sequence = struct.pack("<HH2sHI", 0x7FF1, 0x1010, b"SQ", 0, 0xFFFFFFFF)
        bomb = sequence + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + bomb
    for z in range(3):
        (tmp_path / str(z)).write_bytes(longer(syntax, z, bomb))
    with pytest.raises(InputError, match=r"of a type that DICOM does not have|is no DICOM file"):
        read_ct(tmp_path)


def test_what_fits_behind_the_pixels_of_a_dicom_file_is_let_be(tmp_path):
    """An element that lacks its type, and zeros."""
    for z in range(3):
        tail = struct.pack("<HHI", 0x7FF1, 0x1010, 4) + b"abcd" + bytes(16)
        (tmp_path / str(z)).write_bytes(strangers.dicom(z) + tail)
    assert (read_ct(tmp_path).hu == strangers.HU).all()


def jpeg_2000(columns: int, rows: int, values: int = 1) -> bytes:
    """The beginning of a codestream."""
    size = struct.pack(">HHIIII", 38 + 3 * values, 0, columns, rows, 0, 0) + struct.pack(">IIIIH", 64, 64, 0, 0, values)
    return b"\xff\x4f\xff\x51" + size + b"\x0f\1\1" * values


def jpeg(columns: int, rows: int, values: int = 1, marker: int = 0xC3) -> bytes:
    """The beginning of a stream, with a comment that holds what looks like a size before it."""
    comment = b"\xff\xc3" + struct.pack(">HBHHB", 11, 16, 5, 4, 1)
    frame = struct.pack(">HBHHB", 8 + 3 * values, 16, rows, columns, values)
    return b"\xff\xd8\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + bytes([0xFF, marker]) + frame


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLosslessSV1])
@pytest.mark.parametrize("size", [(60_000, 60_000, 1), (4, 5, 16_000), None])
def test_a_compressed_slice_that_decodes_to_another_size_is_refused_unread(tmp_path, frugal, syntax, size):
    make = jpeg_2000 if syntax == JPEG2000Lossless else jpeg
    stream = b"no stream at all" if size is None else make(*size[:2], min(size[2], 255))
    for z in range(3):
        content = strangers.dicom(z, syntax, PixelData=encapsulate([stream]))
        (tmp_path / f"{z}").write_bytes(content)
    with pytest.raises(InputError, match=r"holds a compressed image of .*, its header says 4 x 5 x 1"):
        read_ct(tmp_path)


def test_the_size_of_a_stream_is_told():
    assert coded_size(jpeg_2000(512, 300)) == coded_size(jpeg(512, 300)) == (512, 300, 1)
    assert coded_size(jpeg(512, 300, 3, 0xF7)) == (512, 300, 3)
    assert coded_size(b"jP2 box" + jpeg_2000(7, 9)) == (7, 9, 1)
    for stream in (b"", b"\xff\xd8", b"\xff\xd8\xff\xd9", jpeg(4, 5)[:-12]):
        assert coded_size(stream) is None


@pytest.mark.parametrize(
    "named", ["/etc/hostname", "../secret.raw", "a/../../secret.raw", "C:\\secret.raw", "..\\secret.raw"]
)
@pytest.mark.parametrize("suffix", [".nhdr", ".mhd"])
def test_a_header_cannot_show_a_file_from_elsewhere(tmp_path, suffix, named):
    """Or masks and pictures of a stranger's scan would hold what another file of this machine says."""
    (tmp_path / "secret.raw").write_bytes(strangers.HU.tobytes("F"))
    header = tmp_path / "given" / f"ct{suffix}"
    header.parent.mkdir()
    if suffix == ".nhdr":
        header.write_text(strangers.NRRD.replace("gzip\n", f"raw\ndata file: {named}\n"))
    else:
        raw = strangers.METAIMAGE.replace("CompressedData = True\n", "")
        header.write_text(raw.replace("LOCAL", named))
    with pytest.raises(InputError, match="has its data outside of its own folder"):
        read_ct(header)
    (header.parent / "below").mkdir()
    shutil.move(tmp_path / "secret.raw", header.parent / "below/secret.raw")
    header.write_text(header.read_text().replace(named, "below/secret.raw"))
    assert (read_ct(header).hu == strangers.HU).all()
