"""Each native layout written small, with the traps of the real one, and each refusal."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel import orientations

from universal_diffusion.datasets.catalogue import entry
from universal_diffusion.datasets.labels import bits_of
from universal_diffusion.datasets.readers import chosen_cases, reader
from universal_diffusion.errors import InputError
from universal_diffusion.targets import mask

SHAPE = (6, 5, 4)
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


def scan(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1000, SHAPE).astype(np.int16)


def codes(*present: int) -> np.ndarray:
    """A label map whose first voxels hold these codes."""
    label = np.zeros(SHAPE, np.uint8)
    label.flat[: len(present)] = present
    return label


@pytest.fixture
def write_pair(write_nifti):
    def write(image: Path, label: Path, *present: int) -> None:
        write_nifti(image, scan())
        write_nifti(label, codes(*present))

    return write


@pytest.mark.parametrize(
    ("source", "image", "label", "case"),
    [
        ("msd03", "Task03_Liver/imagesTr/liver_0.nii.gz", "Task03_Liver/labelsTr/liver_0.nii.gz", "liver_0"),
        ("msd09", "imagesTr/spleen_2.nii.gz", "labelsTr/spleen_2.nii.gz", "spleen_2"),
        ("btcv", "RawData/Training/img/img0001.nii.gz", "RawData/Training/label/label0001.nii.gz", "img0001"),
        ("amos", "amos22/imagesVa/amos_0500.nii.gz", "amos22/labelsVa/amos_0500.nii.gz", "amos_0500"),
        ("word", "WORD-V0.1.0/imagesVal/word_0001.nii.gz", "WORD-V0.1.0/labelsVal/word_0001.nii.gz", "word_0001"),
        (
            "abdomenct1k",
            "Subtask2/TrainImage/train_0001_0000.nii.gz",
            "Subtask2/TrainMask/train_0001.nii.gz",
            "Subtask2_train_0001",
        ),
    ],
)
@pytest.mark.parametrize("wrapping", ["", "unpacked", "unpacked/twice"])
def test_trap_macos_side_files_are_no_scans(tmp_path, write_pair, source, image, label, case, wrapping):
    root = tmp_path / wrapping
    write_pair(root / image, root / label, 1)
    for path in (root / image, root / label):
        side = path.with_name(f"._{path.name}")
        side.write_bytes(b"macOS")
        junk = tmp_path / "__MACOSX" / path.relative_to(tmp_path).with_name(f"._{path.name}")
        junk.parent.mkdir(parents=True, exist_ok=True)
        junk.write_bytes(b"macOS")
    native = reader(source, tmp_path)
    assert native.cases() == (case,)
    read = native.read(case)
    assert (read.source, read.case, read.annotated) == (source, case, entry(source).annotated)
    assert read.image.dtype == np.float32
    assert read.labels.dtype == np.uint32
    assert read.image.shape == read.labels.shape == SHAPE
    assert np.array_equal(read.affine, AFFINE)
    assert read.labels.flat[0] == bits_of(entry(source).labels[1])
    assert not read.labels.flat[1:].any()


def test_a_link_is_followed(tmp_path, write_pair):
    write_pair(tmp_path / "there/imagesTr/a_1.nii.gz", tmp_path / "there/labelsTr/a_1.nii.gz", 1)
    (tmp_path / "native").mkdir()
    (tmp_path / "native/Task09_Spleen").symlink_to(tmp_path / "there")
    assert reader("msd09", tmp_path / "native").cases() == ("a_1",)


def test_cases_are_in_natural_order_and_other_tasks_passed_over(tmp_path, write_pair):
    for task, name in [("Task03_Liver", "liver_10"), ("Task03_Liver", "liver_9"), ("Task09_Spleen", "spleen_2")]:
        write_pair(tmp_path / task / f"imagesTr/{name}.nii.gz", tmp_path / task / f"labelsTr/{name}.nii.gz", 1)
    assert reader("msd03", tmp_path).cases() == ("liver_9", "liver_10")


def test_trap_amos_ids_over_500_are_mr(tmp_path, write_pair, write_nifti):
    for part, number in [("Tr", 1), ("Tr", 501), ("Va", 600), ("Ts", 410)]:
        name = f"amos_{number:04d}.nii.gz"
        write_pair(tmp_path / f"amos22/images{part}/{name}", tmp_path / f"amos22/labels{part}/{name}", 1)
    write_nifti(tmp_path / "amos22/imagesTr/amos_0002.nii.gz", scan())
    assert reader("amos", tmp_path).cases() == ("amos_0001",)
    write_pair(tmp_path / "amos22/imagesTr/mine.nii.gz", tmp_path / "amos22/labelsTr/mine.nii.gz", 1)
    with pytest.raises(InputError, match=r"labelsTr/mine\.nii\.gz: is no scan of this dataset, expected amos_0001"):
        reader("amos", tmp_path)


def test_trap_abdomenct1k_names_are_equal_in_both_subtasks(tmp_path, write_pair):
    for subtask in ("Subtask1", "Subtask2"):
        folder = tmp_path / subtask
        write_pair(folder / "TrainImage/train_0001_0000.nii.gz", folder / "TrainMask/train_0001.nii.gz", 1)
    assert reader("abdomenct1k", tmp_path).cases() == ("Subtask1_train_0001", "Subtask2_train_0001")


def test_trap_msd08_tumour_is_no_vessel_and_other_tumours_are_their_organ(tmp_path, write_pair):
    for task in ("Task03_Liver", "Task08_HepaticVessel"):
        write_pair(tmp_path / task / "imagesTr/a_1.nii.gz", tmp_path / task / "labelsTr/a_1.nii.gz", 1, 2)
    liver = reader("msd03", tmp_path).read("a_1").labels
    assert mask(liver, "liver").sum() == 2
    assert mask(liver, "liver tumor").sum() == 1
    vessel = reader("msd08", tmp_path).read("a_1").labels
    assert mask(vessel, "hepatic vessel").sum() == mask(vessel, "hepatic vessel tumor").sum() == 1


@pytest.mark.parametrize("source", ["msd03", "btcv", "kits23", "pancreas_ct", "abdomenct1k", "amos", "word"])
def test_nothing_found_shows_the_expected_layout(tmp_path, source):
    with pytest.raises(InputError, match=r"holds no labelled CT of this dataset; expected .*\.nii\.gz"):
        reader(source, tmp_path)


@pytest.mark.parametrize("source", ["ircadb", "chaos", "totalsegmentator"])
def test_nothing_found_by_structure(tmp_path, source):
    with pytest.raises(InputError, match="holds no labelled CT of this dataset; expected "):
        reader(source, tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        reader(source, tmp_path / "absent")


def test_label_without_scan_and_doubled_case(tmp_path, write_pair):
    write_pair(tmp_path / "a/imagesTr/a_1.nii.gz", tmp_path / "a/labelsTr/a_1.nii.gz", 1)
    write_pair(tmp_path / "b/imagesTr/a_1.nii.gz", tmp_path / "b/labelsTr/a_1.nii.gz", 1)
    with pytest.raises(InputError, match=r"is case a_1, as .* is; keep one copy"):
        reader("msd09", tmp_path)
    (tmp_path / "b/imagesTr/a_1.nii.gz").unlink()
    with pytest.raises(InputError, match=r"b/labelsTr/a_1\.nii\.gz: has no scan at"):
        reader("msd09", tmp_path)


def test_unknown_chosen_case():
    assert chosen_cases("msd09", ("a_1", "a_2"), ()) == ("a_1", "a_2")
    assert chosen_cases("msd09", ("a_1", "a_2"), ("a_2",)) == ("a_2",)
    with pytest.raises(InputError, match=r"sources\.msd09\.cases: names 'a_3', which was not found; nearest: a_"):
        chosen_cases("msd09", ("a_1", "a_2"), ("a_3",))


@pytest.mark.parametrize(
    ("image", "label", "affine", "pattern"),
    [
        (None, np.zeros((6, 5, 3), np.uint8), AFFINE, r"labelsTr.*has shape 6 x 5 x 3, its image 6 x 5 x 4"),
        (None, codes(1), AFFINE + np.eye(4)[:, [3, 0, 1, 2]] * 0.5, "lies up to .* mm away"),
        (None, codes(1), np.diag([-2.0, 2.0, 3.0, 1.0]), r"axes LAS and RAS; 0\.20 mm allowed"),
        (None, codes(2), AFFINE, "labelsTr.*holds label code 2; known codes are 0, 1;"),
        (None, np.full(SHAPE, 0.5, np.float32), AFFINE, "no whole numbers"),
        (None, np.full(SHAPE, np.nan, np.float32), AFFINE, "no whole numbers"),
        (np.full(SHAPE, np.nan, np.float32), codes(1), AFFINE, "imagesTr.*not finite"),
        (np.full(SHAPE, -1000, np.int16), codes(1), AFFINE, "imagesTr.*is -1000 everywhere"),
        (np.abs(scan()) / 1000.0, codes(1), AFFINE, "are not Hounsfield units"),
        (np.zeros((*SHAPE, 2), np.int16), codes(1), AFFINE, "has 4 dimensions"),
    ],
)
def test_wrong_pairs(tmp_path, write_nifti, image, label, affine, pattern):
    write_nifti(tmp_path / "imagesTr/a_1.nii.gz", scan() if image is None else image)
    write_nifti(tmp_path / "labelsTr/a_1.nii.gz", label, affine)
    with pytest.raises(InputError, match=pattern) as error:
        reader("msd09", tmp_path).read("a_1")
    assert "\n" not in str(error.value)


def test_rounding_of_a_header_and_float_labels_are_accepted(tmp_path, write_nifti):
    write_nifti(tmp_path / "imagesTr/a_1.nii.gz", scan())
    write_nifti(tmp_path / "labelsTr/a_1.nii.gz", codes(1).astype(np.float32)[..., None], AFFINE + 1e-4 * np.eye(4))
    assert mask(reader("msd09", tmp_path).read("a_1").labels, "spleen").sum() == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("mode", [0o000, 0o444])
@pytest.mark.parametrize("name", ["labelsTr", "imagesTr", "imagesTr/a_1.nii.gz"])
def test_what_may_not_be_read_is_named(tmp_path, write_pair, name, mode):
    write_pair(tmp_path / "imagesTr/a_1.nii.gz", tmp_path / "labelsTr/a_1.nii.gz", 1)
    path = tmp_path / name
    if path.is_file() and mode:
        pytest.skip("a file that may be read")
    path.chmod(mode)
    try:
        with pytest.raises(InputError, match=rf"{name}: (cannot be read|is no whole NIfTI file)"):
            reader("msd09", tmp_path).read("a_1")
    finally:
        path.chmod(0o700)


def test_a_file_cut_short(tmp_path, write_nifti):
    path = write_nifti(tmp_path / "imagesTr/a_1.nii.gz", scan())
    write_nifti(tmp_path / "labelsTr/a_1.nii.gz", codes(1))
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(InputError, match=r"a_1\.nii\.gz: is no whole NIfTI file"):
        reader("msd09", tmp_path).read("a_1")


@settings(max_examples=15)
@given(st.permutations([0, 1, 2]), st.tuples(*[st.sampled_from([1, -1])] * 3))
def test_a_landmark_survives_any_axis_order(tmp_path_factory, write_nifti, axes, flips):
    folder = tmp_path_factory.mktemp("turned")
    change = np.column_stack([axes, flips])
    affine = AFFINE @ orientations.inv_ornt_aff(change, SHAPE)
    label = np.zeros(SHAPE, np.uint8)
    label[1, 3, 2] = 1
    write_nifti(folder / "imagesTr/a_1.nii.gz", orientations.apply_orientation(scan(), change), affine)
    write_nifti(folder / "labelsTr/a_1.nii.gz", orientations.apply_orientation(label, change), affine)
    case = reader("msd09", folder).read("a_1")
    (place,) = np.argwhere(mask(case.labels, "spleen"))
    assert np.allclose(case.affine @ [*place, 1], AFFINE @ [1, 3, 2, 1])
    assert case.image[tuple(place)] == scan()[1, 3, 2]


def body_with(labels: dict[str, tuple[slice, ...]]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(z, y, x) HU of a block of a body with a spine, in DICOM order, and the named boxes as masks."""
    hounsfield = np.full((20, 40, 60), -1000.0)
    hounsfield[:, 5:35, 5:55] = 40
    hounsfield[:, 24:34, 26:34] = 400
    masks = {name: np.zeros(hounsfield.shape, bool) for name in labels}
    for name, box in labels.items():
        masks[name][box] = True
    return hounsfield, masks


