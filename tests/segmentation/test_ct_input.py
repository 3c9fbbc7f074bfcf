"""CTs as users have them, and what is refused in one line."""

import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.ct_input import read_ct

AFFINE = np.array([[-2.0, 0, 0, 30], [0, 1.5, 0, -20], [0, 0, 3, 100], [0, 0, 0, 1]])
DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def ct() -> np.ndarray:
    image = np.random.default_rng(0).integers(-1000, 400, (8, 7, 6)).astype(np.int16)
    image[0, 0, 0] = -1000
    return image


def save_nifti(path: Path, image: np.ndarray, code: int = 1, affine: np.ndarray = AFFINE) -> Path:
    file = nibabel.Nifti1Image(image, None)
    file.set_sform(affine, code)
    nibabel.save(file, path)
    return path


def save_series(folder: Path, ct: np.ndarray, series: str, name: str = "venous", modality: str = "CT") -> Path:
    """One file per axial slice; array axes are DICOM's columns and rows, so x runs left and y back."""
    folder.mkdir(parents=True, exist_ok=True)
    for z in range(ct.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series, str(z)])
        slice_ = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        slice_.Modality, slice_.SeriesInstanceUID, slice_.SeriesDescription = modality, series, name
        slice_.Columns, slice_.Rows, slice_.SamplesPerPixel = *ct.shape[:2], 1
        slice_.PhotometricInterpretation, slice_.PixelRepresentation = "MONOCHROME2", 1
        slice_.BitsAllocated = slice_.BitsStored = 16
        slice_.HighBit, slice_.RescaleSlope, slice_.RescaleIntercept = 15, 1, -24
        slice_.PixelSpacing, slice_.SliceThickness = [1.5, 2.0], 3.0
        slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        slice_.ImagePositionPatient = [-30.0, -20.0, 100.0 + 3 * z]
        slice_.PixelData = (ct[:, :, z].T + 24).astype("<i2").tobytes()
        slice_.save_as(folder / f"{series}_{ct.shape[2] - z}", enforce_file_format=True)
    return folder


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_comes_in_its_own_array_order(tmp_path, ct, suffix):
    image, grid = read_ct(save_nifti(tmp_path / f"ct{suffix}", ct))
    assert image.dtype == np.float32
    assert np.array_equal(image, ct)
    assert np.allclose(grid.affine, AFFINE)
    assert np.allclose(grid.spacing_mm, [2, 1.5, 3])


def test_a_dicom_folder_and_its_zip_are_one_ct(tmp_path, ct):
    folder = save_series(tmp_path / "export" / "deep", ct, "1.2.3")
    save_series(tmp_path / "export" / "scout", ct[:, :, :1], "1.2.4")
    (tmp_path / "export" / "readme.txt").write_text("not a slice")
    image, grid = read_ct(tmp_path / "export")
    assert np.array_equal(image, ct)
    assert np.allclose(grid.affine, [[-2, 0, 0, 30], [0, -1.5, 0, 20], [0, 0, 3, 100], [0, 0, 0, 1]])
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"deep/{path.name}")
    zipped, zipped_grid = read_ct(tmp_path / "export.zip")
    assert np.array_equal(zipped, image)
    assert np.array_equal(zipped_grid.affine, grid.affine)


def test_several_series_are_named(tmp_path, ct):
    save_series(tmp_path / "both", ct, "1.2.3", "arterial 3 mm")
    save_series(tmp_path / "both", ct[:, :, :4], "1.2.4", "venous 3 mm")
    with pytest.raises(InputError, match=r"arterial 3 mm \(6 slices.*venous 3 mm \(4 slices"):
        read_ct(tmp_path / "both")


def test_other_modalities_and_empty_folders(tmp_path, ct):
    with pytest.raises(InputError, match="holds no CT series"):
        read_ct(save_series(tmp_path / "mr", ct, "1.2.3", modality="MR"))


def test_a_missing_slice_in_a_zip_is_told_with_the_zips_name(tmp_path, ct):
    folder = save_series(tmp_path / "ct", ct, "1.2.3")
    (folder / "1.2.3_3").unlink()
    with zipfile.ZipFile(tmp_path / "ct.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    with pytest.raises(InputError, match="a gap of 6 mm") as caught:
        read_ct(tmp_path / "ct.zip")
    assert caught.value.where.startswith(str(tmp_path / "ct.zip"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda ct: np.where(ct < -900, np.nan, ct.astype(np.float32)), "not finite"),
        (lambda ct: np.full_like(ct, -1000), "everywhere"),
        (lambda ct: ct[..., 0], "2 dimensions"),
        (lambda ct: ct[..., :1], "single slice"),
        (lambda ct: np.stack([ct, ct], -1), "4 dimensions"),
        (lambda ct: ct + 1000, "not Hounsfield units"),
        (lambda ct: ct.astype(np.float32) / 1000, "not Hounsfield units"),
        (lambda ct: ct.astype(np.float32) * 1e4, "not Hounsfield units"),
    ],
)
def test_what_is_no_ct_is_refused(tmp_path, ct, change, problem):
    path = save_nifti(tmp_path / "ct.nii.gz", change(ct))
    with pytest.raises(InputError, match=problem) as caught:
        read_ct(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_ct_of_unknown_orientation_is_refused(tmp_path, ct):
    with pytest.raises(InputError, match="how it lies in the patient"):
        read_ct(save_nifti(tmp_path / "ct.nii", ct, code=0))


def test_files_that_are_none(tmp_path, ct):
    path = save_nifti(tmp_path / "ct.nii.gz", ct)
    path.write_bytes(path.read_bytes()[:200])
    (tmp_path / "ct.mha").write_text("?")
    for name, problem in [("ct.nii.gz", "no whole NIfTI"), ("ct.mha", "is no .nii"), ("ct.nii", "does not exist")]:
        with pytest.raises(InputError, match=problem):
            read_ct(tmp_path / name)


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.exists(), reason=f"no real CTs at {DATA}")
@pytest.mark.parametrize(
    ("name", "shape"),
    [("totalsegmentator/s0009/ct.nii.gz", (119, 119, 185)), ("totalsegmentator/example_ct_dicom", None)],
)
def test_real_cts_are_read(name, shape):
    image, grid = read_ct(DATA / name)
    assert shape in (None, image.shape)
    assert image.min() < -900 < 300 < image.max()
    assert grid.shape == image.shape
