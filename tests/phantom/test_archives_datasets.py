"""Each dataset's archive, read back with other tools: its layout, codes, orientation and traps are the real ones'."""

import functools
import io
import json
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import pyzipper
import SimpleITK as sitk

from universal_diffusion.errors import InputError
from universal_diffusion.files import sha256
from universal_diffusion.phantom import cohort
from universal_diffusion.phantom.write import WRITERS, write
from universal_diffusion.settings import Phantom
from universal_diffusion.targets import mask

SEED = 5
CASES = dict.fromkeys(WRITERS, 1) | {
    "msd03": 3,
    "msd07": 2,
    "btcv": 2,
    "kits23": 4,
    "abdomenct1k": 6,
    "amos": 3,
    "word": 2,
    "ircadb": 5,
}
TINY = Phantom(matrix=40, slice_spacing_mm=(18, 20), cases=CASES)
ARCHIVES = {
    "msd03": {"Task03_Liver.tar"},
    "msd06": {"Task06_Lung.tar"},
    "msd07": {"Task07_Pancreas.tar"},
    "msd08": {"Task08_HepaticVessel.tar"},
    "msd09": {"Task09_Spleen.tar"},
    "msd10": {"Task10_Colon.tar"},
    "btcv": {"RawData.zip"},
    "kits23": {"dataset"},
    "pancreas_ct": {"Pancreas-CT", "TCIA_pancreas_labels-02-05-2017-1.zip"},
    "abdomenct1k": {"Subtask1.zip", "Subtask2.zip"},
    "amos": {"amos22.zip"},
    "word": {"WORD-V0.1.0.zip"},
    "ircadb": {"3Dircadb1.zip"},
}


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """`native(source)`: the folder in which the source's archives lie unpacked, as independent tools unpack them."""
    root = tmp_path_factory.mktemp("cohort")

    def unpacked(source: str) -> Path:
        archives, tree = root / "archives" / source, root / "native" / source
        if not archives.exists():
            write(source, TINY, SEED, archives)
            unpack(archives, tree)
        return tree

    unpacked.archives = lambda source: unpacked(source) and root / "archives" / source
    return unpacked


def unpack(archives: Path, tree: Path) -> None:
    tree.mkdir(parents=True)
    for path in archives.iterdir():
        if path.suffix == ".tar":
            with tarfile.open(path) as archive:
                archive.extractall(tree, filter="data")
        elif path.suffix == ".zip":
            with pyzipper.AESZipFile(path) as archive:
                archive.extractall(tree, pwd=b"word@uestc")
        elif path.is_dir():
            (tree / path.name).symlink_to(path)


def load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A NIfTI's voxels and affine after a turn to RAS."""
    image = nib.as_closest_canonical(nib.load(path))
    return np.asarray(image.dataobj), image.affine


def on_the_right(label: np.ndarray, affine: np.ndarray, right: list[int], left: list[int]) -> bool:
    """Whether codes `right` lie, in the world, to the patient's right of codes `left`."""
    centre = [(affine @ [*np.argwhere(np.isin(label, codes)).mean(axis=0), 1])[0] for codes in (right, left)]
    return centre[0] > centre[1] + 30


@functools.cache
def scans(source: str) -> list:
    return [examination.acquire(SEED) for examination in cohort.labelled(source, TINY, SEED)]


def read_series(folder: Path) -> sitk.Image:
    """A DICOM series in RAS order, by GDCM."""
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    return sitk.DICOMOrient(sitk.ReadImage(names), "RAS")


@pytest.mark.parametrize("source", WRITERS)
def test_the_archives_and_their_hashes_are_listed(source, native):
    archives = native.archives(source)
    assert {path.name for path in archives.iterdir()} == ARCHIVES[source] | {"origin.json"}
    origin = json.loads((archives / "origin.json").read_text())
    assert origin["origin"] == "phantom"
    assert "no person" in origin["note"]
    listed = {entry["name"]: (entry["sha256"], entry["bytes"]) for entry in origin["files"]}
    there = {p.relative_to(archives).as_posix(): p for p in archives.rglob("*") if p.is_file()}
    there.pop("origin.json")
    assert listed == {name: (sha256(path), path.stat().st_size) for name, path in there.items()}


@pytest.mark.parametrize("source", ["msd08", "amos", "word", "pancreas_ct", "ircadb"])
def test_the_same_seed_gives_the_same_bytes(source, tmp_path):
    one = Phantom(matrix=32, slice_spacing_mm=(20, 22), cases=dict.fromkeys(WRITERS, 1))
    write(source, one, SEED, tmp_path / "first")
    write(source, one, SEED, tmp_path / "second")
    assert (tmp_path / "first/origin.json").read_bytes() == (tmp_path / "second/origin.json").read_bytes()