def test_trap_kits23_axis_codes_are_I_P_L(tmp_path, write_nifti):
    hounsfield, masks = body_with({"kidney": np.s_[5:15, 20:28, 8:18], "tumour": np.s_[8:12, 20:24, 8:12]})
    folder = tmp_path / "kits23/dataset/case_00582"
    axes_ipl = np.array([[0, 0, -4.0, 0], [0, -4.0, 0, 0], [-4.0, 0, 0, 0], [0, 0, 0, 1]])
    write_nifti(folder / "imaging.nii.gz", hounsfield.astype(np.int16), axes_ipl)
    write_nifti(folder / "segmentation.nii.gz", masks["kidney"].astype(np.uint8) + masks["tumour"], axes_ipl)
    (tmp_path / "kits23/dataset/case_00600").mkdir()
    native = reader("kits23", tmp_path)
    assert native.cases() == ("case_00582",)
    case = native.read("case_00582")
    assert case.annotated == ("right kidney", "left kidney", "kidney cyst", "kidney tumor")
    assert np.array_equal(mask(case.labels, "right kidney"), masks["kidney"])
    assert np.array_equal(mask(case.labels, "kidney tumor"), masks["tumour"])
    assert not mask(case.labels, "left kidney").any()
    (folder / "imaging.nii.gz").unlink()
    with pytest.raises(InputError, match=r"segmentation\.nii\.gz: has no scan at .*imaging\.nii\.gz; complete the"):
        reader("kits23", tmp_path)


