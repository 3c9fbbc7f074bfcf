"""Which CTs a folder holds that is given to be segmented."""

from pathlib import Path

import numpy as np
import pytest

from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.inputs.ct_input import find_cts


def touched(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in find_cts(folder)]


def test_nnunets_folder_of_images_in_natural_order(tmp_path):
    touched(tmp_path, "liver_10_0000.nii.gz", "liver_2_0000.nii.gz", "dataset.json", "._liver_2_0000.nii.gz", "a.png")
    assert found(tmp_path) == ["liver_2_0000.nii.gz", "liver_10_0000.nii.gz"]


def test_every_format(tmp_path):
    touched(tmp_path, "a.nii", "b.nrrd", "c.nhdr", "c.raw", "d.mha", "e.mhd", "e.raw", "f.zip", "g.txt", "h.MHA")
    assert found(tmp_path) == ["a.nii", "b.nrrd", "c.nhdr", "d.mha", "e.mhd", "f.zip", "h.MHA"]


def test_totalsegmentators_folders_of_cases(tmp_path):
    for case in ("s0010", "s0009"):
        touched(
            tmp_path, f"{case}/ct.nii.gz", f"{case}/segmentations/liver.nii.gz", f"{case}/segmentations/spleen.nii.gz"
        )
    touched(tmp_path, "only/scan.nii.gz", "unclear/a.nii.gz", "unclear/b.nii.gz", ".hidden/ct.nii.gz")
    assert found(tmp_path) == ["only/scan.nii.gz", "s0009/ct.nii.gz", "s0010/ct.nii.gz"]


def test_a_folder_of_dicom_slices_is_one_ct_and_one_of_dicom_folders_is_many(tmp_path, write_series):
    hu = np.zeros((2, 3, 3))
    write_series(tmp_path / "patient 1" / "study" / "series", hu)
    write_series(tmp_path / "patient 2", hu)
    touched(tmp_path, "ct.nii.gz")
    assert found(tmp_path) == ["ct.nii.gz", "patient 1", "patient 2"]
    assert find_cts(tmp_path / "patient 2") == [tmp_path / "patient 2"]
    touched(tmp_path, "patient 1/DICOMDIR")
    assert find_cts(tmp_path / "patient 1") == [tmp_path / "patient 1"]


def test_folders_without_a_ct(tmp_path):
    touched(tmp_path, "notes.txt", "sub/a.png")
    with pytest.raises(InputError, match=r"holds no CT: neither \.nii.* nor DICOM folders; give the folder") as caught:
        find_cts(tmp_path)
    assert caught.value.where == str(tmp_path)
    for path in (tmp_path / "absent", tmp_path / "notes.txt"):
        with pytest.raises(InputError, match="is no folder"):
            find_cts(path)