def test_another_seed_gives_other_scans(native, tmp_path):
    write("msd09", TINY, SEED + 1, tmp_path)
    assert sha256(tmp_path / "Task09_Spleen.tar") != sha256(native.archives("msd09") / "Task09_Spleen.tar")


@pytest.mark.parametrize(("ircadb", "leaked"), [(0, 0), (2, 2), (5, 4)])
def test_msd_liver_holds_no_more_of_3d_ircadb_than_there_is(ircadb, leaked):
    phantom = Phantom(40, (18, 20), {"msd03": 12, "ircadb": ircadb})
    lost = [examination.patient for examination in cohort.labelled("msd03", phantom, SEED) if examination.spacing_lost]
    assert lost == [f"ircadb-{index + 1}" for index in range(leaked)]


def test_a_published_part_of_a_scan_stays_in_its_place():
    whole = cohort.labelled("kits23", TINY, SEED)[0]
    part = next(e for e in cohort.labelled("abdomenct1k", TINY, SEED) if e.patient == whole.patient)
    (image, affine), (whole_image, whole_affine) = (
        (scan.image, scan.affine) for scan in (part.acquire(SEED), whole.acquire(SEED))
    )
    first = (np.linalg.inv(whole_affine) @ affine[:, 3])[:3]
    np.testing.assert_allclose(first, np.round(first), atol=1e-9)
    np.testing.assert_array_equal(image, whole_image[:, :, round(first[2]) :][:, :, : image.shape[2]])
    assert image.shape[2] < whole_image.shape[2]


def test_a_second_scan_of_a_patient_shows_the_same_body_and_other_noise():
    phantom = Phantom(40, (18, 20), {"msd07": 3, "msd09": 3})
    first, second = cohort.labelled("msd07", phantom, SEED)[2], cohort.labelled("msd09", phantom, SEED)[2]
    assert first.patient == second.patient
    scans = first.acquire(SEED), second.acquire(SEED)
    np.testing.assert_array_equal(scans[0].labels, scans[1].labels)
    assert (scans[0].image == scans[1].image).mean() < 0.1


def test_wrong_requests_end_in_one_line(tmp_path):
    with pytest.raises(InputError, match="chaos: has no phantom"):
        write("chaos", TINY, SEED, tmp_path)
    with pytest.raises(InputError, match=r"phantom\.cases\.btcv"):
        write("btcv", Phantom(40, (12, 14), {}), SEED, tmp_path)
    (tmp_path / "stale").touch()
    with pytest.raises(InputError, match="not empty"):
        write("btcv", TINY, SEED, tmp_path)


@pytest.mark.parametrize("source", [source for source in WRITERS if source.startswith("msd")])
def test_msd_tasks_follow_the_decathlon(source, native):
    (task,) = native(source).iterdir()
    description = json.loads((task / "dataset.json").read_text())
    assert description["numTraining"] == len(description["training"]) == CASES[source]
    assert description["numTest"] == len(description["test"]) == 1
    assert description["modality"] == {"0": "CT"}
    codes, seen, axes = set(map(int, description["labels"])), set(), []
    assert {p.name for p in task.glob("imagesTr/[!.]*")} == {Path(c["image"]).name for c in description["training"]}
    assert [p.name for p in task.glob("imagesTs/*")] == [Path(c).name for c in description["test"]]
    for case, scan in zip(description["training"], scans(source), strict=True):
        image, label = nib.load(task / case["image"]), nib.load(task / case["label"])
        np.testing.assert_array_equal(image.affine, label.affine)
        np.testing.assert_array_equal(load(task / case["image"])[0], scan.image)
        axes.append("".join(nib.aff2axcodes(image.affine)))
        seen |= set(np.unique(label.dataobj).tolist())
        assert (task / case["label"]).with_name(f"._{Path(case['label']).name}").exists()
    assert axes == ["LAS", "RAS", "LPS"][: len(axes)]
    assert seen == codes


def test_msd_names_are_the_native_ones(native):
    names = {s: sorted(p.name for p in native(s).glob("*/labelsTr/[!.]*"))[0] for s in WRITERS if s.startswith("msd")}
    assert names == {
        "msd03": "liver_0.nii.gz",
        "msd06": "lung_001.nii.gz",
        "msd07": "pancreas_001.nii.gz",
        "msd08": "hepaticvessel_001.nii.gz",
        "msd09": "spleen_2.nii.gz",
        "msd10": "colon_001.nii.gz",
    }