def write_ircadb(
    root: Path, write_series, boxes: dict[str, tuple[slice, ...]], patient="3Dircadb1.3", **places
) -> None:
    """A patient whose masks are stored as 0 and 255 (written so that the rescaled values are those)."""
    hounsfield, masks = body_with(boxes)
    write_series(root / patient / "PATIENT_DICOM", hounsfield, **places)
    for name, inside in masks.items():
        stored = {"RescaleSlope": "1", "RescaleIntercept": "0"}
        write_series(root / patient / "MASKS_DICOM" / name, np.where(inside, 255 * 2 - 1000, -1000), **stored, **places)


IMAGE_LEFT, IMAGE_RIGHT = np.s_[5:15, 20:28, 8:18], np.s_[5:15, 20:28, 42:52]  # image left is patient right (LPS)


def test_trap_ircadb_names_differ_and_patient_3_merges_kidneys(tmp_path, write_series):
    boxes = {"kidneys": IMAGE_LEFT, "livertumor01": np.s_[3:5, 6:9, 8:12], "tumor": np.s_[0:2, 6:9, 8:9]}
    write_ircadb(tmp_path / "3Dircadb1", write_series, boxes | {"bone": np.s_[:, 24:34, 26:34]})
    native = reader("ircadb", tmp_path)
    case = native.read(*native.cases())
    assert case.case == "3Dircadb1.3"
    assert case.annotated == ("right kidney", "liver tumor")  # nothing says where the rest of the liver is
    assert mask(case.labels, "right kidney").sum() == 10 * 8 * 10
    assert mask(case.labels, "liver tumor").sum() == mask(case.labels, "liver").sum() == 2 * 3 * 4
    assert (case.labels != 0).sum() == 10 * 8 * 10 + 2 * 3 * 4


