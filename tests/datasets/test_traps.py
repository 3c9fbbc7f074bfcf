"""The traps of the datasets, each written into a synthetic archive and read back; one test a trap, named after it.

Those here read the embedded cohort's native archives, in which the traps stand, and compare with the bodies they were
written from. Traps that need another file have their test elsewhere:

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
    in tests/preparation/test_unpack.py
        test_trap_ircadb_a_scan_that_lost_slices_at_an_end_is_refused_unless_we_wrote_it

Here the audit is asked about two or three copies at a time; test_leakage_cohort.py audits a cohort and splits it.

What no synthetic archive can show, and why:

    * KiTS19 cases with a second phase appended (00015, 00025, 00061, 00117): one NIfTI of plausible slices, in which no
      header says where the second scan begins; KiTS23 replaced these scans.
    * KiTS21's aggregated masks, Gibson's labels of BTCV and Pancreas-CT, HF mirrors with merged labels: other releases
      under the same names. Only a code that the release does not have shows them
      (test_trap_btcv_gibson_s_labels_have_a_code_too_many).
    * AbdomenCT-1K's hidden origins and its early upload of other cases, the 76 of TCIA's 80 scans that the paper took,
      the pair of LiTS numbers that are no 3D-IRCADb patients: nobody has published which cases are meant.
    * Servers (WORD's Drive quota, Synapse's token, KiTS' images at their new home): the servers of
      test_downloads_*.py and test_acquire.py show them; no archive does.
"""

import functools
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from nibabel import orientations

from universal_diffusion.datasets.base import Case
from universal_diffusion.datasets.catalogue import entry, sources
from universal_diffusion.datasets.grids import axis_codes
from universal_diffusion.datasets.readers import reader
from universal_diffusion.errors import InputError
from universal_diffusion.phantom import cohort
from universal_diffusion.phantom.scanner import Scan
from universal_diffusion.phantom.write import write
from universal_diffusion.preparation.contents import content_hash
from universal_diffusion.preparation.fingerprints import prints
from universal_diffusion.preparation.quality.report import count_findings
from universal_diffusion.preparation.repeats import LEAST_RUN, PRINTED, repeats
from universal_diffusion.preparation.unpack import unpack
from universal_diffusion.settings import Phantom
from universal_diffusion.targets import bits, mask

SEED = 11
CASES = {"msd03": 3, "btcv": 2, "kits23": 3, "pancreas_ct": 1, "abdomenct1k": 5, "amos": 3, "word": 1, "ircadb": 3}
TINY = Phantom(matrix=40, slice_spacing_mm=(18, 20), cases=CASES)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Where `native` puts archives/<source> and native/<source>."""
    return tmp_path_factory.mktemp("cohort")


@pytest.fixture(scope="module")
def native(root):
    """`native(source)`: the reader of the source's archives, written and unpacked."""

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


def audited(*cases: Case) -> list[tuple[str, str, bool, int]]:
    """(case, other case, cropped, offset in HU) of every pair that the audit takes for copies, by a run of slices."""
    rows = []
    for case in cases:
        told = prints(case.image)
        rows.append((case.source, case.case, told.fingerprint, told.slice_prints))
    pairs = repeats(pd.DataFrame(rows, columns=PRINTED))
    assert (pairs["matched_slices"] >= LEAST_RUN).all()
    return [(row.case, row.other_case, row.cropped, row.offset_hu) for row in pairs.itertuples()]


def test_trap_ircadb_scans_stand_in_msd03_and_abdomenct1k(case_of):
    """One patient of the test set, whose spacing is forced to 1 mm in MSD03; another of each set is no copy."""
    copies = case_of("ircadb", 0), case_of("msd03", 0), case_of("abdomenct1k", 4)
    names = [case.case for case in copies]
    assert names == ["3Dircadb1.1", "liver_0", "Subtask2_train_0002"]
    others = case_of("ircadb", 1), case_of("msd03", 1), case_of("abdomenct1k", 0)
    pairs = [(names[one], names[other], False, 0) for one, other in ((0, 1), (0, 2), (1, 2))]
    assert audited(*copies, *others) == pairs


def test_trap_abdomenct1k_repeats_itself_and_pancreas_ct(case_of):
    repeated = audited(case_of("abdomenct1k", 0), case_of("abdomenct1k", 3))
    assert repeated == [("Subtask1_train_0001", "Subtask2_train_0001", False, 0)]
    moved = audited(case_of("pancreas_ct", 0), case_of("abdomenct1k", 1))
    assert moved == [("PANCREAS_0001", "Subtask1_train_0002", False, -cohort.OFFSET_HU)]


