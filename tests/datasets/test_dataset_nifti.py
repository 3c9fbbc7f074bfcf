"""NIfTI headers: two forms, promises, and memory."""

import gzip
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from universal_diffusion.datasets.nifti import read_image, read_label
from universal_diffusion.datasets.readers import reader
from universal_diffusion.errors import InputError

SFORM = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -70], [0, 0, 3, -400], [0, 0, 0, 1]])
SCAN = np.linspace(-1000, 400, 120, dtype=np.int16).reshape(6, 5, 4)


def with_forms(path: Path, sform: np.ndarray | None, qform: np.ndarray | None, array=SCAN) -> Path:
    image = nibabel.Nifti1Image(array, None)
    image.set_sform(sform, code=0 if sform is None else 2)
    image.set_qform(qform, code=0 if qform is None else 1)
    nibabel.save(image, path)
    return path


def turned(degrees: float) -> np.ndarray:
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    return turn @ SFORM


@pytest.mark.parametrize(
    "qform",
    [SFORM @ np.diag([-1, 1, 1, 1]), SFORM[[1, 0, 2, 3]], turned(20), SFORM @ np.diag([1, 1, 1.5, 1])],
    ids=["mirrored", "permuted", "turned", "stretched"],
)
def test_trap_sform_and_qform_disagree(tmp_path, qform):
    path = with_forms(tmp_path / "a.nii.gz", SFORM, qform)
    with pytest.raises(InputError, match=r"a\.nii\.gz: says two things of how it lies .*\(sform LAS, qform"):
        read_image(path)


@pytest.mark.parametrize(
    "qform",
    [SFORM + np.eye(4, k=3) * 250, turned(1), SFORM * (1 + 1e-5), None],
    ids=["other origin", "turned by rounding", "stretched by rounding", "none"],
)
def test_forms_that_agree_but_for_origin_and_rounding_give_the_sform(tmp_path, qform):
    _, affine = read_image(with_forms(tmp_path / "a.nii.gz", SFORM, qform))
    assert np.allclose(affine, SFORM)


def test_a_sheared_sform_beside_the_qform_that_cannot_say_it(tmp_path):
    sheared = SFORM @ np.array([[1, 0.05, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(SCAN, sheared)
    image.set_qform(sheared, code=1, strip_shears=True)
    nibabel.save(image, tmp_path / "a.nii.gz")
    assert np.allclose(read_image(tmp_path / "a.nii.gz")[1], sheared)


def test_trap_amos_headers_have_a_qform_only(tmp_path):
    _, affine = read_label(with_forms(tmp_path / "a.nii.gz", None, SFORM, np.zeros(SCAN.shape, np.uint16)))
    assert np.allclose(affine, SFORM)


def test_a_pair_read_by_one_form_each_is_refused_if_they_lie_apart(tmp_path):
    for folder, sform, qform, array in (("imagesTr", SFORM, None, SCAN), ("labelsTr", None, turned(20), SCAN * 0)):
        (tmp_path / folder).mkdir()
        with_forms(tmp_path / folder / "a.nii.gz", sform, qform, array)
    with pytest.raises(InputError, match="mm away from its image"):
        reader("msd09", tmp_path).read("a")


def promising(path: Path, shape: tuple[int, int, int], kind=nibabel.Nifti1Header) -> Path:
    """A file whose header promises that many int16 voxels and which holds none."""
    header = kind()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_sform(SFORM, code=1)
    header["vox_offset"] = 544 if kind is nibabel.Nifti2Header else 352
    data = header.binaryblock + b"\0" * 204
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((100_000,) * 3, nibabel.Nifti2Header),
        ((32767,) * 3, nibabel.Nifti1Header),
        ((2000, 2000, 900), nibabel.Nifti1Header),
    ],
)
def test_a_promise_of_too_many_voxels_is_refused_before_memory_is_taken(tmp_path, suffix, shape, kind):
    path = promising(tmp_path / f"bomb{suffix}", shape, kind)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"bomb.* promises \d+ x \d+ x \d+ voxels, which its \d+ bytes"):
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


def test_garbage_after_the_compressed_voxels(tmp_path):
    path = with_forms(tmp_path / "a.nii.gz", SFORM, None)
    path.write_bytes(path.read_bytes() + b"garbage")
    with pytest.raises(InputError, match=r"a\.nii\.gz: is no whole NIfTI file"):
        read_image(path)


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-1], lambda data: data[:-8] + bytes([data[-8] ^ 1]) + data[-7:]],
    ids=["cut", "changed"],
)
def test_a_checksum_that_does_not_hold_after_whole_voxels(tmp_path, damage):
    path = with_forms(tmp_path / "a.nii.gz", SFORM, None)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"a\.nii\.gz: is no whole NIfTI file"):
        read_image(path)


def test_a_scaled_scan_is_never_held_in_64_bits(tmp_path):
    stored = np.zeros((256, 256, 200), np.int16)
    stored[100:, :, 7] = 400
    image = nibabel.Nifti1Image(stored, SFORM)
    image.header.set_slope_inter(2.5, -1000)
    nibabel.save(image, tmp_path / "a.nii.gz")
    tracemalloc.start()
    try:
        read, _ = read_image(tmp_path / "a.nii.gz")
        assert tracemalloc.get_traced_memory()[1] < 1.1 * read.nbytes + 10 * 2**22
    finally:
        tracemalloc.stop()
    assert np.array_equal(read, (stored * 2.5 - 1000).astype(np.float32))
