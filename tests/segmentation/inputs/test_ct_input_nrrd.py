"""NRRD and MetaImage: the same world as NIfTI's, refusals in one line, and damaged files of every kind."""

import os
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import event, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.inputs.ct_input import read_ct

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "170"))
SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
HU = np.random.default_rng(0).integers(-1000, 400, (6, 7, 8)).astype(np.int16)
HU[0, 0, :2] = -1000, 399


def save(path: Path, hu: np.ndarray = HU, compressed: bool = False) -> Path:
    """(slices, rows, columns) on a plain grid."""
    image = SimpleITK.GetImageFromArray(hu)
    if hu.ndim == 3:
        image.SetSpacing((1.5, 2.0, 3.0))
        image.SetOrigin((-30.0, -20.0, 100.0))
    SimpleITK.WriteImage(image, str(path), compressed)
    return path


@pytest.fixture
def refused(refused, capfd):
    """The same, and not a word on stderr: ITK writes some there."""

    def check(path: Path, problem: str) -> None:
        capfd.readouterr()
        refused(path, problem)
        assert capfd.readouterr().err == ""

    return check


@settings(max_examples=20)
@given(
    turn=arrays(float, 3, elements=st.floats(-3, 3)),
    flips=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    spacing=st.tuples(*[st.floats(0.3, 8)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    suffix=st.sampled_from(SUFFIXES),
    compressed=st.booleans(),
    kind=st.sampled_from([np.int16, np.int32, np.float32, np.float64]),
)
def test_voxels_lie_where_those_of_the_same_nifti_do(
    tmp_path_factory, turn, flips, spacing, origin, suffix, compressed, kind
):
    folder = tmp_path_factory.mktemp("itk")
    image = SimpleITK.GetImageFromArray(HU.astype(kind))
    image.SetDirection((Rotation.from_rotvec(turn).as_matrix() * flips).ravel().tolist())
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    SimpleITK.WriteImage(image, str(folder / f"ct{suffix}"), compressed)
    read = read_ct(folder / f"ct{suffix}")
    lps = np.array([image.TransformIndexToPhysicalPoint(place) for place in [(0, 0, 0), (7, 6, 5), (3, 0, 5)]])
    ours = np.array([read.grid.affine @ [*place, 1] for place in [(0, 0, 0), (7, 6, 5), (3, 0, 5)]])[:, :3]
    assert np.allclose(ours, lps * [-1, -1, 1], atol=1e-3)
    SimpleITK.WriteImage(image, str(folder / "ct.nii"))  # ITK's NIfTI, read by nibabel
    nifti = nibabel.load(folder / "ct.nii")
    assert np.allclose(read.grid.affine, nifti.affine, atol=1e-3)
    assert np.array_equal(read.hu, nifti.get_fdata(dtype=np.float32))
    assert read.hu.dtype == np.float32
    assert read.format == ("NRRD" if suffix in SUFFIXES[:2] else "MetaImage")


def test_a_nrrd_in_ras_lies_as_it_says(tmp_path):
    path = save(tmp_path / "ct.nrrd")
    path.write_bytes(path.read_bytes().replace(b"left-posterior-superior", b"right-anterior-superior"))
    affine = read_ct(path).grid.affine
    assert np.allclose(affine, [[1.5, 0, 0, -30], [0, 2, 0, -20], [0, 0, 3, 100], [0, 0, 0, 1]])


def test_a_fourth_axis_of_one_frame_is_dropped_and_told(tmp_path):
    for suffix in (".nrrd", ".mha"):
        image = SimpleITK.JoinSeries(SimpleITK.GetImageFromArray(HU))
        path = tmp_path / f"ct{suffix}"
        SimpleITK.WriteImage(image, str(path))
        if suffix == ".nrrd":  # ITK leaves the space out of four axes
            said = path.read_bytes().replace(b"dimension: 4\n", b"dimension: 4\nspace: LPS\nspace origin: (0,0,0)\n")
            said = re.sub(rb"(space dimension: 4|spacings|space directions|space origin: \(0,0,0,0\)).*\n", b"", said)
            path.write_bytes(said.replace(b"kinds:", b"space directions: (1,0,0) (0,1,0) (0,0,1) none\nkinds:"))
        read = read_ct(path)
        assert np.array_equal(read.hu, HU.T)
        assert "of length 1" in read.notes[0]


def test_headers_that_do_not_fit(tmp_path, refused):
    for suffix, line in [(".mha", b"DimSize = 8 7 6"), (".nrrd", b"sizes: 8 7 6")]:
        path = save(tmp_path / f"ct{suffix}")
        whole = path.read_bytes()
        for slices in (b"60", b"5") if suffix == ".mha" else (b"60", b"9999999"):
            path.write_bytes(whole.replace(line, line[:-1] + slices))
            refused(path, "that its header says|cannot hold")
        path.write_bytes(whole[:-100])
        refused(path, "holds 572 bytes, its header says 672|cannot hold")
        path.write_bytes(whole[:60])
        refused(path, "is no MetaImage|makes no sense")
        path.write_bytes(b"?")
        refused(path, "is no")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_compressed_files_cut_short_or_damaged(tmp_path, suffix, refused):
    path = save(tmp_path / f"ct{suffix}", compressed=True)
    whole = path.read_bytes()
    for content in (whole[:-100], whole[:-300] + bytes(300)):
        path.write_bytes(content)
        refused(path, "has damaged data")


def test_detached_data_that_is_gone(tmp_path, refused):
    for suffix, problem in [(".mhd", r"lacks its data file ct\.raw"), (".nhdr", r"lacks its data file ct\.raw")]:
        path = save(tmp_path / f"ct{suffix}")
        (tmp_path / "ct.raw").unlink()
        refused(path, problem)


def test_files_that_do_not_say_how_they_lie(tmp_path, refused):
    path = save(tmp_path / "ct.nrrd")
    path.write_bytes(path.read_bytes().replace(b"space: left-posterior-superior", b"space dimension: 3"))
    refused(path, "how it lies in the patient")
    path = save(tmp_path / "ct.mha")
    path.write_bytes(path.read_bytes().replace(b"TransformMatrix = 1 0 0 0 1 0 0 0 1\n", b""))
    refused(path, "how it lies in the patient")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize(
    ("hu", "problem"),
    [
        (HU[0], "2 dimensions"),
        (HU[:1], "single slice"),
        (np.zeros((6, 7, 8, 3), np.uint8), "colours or vectors|4 dimensions .*3 of them in space"),
        (HU + 1024, "not Hounsfield units"),
        ((HU.clip(-100, 155) + 100).astype(np.uint8), "not Hounsfield units"),
        (HU.astype(np.float32) / 1000, "not Hounsfield units"),
        (np.where(HU < 0, np.nan, HU).astype(np.float32), "not finite"),
    ],
)
def test_what_is_no_ct_is_refused(tmp_path, suffix, hu, problem, refused):
    image = SimpleITK.GetImageFromArray(hu, isVector=hu.ndim == 4)
    SimpleITK.WriteImage(image, str(tmp_path / f"ct{suffix}"))
    refused(tmp_path / f"ct{suffix}", problem)


def test_several_frames_are_refused(tmp_path, refused):
    frames = [SimpleITK.GetImageFromArray(HU)] * 2
    for suffix in (".nrrd", ".mha"):
        SimpleITK.WriteImage(SimpleITK.JoinSeries(frames), str(tmp_path / f"ct{suffix}"))
        refused(tmp_path / f"ct{suffix}", "has 4 dimensions .*instead of 3|how it lies")


VALUES = [
    b"",
    b"0",
    b"-1",
    b"1 1",
    b"8 7 6",
    b"99999999999",
    b"1e30 1 1",
    b"nan",
    b"x",
    b"(1,0,0) none (0,0,1)",
    b"raw",
]
VALUES += [
    b"gzip",
    b"True",
    b"MET_UCHAR",
    b"MET_FLOAT",
    b"double",
    b"ct.raw",
    b"LIST",
    b"%d.raw 1 2 1",
    b"../..",
    b"LOCAL",
]
FILES = {(suffix, packed): suffix for suffix in SUFFIXES for packed in (False, True)}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict:
    """The content of a whole file of each kind, compressed or not; and the folder where the detached data lie."""
    folder = tmp_path_factory.mktemp("whole")
    content = {kind: save(folder / f"ct{kind[0]}", compressed=kind[1]).read_bytes() for kind in FILES}
    save(folder / "ct.mhd")
    return content | {"folder": folder}


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """One to three damages: a header field of another value, gone or doubled; bytes cut, changed or appended."""
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["field", "field", "field", "gone", "twice", "cut", "flip", "tail"]))
        end = max(content.find(b"\n\n"), content.find(b"ElementDataFile"), 0) or min(len(content), 300)
        lines = content[:end].split(b"\n")
        row = draw(st.integers(0, len(lines) - 1))
        if kind == "field":
            name, mark, _ = lines[row].partition(b"=" if b"=" in lines[row] else b":")
            lines[row] = name + mark + b" " + draw(st.sampled_from(VALUES))
        if kind in ("gone", "twice"):
            lines[row : row + 1] = [] if kind == "gone" else [lines[row]] * 2
        content = b"\n".join(lines) + content[end:]
        if kind == "cut":
            content = content[: draw(st.integers(0, len(content)))]
        if kind == "flip" and content:
            changed = bytearray(content)
            for place in draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
                changed[place] ^= draw(st.integers(1, 255))
            content = bytes(changed)
        content += draw(st.binary(min_size=1, max_size=40)) if kind == "tail" else b""
    return content


@settings(max_examples=2 * EXAMPLES)
@given(data=st.data())
def test_damaged_files_give_a_sound_ct_or_one_line(written, data):
    kind = data.draw(st.sampled_from(sorted(FILES)))
    path = written["folder"] / f"fuzzed{kind[0]}"
    path.write_bytes(data.draw(damaged(written[kind])))
    try:
        read = read_ct(path)
    except InputError as error:
        told = error
    else:
        told = None
    event("read" if told is None else "refused")
    if told is not None:
        assert len(str(told).splitlines()) == 1
        assert str(path) in told.where
        return
    assert read.hu.ndim == 3
    assert read.hu.dtype == np.float32
    assert np.isfinite(read.hu).all()
    assert read.hu.min() < 0 < np.ptp(read.hu)
    assert read.grid.shape == read.hu.shape
    assert np.isfinite(read.grid.affine).all()
    assert abs(np.linalg.det(read.grid.affine)) > 1e-6
