"""The traps of the datasets, each written into a synthetic archive and read back; one test a trap, named after it.

Those here read the embedded cohort's native archives, in which the traps stand, and compare with the bodies they were
written from. Traps that need another file, or another room, have their test elsewhere:

    in test_dataset_readers.py
        test_trap_macos_side_files_are_no_scans
        test_trap_msd08_tumour_is_no_vessel_and_other_tumours_are_their_organ
        test_trap_amos_ids_over_500_are_mr
        test_trap_abdomenct1k_names_are_equal_in_both_subtasks
        test_trap_kits23_axis_codes_are_I_P_L
        test_trap_pancreas_ct_labels_run_L_A_I_from_wrong_origins
        test_trap_ircadb_names_differ_and_patient_3_merges_kidneys
        test_trap_ircadb_a_tumour_folder_annotates_no_organ
        test_trap_ircadb_folders_are_doubled
        test_trap_chaos_files_run_downwards
        test_trap_totalsegmentator_empty_is_absent_and_missing_is_not_annotated
    in test_dataset_sides.py (KiTS23's twelve exceptions, WORD's third adrenal component, all that is split)
        test_trap_kits23_exceptions_keep_their_side
        test_trap_kits23_case_00151_is_fused
        test_trap_word_0052_has_three_adrenal_components
    in test_dataset_nifti.py
        test_trap_sform_and_qform_disagree
        test_trap_amos_headers_have_a_qform_only
    in test_dataset_dicom.py
        test_trap_a_missing_end_slice_leaves_no_gap
    in test_dataset_catalogue.py
        test_trap_ircadb_tumor_of_patient_7_is_adrenal_and_cysts_are_no_tumours (structure names)
        test_the_seven_training_sets_annotate_all_29_targets, test_a_difference_from_the_paper_is_explained (counts: MSD
        lung 63, BTCV 12, TCIA 76, AMOS 500, WORD 16)
    in tests/preparation: scans that stand in several datasets, with other headers (leakage and its cohort); archives
        locked with a password, nested, damaged (unpack); downloads

What no synthetic archive can reproduce:

    * KiTS19 cases with a second phase appended (00015, 00025, 00061, 00117): one NIfTI of plausible slices, in which no
      header says where the second scan begins; KiTS23 replaced these scans.
    * KiTS21's aggregated masks, Gibson's labels of BTCV and Pancreas-CT, HF mirrors with merged labels: other releases
      under the same names. Only a code that the release does not have shows them
      (test_trap_btcv_gibson_s_labels_have_a_code_too_many).
    * AMOS 500, TCIA 76, AbdomenCT-1K's hidden origins, archive hashes that change with each download, Drive quotas:
      facts about counts and servers, in the catalogue and in `acquire`.
    * A slice that is missing at the same end of a scan and of all its masks: no file says that it was there.
"""

import functools
import re
from pathlib import Path

import numpy as np
import pytest
from nibabel import orientations

from universal_diffusion.datasets.base import Case
from universal_diffusion.datasets.catalogue import entry
from universal_diffusion.datasets.grids import axis_codes
from universal_diffusion.datasets.readers import reader
from universal_diffusion.errors import InputError
from universal_diffusion.phantom import cohort
from universal_diffusion.phantom.scanner import Scan
from universal_diffusion.phantom.write import write
from universal_diffusion.preparation.unpack import unpack
from universal_diffusion.settings import Phantom
from universal_diffusion.targets import bits, mask

SEED = 11
CASES = {"msd03": 3, "btcv": 2, "kits23": 3, "pancreas_ct": 1, "abdomenct1k": 5, "amos": 3, "word": 1, "ircadb": 3}
TINY = Phantom(matrix=40, slice_spacing_mm=(18, 20), cases=CASES)


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """`native(source)`: the reader of the source's archives, written and unpacked."""
    root = tmp_path_factory.mktemp("cohort")

    @functools.cache
    def unpacked(source: str):
        write(source, TINY, SEED, root / "archives" / source)
        unpack(root / "archives" / source, root / "native" / source, entry(source).password)
        return reader(source, root / "native" / source)

    return unpacked


@functools.cache
def scan_of(source: str, index: int) -> Scan:
    """The body, as scanned, of the source's case of that index."""
    return cohort.labelled(source, TINY, SEED)[index].acquire(SEED)


