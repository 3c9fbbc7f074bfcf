"""Containers and NIfTI files: readable by independent tools, equal bytes, every voxel in its place."""

import itertools
import tarfile
import time
import zipfile

import nibabel as nib
import numpy as np
import pytest
import pyzipper
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from universal_diffusion.phantom.archives import containers
from universal_diffusion.phantom.archives.codes import paint
from universal_diffusion.phantom.archives.nifti import in_axes, nifti_gz, without_spacing
from universal_diffusion.targets import bits

MEMBERS = {"one/a.txt": b"alpha", "one/b.bin": bytes(range(256)) * 40, "c": b""}
ALL_AXES = [
    "".join(order) for choice in itertools.product("LR", "AP", "IS") for order in itertools.permutations(choice)
]
WRITERS = {
    "tar": containers.tar,
    "stored": lambda path: containers.zipped(path, compress=False),
    "deflated": lambda path: containers.zipped(path, compress=True),
    "encrypted": lambda path: containers.encrypted_zip(path, b"open", study_seed=1),
}


def written(kind, path):
    with WRITERS[kind](path) as add:
        for name, data in MEMBERS.items():
            add(name, data)
    return path.read_bytes()


@pytest.mark.parametrize("kind", WRITERS)
def test_a_container_is_the_same_bytes_later(kind, tmp_path):
    first = written(kind, tmp_path / "first")
    time.sleep(2.1 if kind == "encrypted" else 0)  # zip times have a grain of two seconds
    assert written(kind, tmp_path / "second") == first


def test_tar_and_zip_give_their_members_back(tmp_path):
    written("tar", tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert {m.name: archive.extractfile(m).read() for m in archive} == MEMBERS
    for kind in ("stored", "deflated"):
        written(kind, tmp_path / kind)
        with zipfile.ZipFile(tmp_path / kind) as archive:
            assert {name: archive.read(name) for name in archive.namelist()} == MEMBERS


def test_the_encrypted_zip_opens_with_its_password_only(tmp_path):
    written("encrypted", tmp_path / "e.zip")
    with pyzipper.AESZipFile(tmp_path / "e.zip") as archive:
        archive.setpassword(b"open")
        assert {name: archive.read(name) for name in archive.namelist()} == MEMBERS
        archive.setpassword(b"shut")
        with pytest.raises(RuntimeError, match="password"):
            archive.read("one/a.txt")
    salts = {
        (tmp_path / "e.zip").read_bytes()[i.header_offset + 30 + len(i.filename) + 11 :][:16]
        for i in zipfile.ZipFile(tmp_path / "e.zip").infolist()
    }
    assert len(salts) == len(MEMBERS)


def test_an_interrupted_container_leaves_nothing(tmp_path):
    with pytest.raises(TypeError), containers.zipped(tmp_path / "a.zip", compress=False) as add:
        add("one", 1)
    assert list(tmp_path.iterdir()) == []


@given(st.sampled_from(ALL_AXES), st.tuples(*[st.integers(2, 5)] * 3), st.tuples(*[st.floats(0.5, 9)] * 3))
def test_rearranged_voxels_keep_their_place_in_the_world(axes, shape, spacing):
    volume = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -50, 20, 7
    turned, turned_affine = in_axes(volume, affine, axes)
    assert nib.aff2axcodes(turned_affine) == tuple(axes)
    index = np.argwhere(np.ones(shape))
    place = {int(volume[tuple(i)]): affine @ [*i, 1] for i in index}
    for i in np.argwhere(np.ones(turned.shape)):
        np.testing.assert_allclose(turned_affine @ [*i, 1], place[int(turned[tuple(i)])], atol=1e-9)


@pytest.mark.parametrize("form", ["sform", "qform"])
@pytest.mark.parametrize("axes", ["RAS", "LPS", "IPL"])
def test_nibabel_and_simpleitk_agree_on_a_nifti(form, axes, tmp_path):
    volume, affine = in_axes(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([2.0, 3.0, 4.0, 1.0]), axes)
    affine[:3, 3] += (10, 20, 30)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(nifti_gz(volume, affine, form))
    image = nib.load(path)
    assert image.get_data_dtype() == np.int16
    np.testing.assert_allclose(image.affine, affine, atol=1e-5)
    read = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read).T, volume)
    lps = np.array(read.TransformIndexToPhysicalPoint((1, 2, 0)))
    np.testing.assert_allclose(lps * (-1, -1, 1), (affine @ [1, 2, 0, 1])[:3], atol=1e-5)


def test_lost_spacing_keeps_the_directions():
    affine = np.array([[0, 0, -0.7, 4], [0, -0.7, 0, 5], [-2.5, 0, 0, 6], [0, 0, 0, 1.0]])
    lost = without_spacing(affine)
    np.testing.assert_allclose(lost, [[0, 0, -1, 4], [0, -1, 0, 5], [-1, 0, 0, 6], [0, 0, 0, 1]])


def test_later_codes_overwrite_earlier_ones():
    labels = np.array([0, bits(["liver"]), bits(["liver", "liver tumor"]), bits(["spleen"])], np.uint32)
    assert paint(labels, ((1, ("liver",)), (2, ("liver tumor",)))).tolist() == [0, 1, 2, 0]
