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


def ircadb_patient(real_data, folder, number: int) -> Case:
    """A 3D-IRCADb patient; of the masks only the targets' are unpacked."""
    for part in ("PATIENT_DICOM", "MASKS_DICOM"):
        with zipfile.ZipFile(real_data / f"3dircadb/3Dircadb1.{number}" / f"{part}.zip") as archive:
            wanted = [
                name
                for name in archive.namelist()
                if part == "PATIENT_DICOM" or entry("ircadb").structure_targets(name.split("/")[1])
            ]
            archive.extractall(folder / f"3Dircadb1.{number}", wanted)
    return reader("ircadb", folder).read(f"3Dircadb1.{number}")


@pytest.fixture(scope="module")
def patient_1(real_data, tmp_path_factory) -> Case:
    return ircadb_patient(real_data, tmp_path_factory.mktemp("ircadb"), 1)


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


def test_ircadb_patient_17(real_data, tmp_path):
    case = ircadb_patient(real_data, tmp_path, 17)
    assert case.annotated == ("liver", "liver tumor")
    assert ml(case, "liver") == pytest.approx(1861, abs=1)
    middle = midline(case.image, case.affine, "patient 17")
    assert centre_mm(case.labels, case.affine, "liver")[0] > middle + 20
    assert not (mask(case.labels, "liver tumor") & ~mask(case.labels, "liver")).any()
    assert 0 < np.median(case.image[mask(case.labels, "liver")]) < 200


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


@pytest.mark.parametrize("name", ["s0009", "example_ct"])
def test_totalsegmentator_sides(real_data, name):
    case = reader("totalsegmentator", real_data / "totalsegmentator").read(name)
    middle = midline(case.image, case.affine, name)
    pairs = [("right kidney", "left kidney"), ("right adrenal gland", "left adrenal gland"), ("liver", "spleen")]
    for pair in pairs:
        if all(mask(case.labels, target).any() for target in pair):
            right, left = (centre_mm(case.labels, case.affine, target)[0] - middle for target in pair)
            assert left < 0 < right, pair
            assert right - left > 30


def test_totalsegmentator_s0009(real_data):
    case = reader("totalsegmentator", real_data / "totalsegmentator").read("s0009")
    assert len(case.annotated) == 19
    assert ml(case, "liver") == pytest.approx(322, abs=1)  # cut by the field of view


def merged_again(codes, affine, sides: dict[int, str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes within their bounding box, the same as one merged label, and the box's affine.

    Args:
        sides: code -> merged label that it is given.
    """
    merged = np.isin(codes, [*sides])
    flat = merged.any(axis=0)
    places = [np.flatnonzero(shadow) for shadow in (merged.any(axis=(1, 2)), flat.any(axis=1), flat.any(axis=0))]
    box = tuple(slice(int(found[0]), int(found[-1]) + 1) for found in places)
    start = np.eye(4)
    start[:3, 3] = [extent.start for extent in box]
    labels = np.zeros(codes[box].shape, np.uint32)
    for code, name in sides.items():
        labels[codes[box] == code] = bits_of([name])
    return codes[box], labels, affine @ start


def centre_x_mm(shape, affine) -> float:
    """x of the middle of the image, for masks without their scan."""
    return (affine @ [*(np.array(shape) - 1) / 2, 1])[0]


@pytest.mark.parametrize("name", ["amos_0001.nii.gz", "amos_0013_label.nii.gz"])
def test_merged_sides_of_amos_are_told_apart_as_its_annotators_did(real_data, name):
    codes, affine = read_label(real_data / "labels_only/amos" / name)
    truth = {2: "right kidney", 3: "left kidney", 11: "right adrenal gland", 12: "left adrenal gland"}
    sides = {2: "kidneys", 3: "kidneys", 11: "adrenal glands", 12: "adrenal glands"}
    box, labels, box_affine = merged_again(codes, affine, sides)
    found = split(labels, box_affine, centre_x_mm(codes.shape, affine))
    for code, target in truth.items():
        assert np.array_equal(mask(found, target), box == code), target


KITS_ML = {  # right, left: the mask's two components, counted elsewhere on every second voxel in the plane
    "case_00000": (198.5, 171.5),
    "case_00001": (226.3, 226.3),
    "case_00002": (275.8, 286.8),
}


@pytest.mark.parametrize("case", KITS_ML)
def test_kits_masks(real_data, case):
    path = real_data / "labels_only/kits23" / case / "segmentation.nii.gz"
    codes, affine = read_label(path)
    box, _, box_affine = merged_again(codes, affine, dict.fromkeys((1, 2, 3), "kidneys"))
    labels = split(encode(box, entry("kits23").labels, path), box_affine, centre_x_mm(codes.shape, affine))
    grid = Grid(box.shape, box_affine)
    volumes = [float(mask(labels, f"{side} kidney").sum()) * grid.voxel_ml for side in ("right", "left")]
    assert volumes == pytest.approx(KITS_ML[case], rel=0.005)
    assert np.array_equal(mask(labels, "kidney tumor"), box == 2)
    assert np.array_equal(mask(labels, "kidney cyst"), box == 3)
    assert np.array_equal(labels != 0, box != 0)


@pytest.mark.parametrize("name", ["amos_0001.nii.gz", "amos_0013_label.nii.gz"])
def test_amos_labels(real_data, name):
    path = real_data / "labels_only/amos" / name
    codes, affine = read_label(path)
    thinned, affine = codes[::2, ::2], affine @ np.diag([2, 2, 1, 1])
    labels = encode(thinned, entry("amos").labels, path)
    for code, (target_name,) in entry("amos").labels.items():
        assert np.array_equal(mask(labels, target_name), thinned == code)
    for pair in (("right kidney", "left kidney"), ("liver", "spleen"), ("right adrenal gland", "left adrenal gland")):
        right, left = (centre_mm(labels, affine, name)[0] for name in pair)
        assert right > left