@pytest.fixture(scope="module")
def case_of(native):
    """`case_of(source, index)`: the case that is read."""

    @functools.cache
    def read(source: str, index: int) -> Case:
        return native(source).read(native(source).cases()[index])

    return read


def in_ras(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return orientations.apply_orientation(array, orientations.io_orientation(affine))


def assert_as_scanned(case: Case, scan: Scan) -> None:
    """Voxel for voxel: the scan's image, and each annotated target where the body has it."""
    np.testing.assert_array_equal(in_ras(case.image, case.affine), scan.image)
    labels = in_ras(case.labels, case.affine)
    for name in case.annotated:
        np.testing.assert_array_equal(mask(labels, name), mask(scan.labels, name), name)


def test_trap_msd_axes_differ_from_case_to_case(native, case_of):
    assert [axis_codes(case_of("msd03", index).affine) for index in range(3)] == ["LAS", "RAS", "LPS"]
    for index in (1, 2):
        case, scan = case_of("msd03", index), scan_of("msd03", index)
        np.testing.assert_array_equal(in_ras(case.image, case.affine), scan.image)
        tumour = mask(scan.labels, "liver tumor")
        labels = in_ras(case.labels, case.affine)
        np.testing.assert_array_equal(mask(labels, "liver tumor"), tumour)
        np.testing.assert_array_equal(mask(labels, "liver"), mask(scan.labels, "liver") | tumour)


def test_trap_msd03_scans_of_ircadb_lost_their_spacing(case_of):
    """The header of 1 mm voxels is believed, as nothing in the file contradicts it; so millilitres are wrong there."""
    lost, kept = case_of("msd03", 0), case_of("msd03", 1)
    assert np.allclose(np.linalg.norm(lost.affine[:3, :3], axis=0), 1)
    assert (np.linalg.norm(kept.affine[:3, :3], axis=0) > 5).all()


def test_trap_msd_and_btcv_test_scans_have_no_labels(native):
    assert native("msd03").cases() == ("liver_0", "liver_1", "liver_2")
    assert native("btcv").cases() == ("img0001", "img0002")


def test_trap_btcv_a_missing_gallbladder_is_absent_not_unlabelled(case_of):
    cases = [case_of("btcv", index) for index in range(2)]
    assert all("gallbladder" in case.annotated for case in cases)
    assert [mask(case.labels, "gallbladder").any() for case in cases] == [True, False]


def test_trap_btcv_gibson_s_labels_have_a_code_too_many(tmp_path, write_nifti):
    duodenum = np.zeros((6, 5, 4), np.uint8)
    duodenum[2, 2, 2] = 14
    write_nifti(tmp_path / "Training/img/img0001.nii.gz", np.linspace(-1000, 400, 120, dtype=np.int16).reshape(6, 5, 4))
    write_nifti(tmp_path / "Training/label/label0001.nii.gz", duodenum)
    with pytest.raises(InputError, match=r"label0001\.nii\.gz: holds label code 14; .*the release it is from"):
        reader("btcv", tmp_path).read("img0001")


def test_trap_kits23_shapes_are_not_square(case_of):
    case = case_of("kits23", 2)
    assert case.image.shape[1] < case.image.shape[2]
    np.testing.assert_array_equal(in_ras(case.image, case.affine), scan_of("kits23", 2).image)


def test_trap_kits23_has_patients_with_one_kidney(case_of):
    for index in (0, 1):
        case, scan = case_of("kits23", index), scan_of("kits23", index)
        labels = in_ras(case.labels, case.affine)
        lesions = (scan.labels & bits(["kidney tumor", "kidney cyst"])) != 0
        for side in ("right kidney", "left kidney"):
            np.testing.assert_array_equal(mask(labels, side) & ~lesions, mask(scan.labels, side) & ~lesions)
        assert (mask(labels, "right kidney") | mask(labels, "left kidney"))[lesions].all()
    assert not mask(case.labels, "right kidney").any()
    assert mask(case.labels, "left kidney").any()


def test_trap_kits23_half_the_cases_have_no_cyst(case_of):
    cases = [case_of("kits23", index) for index in range(3)]
    assert all("kidney cyst" in case.annotated for case in cases)
    assert {bool(mask(case.labels, "kidney cyst").any()) for case in cases} == {True, False}


def test_trap_kits23_other_annotators_masks_lie_beside(native, tmp_path):
    folder = tmp_path / "dataset/case_00000"
    folder.mkdir(parents=True)
    for path in native("kits23").files["case_00000"]:
        (folder / path.name).symlink_to(path)
        (folder / "instances").mkdir(exist_ok=True)
        (folder / "instances" / f"kidney_{path.name}").symlink_to(path)
    assert reader("kits23", tmp_path).cases() == ("case_00000",)


def test_trap_pancreas_ct_rows_are_reversed_and_file_names_say_nothing(case_of):
    case = case_of("pancreas_ct", 0)
    assert case.case == "PANCREAS_0001"
    assert axis_codes(case.affine) == "LAI"  # downwards, as the normal of reversed rows runs
    assert_as_scanned(case, scan_of("pancreas_ct", 0))


def test_trap_pancreas_ct_labels_0025_and_0070_have_no_scan(native):
    series, _ = native("pancreas_ct").files["PANCREAS_0001"]
    root = series.parents[3]
    assert sorted(path.name for path in root.rglob("label*.nii.gz")) == ["label0001.nii.gz", "label0025.nii.gz"]


def test_trap_abdomenct1k_headers_are_not_orthonormal(case_of):
    case = case_of("abdomenct1k", 1)
    axes = case.affine[:3, :3] / np.linalg.norm(case.affine[:3, :3], axis=0)
    assert case.case == "Subtask1_train_0002"
    assert not np.allclose(axes.T @ axes, np.eye(3), atol=1e-4)
    assert_as_scanned(case, scan_of("abdomenct1k", 1))


def test_trap_abdomenct1k_merges_kidneys_and_lacks_spleens(case_of):
    case, scan = case_of("abdomenct1k", 2), scan_of("abdomenct1k", 2)
    assert case.annotated == ("spleen", "right kidney", "left kidney", "liver", "pancreas")
    labels = in_ras(case.labels, case.affine)
    for side in ("right kidney", "left kidney"):
        np.testing.assert_array_equal(mask(labels, side), mask(scan.labels, side))
    assert not mask(labels, "spleen").any()


def test_trap_amos_500_is_ct_and_absent_organs_are_annotated(native, case_of):
    assert native("amos").cases() == ("amos_0001", "amos_0003", "amos_0500")
    cases = [case_of("amos", index) for index in range(3)]
    assert all(case.annotated == entry("amos").annotated for case in cases)
    assert [mask(case.labels, "bladder").any() for case in cases] == [True, False, True]
    assert_as_scanned(cases[0], scan_of("amos", 0))


def test_trap_word_counts_left_before_right_and_merges_adrenals(case_of):
    case = case_of("word", 0)
    assert axis_codes(case.affine) == "LPS"
    assert_as_scanned(case, scan_of("word", 0))


def test_trap_ircadb_annotates_other_structures_in_each_patient(case_of):
    """A missing folder is not annotated, though the organ is there; merged kidneys are split; `liver` holds tumours."""
    cases = [case_of("ircadb", index) for index in range(3)]
    assert [case.case for case in cases] == [f"3Dircadb1.{n}" for n in range(1, 4)]
    for index, case in enumerate(cases):
        assert_as_scanned(case, scan_of("ircadb", index))
        assert not (mask(case.labels, "liver tumor") & ~mask(case.labels, "liver")).any()
    assert "gallbladder" not in cases[0].annotated
    assert mask(scan_of("ircadb", 0).labels, "gallbladder").any()
    assert {"right kidney", "left kidney"} <= set(cases[2].annotated)  # of a folder named "kidneys"


@pytest.mark.parametrize("foreground", [1, 255])
def test_trap_ircadb_masks_hold_1_or_255(tmp_path, write_series, foreground):
    scan = np.full((5, 6, 7), -1000.0)
    scan[:, 1:5, 1:6] = 40
    liver = np.zeros(scan.shape)
    liver[1:3, 2:4, 2:4] = foreground
    write_series(tmp_path / "3Dircadb1.9/PATIENT_DICOM", scan)
    raw = {"RescaleSlope": "1", "RescaleIntercept": "0"}
    write_series(tmp_path / "3Dircadb1.9/MASKS_DICOM/liver", 2 * liver - 1000, **raw)
    assert mask(reader("ircadb", tmp_path).read("3Dircadb1.9").labels, "liver").sum() == 8


def test_every_test_that_the_list_names_exists():
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    listed = re.findall(r"\btest_(?:trap|the|a)_\w+", __doc__)
    assert len(listed) > 15
    assert [name for name in listed if f"def {name}(" not in tests] == []