def test_one_msd_liver_has_no_tumour(native):
    tree = native("msd03") / "Task03_Liver/labelsTr"
    assert [2 in load(tree / f"liver_{i}.nii.gz")[0] for i in range(3)] == [True, True, False]


def test_hepatic_vessel_tumours_are_no_vessel_and_need_no_liver(native):
    label, _ = load(native("msd08") / "Task08_HepaticVessel/labelsTr/hepaticvessel_001.nii.gz")
    scan = scans("msd08")[0]
    np.testing.assert_array_equal(label == 2, mask(scan.labels, "hepatic vessel tumor"))
    np.testing.assert_array_equal(label == 1, mask(scan.labels, "hepatic vessel") & (label != 2))


def test_the_ircadb_scan_leaks_into_msd_liver_without_its_spacing(native):
    path = native("msd03") / "Task03_Liver/imagesTr/liver_0.nii.gz"
    np.testing.assert_allclose(nib.load(path).header.get_zooms(), 1)
    assert np.all(np.array(nib.load(path.with_name("liver_1.nii.gz")).header.get_zooms()) > 2)
    np.testing.assert_array_equal(load(path)[0], ircadb_volume(native("ircadb"), 1, "PATIENT_DICOM"))


def test_btcv_layout_codes_and_missing_gallbladder(native):
    tree = native("btcv") / "RawData"
    assert sorted(p.relative_to(tree).as_posix() for p in tree.rglob("*.nii.gz")) == [
        "Testing/img/img0061.nii.gz",
        *(f"Training/img/img000{i}.nii.gz" for i in (1, 2)),
        *(f"Training/label/label000{i}.nii.gz" for i in (1, 2)),
    ]
    (first, affine), (second, _) = (load(tree / f"Training/label/label000{i}.nii.gz") for i in (1, 2))
    assert set(np.unique(first)) <= set(range(14))
    assert 4 in first
    assert 4 not in second
    assert on_the_right(first, affine, [6], [1])
    assert on_the_right(first, affine, [2], [3])


def test_kits23_axes_sides_and_shapes(native):
    cases = sorted((native("kits23") / "dataset").iterdir())
    assert [case.name for case in cases] == ["case_00000", "case_00001", "case_00002", "case_00400"]
    for case, scan in zip(cases, scans("kits23"), strict=True):
        image, label = nib.load(case / "imaging.nii.gz"), nib.load(case / "segmentation.nii.gz")
        assert nib.aff2axcodes(image.affine) == nib.aff2axcodes(label.affine) == ("I", "P", "L")
        assert image.shape == scan.image.shape[::-1]
        np.testing.assert_array_equal(load(case / "imaging.nii.gz")[0], scan.image)
    (first, affine), (single, _), *_ = (load(case / "segmentation.nii.gz") for case in cases)
    assert set(np.unique(first)) == {0, 1, 2, 3}
    x = (affine @ [*np.argwhere(single == 1).mean(axis=0), 1])[0]
    assert x < -20  # the left kidney only
    assert np.ptp(np.argwhere(single > 0)[:, 0]) * affine[0, 0] < 110
    _, rows, columns = nib.load(cases[2] / "imaging.nii.gz").shape
    assert rows < columns


def test_pancreas_ct_rows_run_forwards_and_names_say_nothing(native):
    (series,) = (native("pancreas_ct") / "Pancreas-CT/PANCREAS_0001").glob("*/*")
    slices = {p.name: pydicom.dcmread(p) for p in series.iterdir()}
    assert {tuple(s.ImageOrientationPatient) for s in slices.values()} == {(1, 0, 0, 0, -1, 0)}
    heights = [float(slices[name].ImagePositionPatient[2]) for name in sorted(slices)]
    assert heights not in (sorted(heights), sorted(heights, reverse=True))
    assert series.name == slices["1-001.dcm"].SeriesInstanceUID
    read, scan = read_series(series), scans("pancreas_ct")[0]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read).T, scan.image)
    lps = np.array(read.GetOrigin())
    np.testing.assert_allclose(lps * (-1, -1, 1), scan.affine[:3, 3], atol=1e-4)
    np.testing.assert_allclose(read.GetSpacing(), np.diag(scan.affine)[:3], rtol=1e-6)