def test_trap_ircadb_a_tumour_folder_annotates_no_organ(tmp_path, write_series):
    tumour = np.s_[3:5, 6:9, 8:12]
    write_ircadb(tmp_path, write_series, {"livertumor": tumour, "liver": np.s_[0:0, 0:0, 0:0]})
    assert reader("ircadb", tmp_path).read("3Dircadb1.3").annotated == ("liver tumor",)
    write_ircadb(tmp_path, write_series, {"livertumor": tumour, "liver": np.s_[3:9, 6:19, 8:22]}, patient="3Dircadb1.4")
    assert reader("ircadb", tmp_path).read("3Dircadb1.4").annotated == ("liver", "liver tumor")


@pytest.mark.parametrize("missing", ["PATIENT_DICOM", "MASKS_DICOM"])
def test_ircadb_half_a_patient_is_refused(tmp_path, write_series, missing):
    for patient in ("3Dircadb1.3", "3Dircadb1.4"):
        write_ircadb(tmp_path, write_series, {"leftkidney": IMAGE_RIGHT}, patient=patient)
    shutil.rmtree(tmp_path / "3Dircadb1.4" / missing)
    with pytest.raises(InputError, match=rf"3Dircadb1\.4: has no folder {missing}; expected"):
        reader("ircadb", tmp_path)


