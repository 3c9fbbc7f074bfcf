"""The readers on real scans, against volumes and sides that were measured elsewhere."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest

from universal_diffusion.datasets.base import Case
from universal_diffusion.datasets.catalogue import MERGED, entry
from universal_diffusion.datasets.labels import bits_of, encode
from universal_diffusion.datasets.nifti import read_label
from universal_diffusion.datasets.readers import reader
from universal_diffusion.datasets.sides import midline, resolve, split
from universal_diffusion.targets import bits, mask
from universal_diffusion.volumes import Grid

pytestmark = pytest.mark.real_data


def ml(case: Case, name: str) -> float:
    return float(mask(case.labels, name).sum()) * Grid(case.image.shape, case.affine).voxel_ml


def centre_mm(labels: np.ndarray, affine: np.ndarray, name: str) -> np.ndarray:
    """RAS centre of a target."""
    places = [np.flatnonzero(mask(labels, name).any(axis=others)).mean() for others in ((1, 2), (0, 2), (0, 1))]
    return (affine @ [*places, 1])[:3]


@pytest.fixture(scope="module")
def patient_1(real_data, tmp_path_factory) -> Case:
    """3D-IRCADb patient 1; of its masks only the targets' are unpacked."""
    folder = tmp_path_factory.mktemp("ircadb")
    for part in ("PATIENT_DICOM", "MASKS_DICOM"):
        with zipfile.ZipFile(real_data / "3dircadb/3Dircadb1.1" / f"{part}.zip") as archive:
            wanted = [
                name
                for name in archive.namelist()
                if part == "PATIENT_DICOM" or entry("ircadb").structure_targets(name.split("/")[1])
            ]
            archive.extractall(folder / "3Dircadb1.1", wanted)
    return reader("ircadb", folder).read("3Dircadb1.1")


def test_ircadb_patient_1(patient_1):
    measured = {name: round(ml(patient_1, name)) for name in patient_1.annotated}
    expected = {"spleen": 116, "right kidney": 112, "left kidney": 146, "liver": 1489}
    assert {name: measured[name] for name in expected} == expected
    assert set(measured) == {*expected, "liver tumor"}
    assert not (mask(patient_1.labels, "liver tumor") & ~mask(patient_1.labels, "liver")).any()


def test_ircadb_patient_1_lies_the_right_way_round(patient_1):
    middle = midline(patient_1.image, patient_1.affine, "patient 1")
    x_mm = {name: centre_mm(patient_1.labels, patient_1.affine, name)[0] - middle for name in patient_1.annotated}
    assert x_mm["left kidney"] < -30 < 30 < x_mm["right kidney"]
    assert x_mm["spleen"] < -20 < 20 < x_mm["liver"]


def test_merged_kidneys_of_patient_1_are_told_apart_as_its_owner_did(patient_1):
    native = mask(patient_1.labels, "right kidney") | mask(patient_1.labels, "left kidney")
    labels = patient_1.labels & ~bits(["right kidney", "left kidney"])
    labels[native] |= bits_of(["kidneys"])
    assert np.array_equal(
        resolve(labels, patient_1.image, patient_1.affine, "patient 1"), patient_1.labels & ~bits_of(MERGED)
    )


@pytest.mark.parametrize("side", ["right kidney", "left kidney"])
def test_patient_1_after_removal_of_one_kidney(patient_1, side):
    labels = np.where(mask(patient_1.labels, side), bits_of(["kidneys"]), np.uint32(0))
    one_left = replace(patient_1, labels=resolve(labels, patient_1.image, patient_1.affine, "patient 1"))
    assert ml(one_left, side) == ml(patient_1, side)
    assert (one_left.labels != 0).sum() == mask(one_left.labels, side).sum()


def test_chaos_set_3(real_data, tmp_path):
    with zipfile.ZipFile(real_data / "chaos/CHAOS_Train_Sets_CT_3.zip") as archive:
        archive.extractall(tmp_path)
    case = reader("chaos", tmp_path).read("CT_3")
    assert ml(case, "liver") == pytest.approx(1417, abs=1)
    x_mm, _, z_mm = centre_mm(case.labels, case.affine, "liver")
    assert x_mm > 30 + midline(case.image, case.affine, "set 3")
    inside = case.image[mask(case.labels, "liver")]
    assert np.percentile(inside, 2) > 0  # masks in the wrong order of slices would take in lung and fat
    assert case.affine[2, 3] < z_mm < case.affine[2, 3] + 2.0 * case.image.shape[2]


def test_msd_spleen_8(real_data):
    native = reader("msd09", real_data / "msd" / "Task09_Spleen")
    assert native.cases() == ("spleen_8",)
    case = native.read("spleen_8")
    assert case.image.shape == (512, 512, 32)
    assert case.annotated == ("spleen",)
    assert ml(case, "spleen") == pytest.approx(755.7, abs=1)
    # The header of this copy is mirrored: it puts the spleen on the patient's right. The reader believes headers.
    assert centre_mm(case.labels, case.affine, "spleen")[0] > midline(case.image, case.affine, "spleen_8")


def test_totalsegmentator_s0009(real_data):
    case = reader("totalsegmentator", real_data / "totalsegmentator").read("s0009")
    assert len(case.annotated) == 19
    assert ml(case, "liver") == pytest.approx(322, abs=1)  # cut by the field of view
    middle = midline(case.image, case.affine, "s0009")
    sides = {side: centre_mm(case.labels, case.affine, f"{side} kidney")[0] - middle for side in ("left", "right")}
    assert sides["left"] < -30 < 30 < sides["right"]


def test_kits_masks(real_data):
    path = real_data / "labels_only/kits23/case_00002/segmentation.nii.gz"
    codes, affine = read_label(path)
    centre_x_mm = (affine @ [*(np.array(codes.shape) - 1) / 2, 1])[0]  # no scan here: the middle of the image
    labels = split(encode(codes, entry("kits23").labels, path), affine, centre_x_mm)
    grid = Grid(codes.shape, affine)
    volumes = [round(float(mask(labels, f"{side} kidney").sum()) * grid.voxel_ml) for side in ("right", "left")]
    assert volumes == [276, 287]  # as components of the mask, counted elsewhere
    assert mask(labels, "kidney tumor").sum() == 41936
    assert mask(labels, "kidney cyst").sum() == 45137
    assert np.array_equal(labels != 0, codes != 0)


@pytest.mark.parametrize("name", ["amos_0001.nii.gz", "amos_0013_label.nii.gz"])
def test_amos_labels(real_data, name):
    path = real_data / "labels_only/amos" / name
    codes, affine = read_label(path)
    labels = encode(codes, entry("amos").labels, path)
    for code, (target_name,) in entry("amos").labels.items():
        assert np.array_equal(mask(labels, target_name), codes == code)
    for pair in (("right kidney", "left kidney"), ("liver", "spleen"), ("right adrenal gland", "left adrenal gland")):
        right, left = (centre_mm(labels, affine, name)[0] for name in pair)
        assert right > left