def test_pancreas_ct_labels_fit_by_axis_codes_not_by_origin(native):
    tree = native("pancreas_ct")
    labels = tree / "TCIA_pancreas_labels-02-05-2017"
    assert sorted(p.name for p in labels.iterdir()) == [f"label00{n}.nii.gz" for n in ("01", "25")]
    assert sorted(p.name for p in (tree / "Pancreas-CT").iterdir()) == ["PANCREAS_0001"]
    label, scan = nib.load(labels / "label0001.nii.gz"), scans("pancreas_ct")[0]
    assert nib.aff2axcodes(label.affine) == ("L", "A", "I")
    np.testing.assert_array_equal(label.affine[:3, 3], 0)
    np.testing.assert_array_equal(load(labels / "label0001.nii.gz")[0], mask(scan.labels, "pancreas"))


def test_abdomenct1k_repeats_its_parents_under_equal_names(native):
    tree = native("abdomenct1k")
    names = {i: sorted(p.name for p in (tree / f"Subtask{i}/TrainImage").iterdir()) for i in (1, 2)}
    assert names[1] == names[2] == [f"train_000{i}_0000.nii.gz" for i in (1, 2, 3)]
    msd07, msd03, kits23 = native("msd07"), native("msd03"), native("kits23")
    depth = scans("kits23")[0].image.shape[2]
    upper = slice(round(0.15 * depth), round(0.9 * depth))
    parents = {
        (1, 1): load(msd07 / "Task07_Pancreas/imagesTr/pancreas_001.nii.gz")[0],
        (1, 2): np.maximum(scans("pancreas_ct")[0].image - 24, -1024),
        (1, 3): load(msd07 / "Task07_Pancreas/imagesTr/pancreas_004.nii.gz")[0],
        (2, 1): load(msd07 / "Task07_Pancreas/imagesTr/pancreas_001.nii.gz")[0],
        (2, 2): load(msd03 / "Task03_Liver/imagesTr/liver_0.nii.gz")[0],
        (2, 3): load(kits23 / "dataset/case_00000/imaging.nii.gz")[0][:, :, upper],
    }
    for (subtask, number), parent in parents.items():
        path = tree / f"Subtask{subtask}/TrainImage/train_{number:04d}_0000.nii.gz"
        label, affine = load(tree / f"Subtask{subtask}/TrainMask/train_{number:04d}.nii.gz")
        np.testing.assert_array_equal(load(path)[0], parent)
        assert set(np.unique(label)) <= {0, 1, 2, 3, 4}
        if 3 in label and number != 2:
            assert on_the_right(label, affine, [1], [3])
    assert 3 not in load(tree / "Subtask1/TrainMask/train_0003.nii.gz")[0]  # a patient without spleen


def test_one_abdomenct1k_header_is_refused_by_simpleitk(native):
    images = native("abdomenct1k") / "Subtask1/TrainImage"
    sitk.ReadImage(str(images / "train_0001_0000.nii.gz"))
    with pytest.raises(RuntimeError, match="orthonormal"):
        sitk.ReadImage(str(images / "train_0002_0000.nii.gz"))


def test_amos_mixes_ct_and_mr_in_one_numbering(native):
    tree = native("amos")
    root = tree / "amos22"
    names = {part.name: sorted(p.name[5:9] for p in part.iterdir()) for part in root.iterdir() if part.is_dir()}
    assert names == {
        **{part: ["0001", "0003", "0507"] for part in ("imagesTr", "labelsTr")},
        **{part: ["0500"] for part in ("imagesVa", "labelsVa")},
        "imagesTs": ["0201"],
    }
    assert (tree / "__MACOSX/amos22/imagesTr/._amos_0001.nii.gz").exists()
    listed = json.loads((root / "dataset.json").read_text())
    assert [len(listed[k]) for k in ("training", "validation", "test", "labels")] == [3, 1, 1, 16]
    assert load(root / "imagesTr/amos_0507.nii.gz")[0].min() >= 0
    assert load(root / "imagesTr/amos_0001.nii.gz")[0].min() < -900
    header = nib.load(root / "labelsTr/amos_0001.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"]), header.get_data_dtype()) == (0, 1, np.uint16)
    (first, affine), (second, _) = (load(root / f"labelsTr/amos_{n}.nii.gz") for n in ("0001", "0003"))
    assert 14 in first
    assert 14 not in second
    assert on_the_right(first, affine, [6], [1])
    assert second.shape[0] > second.shape[1]