def test_trap_ircadb_folders_are_doubled(tmp_path, write_series):
    write_ircadb(tmp_path, write_series, {"leftkidney": IMAGE_RIGHT}, patient="3Dircadb1.5/inner")
    inner, outer = tmp_path / "3Dircadb1.5/inner", tmp_path / "3Dircadb1.5"
    for part in ("PATIENT_DICOM", "MASKS_DICOM"):
        (outer / part).mkdir()
        (inner / part).rename(outer / part / part)
        (outer / f"{part}.zip").touch()
    native = reader("ircadb", tmp_path)
    assert native.cases() == ("3Dircadb1.5",)
    case = native.read("3Dircadb1.5")
    assert case.annotated == ("left kidney",)
    assert np.argwhere(mask(case.labels, "left kidney")).mean(0)[0] > 30  # columns run to the patient's left


def test_ircadb_unknown_structure_missing_part_and_shifted_mask(tmp_path, write_series):
    write_ircadb(tmp_path / "a", write_series, {"pituitary": IMAGE_LEFT})
    with pytest.raises(InputError, match="pituitary: is a structure that the catalogue does not know"):
        reader("ircadb", tmp_path / "a").read("3Dircadb1.3")
    write_series(tmp_path / "b/3Dircadb1.4/PATIENT_DICOM", body_with({})[0])
    with pytest.raises(InputError, match=r"3Dircadb1\.4: has no folder MASKS_DICOM; expected"):
        reader("ircadb", tmp_path / "b")
    write_series(tmp_path / "b/3Dircadb1.4/MASKS_DICOM/liver", body_with({})[0], places_mm=3.0 * np.arange(20) + 3)
    with pytest.raises(InputError, match=r"liver: lies up to 3\.00 mm away"):
        reader("ircadb", tmp_path / "b").read("3Dircadb1.4")


