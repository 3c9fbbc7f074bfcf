"""CTs as users have them, in NIfTI files and zips, and what is refused in one line."""

import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.inputs.ct_input import read_ct

AFFINE = np.array([[-2.0, 0, 0, 30], [0, 1.5, 0, -20], [0, 0, 3, 100], [0, 0, 0, 1]])


@pytest.fixture
def ct() -> np.ndarray:
    image = np.random.default_rng(0).integers(-1000, 400, (8, 7, 6)).astype(np.int16)
    image[0, 0, :2] = -1000, 399
    return image


def save_nifti(path: Path, image: np.ndarray, code: int = 1, affine: np.ndarray = AFFINE) -> Path:
    file = nibabel.Nifti1Image(image, None)
    file.set_sform(affine, code)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(file, path)
    return path


def save_zip(path: Path, files: list[Path], root: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(root))
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32, np.float64])
def test_nifti_comes_in_its_own_array_order(tmp_path, ct, suffix, kind):
    read = read_ct(save_nifti(tmp_path / f"ct{suffix}", ct.astype(kind)))
    assert read.hu.dtype == np.float32
    assert np.array_equal(read.hu, ct)
    assert np.allclose(read.grid.affine, AFFINE)
    assert np.allclose(read.grid.spacing_mm, [2, 1.5, 3])
    assert (read.format, read.notes, read.headers) == ("NIfTI", (), ())


def test_unsigned_nifti_with_a_header_that_scales_it(tmp_path, ct):
    file = nibabel.Nifti1Image((ct.astype(float) + 1024).astype(np.uint16), AFFINE)
    content = bytearray(file.to_bytes())
    content[112:120] = np.array([1, -1024], "<f4").tobytes()  # scl_slope, scl_inter
    (tmp_path / "ct.nii").write_bytes(content)
    assert np.array_equal(read_ct(tmp_path / "ct.nii").hu, ct)


def test_a_fourth_axis_of_one_frame_is_dropped_and_told(tmp_path, ct):
    read = read_ct(save_nifti(tmp_path / "ct.nii", ct[..., None]))
    assert np.array_equal(read.hu, ct)
    assert "4 in all" in read.notes[0]


def test_a_ct_without_air_is_told(tmp_path, ct):
    assert "no value is below -300 HU" in read_ct(save_nifti(tmp_path / "ct.nii", ct.clip(-200))).notes[0]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda ct: np.where(ct < -900, np.nan, ct.astype(np.float32)), "not finite; set them to -1000"),
        (lambda ct: np.full_like(ct, -1000), "everywhere"),
        (lambda ct: ct[..., 0], "2 dimensions"),
        (lambda ct: ct[..., :1], "single slice"),
        (lambda ct: np.stack([ct, ct], -1), "4 dimensions"),
        (lambda ct: ct + 1000, "not Hounsfield units .* look like stored values, without their RescaleIntercept"),
        (lambda ct: (ct.clip(0, 255)).astype(np.uint8), "not Hounsfield units .* look like 8-bit display values"),
        (lambda ct: (ct.clip(-128, 127)).astype(np.int8), "not Hounsfield units .* of 8 bits"),
        (lambda ct: ct.clip(0, 1).astype(np.float32), "not Hounsfield units .* look like normalised"),
        (lambda ct: ct.astype(np.float32) / 1000, "not Hounsfield units .* look normalised"),
        (lambda ct: ct.astype(np.float32) * 1e4, "not Hounsfield units"),
        (lambda ct: ct.astype(np.complex64), "colours or complex"),
        (lambda ct: np.zeros(ct.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")]), "colours or complex"),
    ],
)
def test_what_is_no_ct_is_refused(tmp_path, ct, change, problem, refused):
    refused(save_nifti(tmp_path / "ct.nii.gz", change(ct)), problem)


def test_a_ct_of_unknown_orientation_is_refused(tmp_path, ct, refused):
    refused(save_nifti(tmp_path / "ct.nii", ct, code=0), "how it lies in the patient")


def test_files_that_are_none(tmp_path, ct, refused):
    path = save_nifti(tmp_path / "ct.nii.gz", ct)
    path.write_bytes(path.read_bytes()[:200])
    refused(path, "no whole NIfTI")
    (tmp_path / "ct.png").write_bytes(b"\x89PNG")
    refused(tmp_path / "ct.png", r"is no CT file; give a \.nii")
    refused(tmp_path / "absent.nii", "does not exist")
    (tmp_path / "ct.zip").write_bytes(b"PK\3\4 and no more")
    refused(tmp_path / "ct.zip", "cannot be unpacked")


def test_series_is_for_dicom(tmp_path, ct):
    with pytest.raises(InputError, match=r"--series: is for DICOM, and .*ct\.nii is none"):
        read_ct(save_nifti(tmp_path / "ct.nii", ct), series="1")


def test_a_zip_or_folder_of_one_nifti(tmp_path, ct):
    file = save_nifti(tmp_path / "case" / "deep" / "scan.nii.gz", ct)
    path = save_zip(tmp_path / "case.zip", [file], tmp_path)
    for given in (path, tmp_path / "case"):
        read = read_ct(given)
        assert np.array_equal(read.hu, ct)
        assert (read.path, read.format) == (given, "NIfTI")
    save_zip(tmp_path / "outer.zip", [path], tmp_path)
    assert np.array_equal(read_ct(tmp_path / "outer.zip").hu, ct)


def test_of_several_nifti_files_the_one_named_ct_is_taken(tmp_path, ct, refused):
    other = save_nifti(tmp_path / "s1" / "segmentations" / "liver.nii.gz", (ct > 0).astype(np.uint8))
    file = save_nifti(tmp_path / "s1" / "scan.nii.gz", ct)
    path = save_zip(tmp_path / "s1.zip", [other, file], tmp_path)
    for given in (path, tmp_path / "s1"):
        refused(given, r"holds 2 image files: .*scan\.nii\.gz, .*liver\.nii\.gz; give one of them")
    file.rename(tmp_path / "s1" / "ct.nii.gz")
    assert np.array_equal(read_ct(tmp_path / "s1").hu, ct)


def test_empty_folders_and_zips(tmp_path, refused):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no CT series in DICOM format and no other CT file")
    refused(save_zip(tmp_path / "empty.zip", [], tmp_path), "no other CT file")


def test_zips_that_are_not_to_be_trusted(tmp_path, ct, refused):
    slip = tmp_path / "slip.zip"
    with zipfile.ZipFile(slip, "w") as archive:
        archive.writestr("../../escaped.nii", b"x")
    refused(slip, r"reaches out of its tree \(\.\./\.\./escaped")
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.nii", bytes(2 * 10**8))
    refused(bomb, "would expand to more than 400 times its size")
    locked = save_zip(tmp_path / "locked.zip", [save_nifti(tmp_path / "ct.nii", ct)], tmp_path)
    content = bytearray(locked.read_bytes())
    content[6] |= 1
    content[content.rindex(b"PK\1\2") + 8] |= 1
    locked.write_bytes(content)
    refused(locked, "is locked with a password")
    cut = save_zip(tmp_path / "cut.zip", [tmp_path / "ct.nii"], tmp_path)
    cut.write_bytes(cut.read_bytes()[:-300])
    refused(cut, "cannot be unpacked")