def test_word_is_encrypted_and_merges_the_adrenals(native):
    with (
        pytest.raises(RuntimeError, match="password"),
        zipfile.ZipFile(native.archives("word") / "WORD-V0.1.0.zip") as archive,
    ):
        archive.read("WORD-V0.1.0/labelsTr/word_0001.nii.gz")
    root = native("word") / "WORD-V0.1.0"
    assert {part.name: [p.name for p in part.iterdir()] for part in root.iterdir()} == {
        **{part: ["word_0001.nii.gz"] for part in ("imagesTr", "labelsTr")},
        **{part: ["word_0002.nii.gz"] for part in ("imagesVal", "labelsVal")},
        "imagesTs": ["word_0003.nii.gz"],
    }
    path = root / "labelsTr/word_0001.nii.gz"
    assert nib.aff2axcodes(nib.load(path).affine) == ("L", "P", "S")
    (label, affine), scan = load(path), scans("word")[0]
    assert set(np.unique(label)) <= set(range(17))
    assert on_the_right(label, affine, [1], [2])
    assert on_the_right(label, affine, [4, 16], [3, 15])
    adrenals = mask(scan.labels, "right adrenal gland") | mask(scan.labels, "left adrenal gland")
    np.testing.assert_array_equal(label == 12, adrenals)


def ircadb_files(tree: Path, patient: int, kind: str) -> dict[str, bytes]:
    path = tree / f"3Dircadb1/3Dircadb1.{patient}/{kind}.zip"
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def ircadb_volume(tree: Path, patient: int, kind: str, structure: str = "") -> np.ndarray:
    """Voxels of one structure in RAS order, by pydicom and ImagePositionPatient."""
    prefix = f"{kind}/{structure}{'/' if structure else ''}image_"
    files = ircadb_files(tree, patient, kind)
    slices = [pydicom.dcmread(io.BytesIO(data)) for name, data in files.items() if prefix in name]
    slices.sort(key=lambda s: float(s.ImagePositionPatient[2]))
    lps = np.stack([s.pixel_array.T for s in slices], axis=2)
    return lps[::-1, ::-1]


def test_ircadb_zips_in_zips_hold_slices_without_suffix(native, tmp_path):
    tree = native("ircadb")
    files, scan = ircadb_files(tree, 1, "PATIENT_DICOM"), scans("ircadb")[0]
    assert set(files) == {f"PATIENT_DICOM/image_{k}" for k in range(scan.image.shape[2])}
    first = pydicom.dcmread(io.BytesIO(files["PATIENT_DICOM/image_0"]))
    assert first.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert (first.RescaleSlope, first.RescaleIntercept, first.PixelRepresentation) == (1, 0, 1)
    assert (list(first.ImageOrientationPatient), list(first.ImagePositionPatient)) == ([1, 0, 0, 0, 1, 0], [0, 0, 0])
    for name, data in files.items():
        (tmp_path / Path(name).name).write_bytes(data)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_series(tmp_path)).T, scan.image)


def test_ircadb_masks_are_named_as_each_patient_has_them(native):
    tree = native("ircadb")
    folders = {n: {Path(name).parent.name for name in ircadb_files(tree, n, "MASKS_DICOM")} for n in range(1, 6)}
    counts = Counter(name for names in folders.values() for name in names)
    assert counts["liver"] == counts["bone"] == counts["skin"] == 5
    assert "livertumor01" in folders[1]
    assert "livertumors" in folders[3]
    assert folders[3] & {"kidneys", "leftkidney", "rightkidney"} == {"kidneys"}
    assert "gallbladder" not in folders[1]  # there, but not annotated
    assert not any("tumor" in name for name in folders[5])
    for organ in ("liver", "spleen", "leftkidney", "rightkidney", "gallbladder", "stomach", "pancreas"):
        assert counts[organ] >= 2
    assert all("MASKS_DICOM/MASKS_DICOM/" in name for name in ircadb_files(tree, 2, "MASKS_DICOM"))


def test_ircadb_masks_lie_where_the_organs_are(native):
    tree, scan = native("ircadb"), scans("ircadb")[0]
    masks = {n: ircadb_volume(tree, 1, "MASKS_DICOM", n) for n in ("liver", "spleen", "liverkyst", "skin", "rightlung")}
    assert {tuple(np.unique(m)) for m in masks.values()} == {(0, 255)}
    np.testing.assert_array_equal(masks["liver"] > 0, mask(scan.labels, "liver"))  # tumours included
    np.testing.assert_array_equal(masks["spleen"] > 0, mask(scan.labels, "spleen"))
    middle = {n: np.argwhere(m)[:, 0].mean() for n, m in masks.items()}
    assert middle["spleen"] < middle["skin"] < min(middle["liver"], middle["rightlung"])
    cyst = masks["liverkyst"] > 0
    assert not (cyst & mask(scan.labels, "liver tumor")).any()
    assert abs(scan.image[cyst].mean() - 6) < 5