def write_masks(folder: Path, masks: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for number, plane in enumerate(masks):
        picture = SimpleITK.GetImageFromArray((255 * plane).astype(np.uint8))
        SimpleITK.WriteImage(picture, str(folder / f"liver_GT_{number:03d}.png"))


def test_trap_chaos_files_run_downwards(tmp_path, write_series):
    hounsfield, masks = body_with({"liver": np.s_[2:5, 10:20, 10:16]})
    folder = tmp_path / "Train_Sets/CT/7"
    write_series(folder / "DICOM_anon", hounsfield, places_mm=60 - 3.0 * np.arange(20), name="i{:04d},0000b.dcm")
    write_masks(folder / "Ground", masks["liver"])
    (tmp_path / "Train_Sets/MR/7/DICOM_anon").mkdir(parents=True)
    native = reader("chaos", tmp_path)
    assert native.cases() == ("CT_7",)
    case = native.read("CT_7")
    places = np.argwhere(mask(case.labels, "liver"))
    assert len(places) == 3 * 10 * 6
    world = (case.affine @ [*places.mean(0), 1])[:3]
    assert np.allclose(world, [-12.5 * 2.5, -14.5 * 1.5, 60 - 3 * 3])
    (folder / "Ground/liver_GT_003.png").unlink()
    with pytest.raises(InputError, match="holds 19 masks for 20 slices"):
        native.read("CT_7")


@pytest.mark.parametrize(
    ("rows_run", "place"), [([1, 0, 0, 0, -1, 0], [1, 2, 0]), ([1, 0, 0, 0, 1, 0], [1, 3, 3])], ids=["LAI", "LPS"]
)
def test_trap_pancreas_ct_labels_run_L_A_I_from_wrong_origins(tmp_path, write_series, write_nifti, rows_run, place):
    hounsfield = np.random.default_rng(1).integers(-400, 400, (4, 6, 5)) * 2.0
    series = tmp_path / "Pancreas-CT/PANCREAS_0002/11-24-2015/Pancreas"
    write_series(series, hounsfield, name="1-{:03d}.dcm", ImageOrientationPatient=rows_run)
    label = np.zeros((5, 6, 4), np.uint8)
    label[1, 2, 0] = 1  # axes left, anterior, inferior: the topmost slice
    labels = tmp_path / "TCIA_pancreas_labels-02-05-2017"
    for number in (2, 25, 70):
        write_nifti(labels / f"label{number:04d}.nii.gz", label, np.diag([-2.5, 1.5, -3.0, 1.0]) + np.eye(4, k=3) * 50)
    native = reader("pancreas_ct", tmp_path)
    assert native.cases() == ("PANCREAS_0002",)
    case = native.read("PANCREAS_0002")
    assert np.argwhere(mask(case.labels, "pancreas")).tolist() == [place]
    assert (case.affine @ [*place, 1])[2] == 9  # of slices at 0, 3, 6, 9 mm
    write_nifti(labels / "label0003.nii.gz", label)
    with pytest.raises(InputError, match=r"label0003\.nii\.gz: has 0 series of DICOM files below PANCREAS_0003"):
        reader("pancreas_ct", tmp_path)


def test_trap_totalsegmentator_empty_is_absent_and_missing_is_not_annotated(tmp_path, write_nifti):
    write_nifti(tmp_path / "s0001/ct.nii.gz", scan())
    for name, present in [("liver", 1), ("kidney_cyst_left", 1), ("prostate", 0), ("femur_left", 1)]:
        write_nifti(tmp_path / f"s0001/segmentations/{name}.nii.gz", codes(present))
    write_nifti(tmp_path / "unlabelled/ct.nii.gz", scan())
    native = reader("totalsegmentator", tmp_path)
    assert native.cases() == ("s0001",)
    case = native.read("s0001")
    assert case.annotated == ("liver", "prostate", "kidney cyst")  # the cyst's file is not the kidney's
    assert case.labels.flat[0] == bits_of(["liver", "left kidney", "kidney cyst"])
    assert not mask(case.labels, "prostate").any()
    assert reader("totalsegmentator", tmp_path / "s0001").cases() == ("s0001",)
    write_nifti(tmp_path / "s0001/segmentations/spleen_left.nii.gz", codes(1))
    with pytest.raises(InputError, match=r"spleen_left\.nii\.gz: is a structure that the catalogue does not know"):
        native.read("s0001")