def test_trap_pancreas_ct_0025_and_0070_were_another_crop_of_0002(case_of):
    scan = case_of("pancreas_ct", 0)
    again = replace(scan, case="PANCREAS_0025", image=scan.image[:, :, 1:-2])
    assert audited(scan, again) == [("PANCREAS_0001", "PANCREAS_0025", True, 0)]


def test_trap_word_is_locked_under_a_published_password(root, native, tmp_path):
    """Python's own zipfile cannot open it at all."""
    assert native("word").cases()
    (path,) = (root / "archives/word").glob("*.zip")
    with zipfile.ZipFile(path) as archive, pytest.raises((RuntimeError, NotImplementedError)):
        archive.read(archive.infolist()[-1])
    with pytest.raises(InputError, match="password"):
        unpack(root / "archives/word", tmp_path / "native", None)


def test_trap_ircadb_archives_are_zips_in_a_zip(root, native):
    assert len(native("ircadb").cases()) == CASES["ircadb"]
    with zipfile.ZipFile(root / "archives/ircadb/3Dircadb1.zip") as archive:
        assert "3Dircadb1/3Dircadb1.1/MASKS_DICOM.zip" in archive.namelist()
    assert not list((root / "native/ircadb").rglob("*.zip"))


def test_trap_ircadb_archives_are_packed_anew_for_each_download(root, native, tmp_path):
    """Other bytes, the same slices."""
    patient = native("ircadb").files["3Dircadb1.1"][0].parent
    found = []
    for name, packing in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", packing) as archive:
            for path in patient.rglob("image_*"):
                archive.write(path, path.relative_to(patient.parent))
        with zipfile.ZipFile(tmp_path / f"{name}.zip") as archive:
            archive.extractall(tmp_path / name)
        found.append(content_hash(tmp_path / name / patient.name))
    assert (tmp_path / "stored.zip").read_bytes() != (tmp_path / "deflated.zip").read_bytes()
    assert found[0] == found[1] == content_hash(patient)


def test_trap_ircadb_image_10_comes_before_image_2_by_name(tmp_path, write_series):
    """Slices are in the order of their positions."""
    scan = np.full((12, 6, 7), -1000.0)
    scan[:, 1:5, 1:6] = 10 * np.arange(12)[:, None, None]
    write_series(tmp_path / "3Dircadb1.9/PATIENT_DICOM", scan)
    write_series(tmp_path / "3Dircadb1.9/MASKS_DICOM/liver", np.where(scan > 0, 255.0, 0.0))
    case = reader("ircadb", tmp_path).read("3Dircadb1.9")
    assert case.image[3, 3].tolist() == (10.0 * np.arange(12)).tolist()


COUNTS = {  # labelled CTs of the public release, and of the paper's Table 1
    "msd": (945, 945),  # lung 63, though its paper says 64
    "btcv": (30, 30),
    "kits23": (489, 489),
    "pancreas_ct": (80, 76),
    "abdomenct1k": (722, 722),
    "amos": (300, 500),
    "word": (120, 120),
}


@pytest.mark.parametrize("dataset", COUNTS)
def test_trap_counts_differ_between_paper_and_release(dataset):
    """MSD lung holds 63, TCIA 80 for the paper's 76, AMOS 300 with public masks of 500; and the report says it."""
    public, paper = COUNTS[dataset]
    parts = [entry(key) for key in sources() if entry(key).dataset == dataset]
    assert sum(part.cases for part in parts) == public
    assert (public == paper) or parts[0].reason
    inventory = pd.DataFrame([(part.key, dataset) for part in parts for _ in range(part.cases)])
    inventory.columns = ["source", "dataset"]
    row = {"dataset": dataset, "title": dataset, "paper_cases": str(paper), "reason": parts[0].reason}
    counts = pd.DataFrame([row]).set_index("dataset")
    told = [hit.kind for hit in count_findings(inventory, counts)]
    assert bool(told) == (public != paper)


def test_trap_msd_lung_holds_63_and_btcv_13_targets():
    assert entry("msd06").cases == 63
    assert len(entry("btcv").annotated) == 13  # the paper prints 12


def test_every_test_that_the_list_names_exists():
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    listed = re.findall(r"\btest_(?:trap|the|a)_\w+", __doc__)
    assert len(listed) > 15
    assert [name for name in listed if f"def {name}(" not in tests] == []
