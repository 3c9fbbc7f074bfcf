"""Cases of an own dataset: found by their patterns, read as they are, and every misfit told with what to do."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from nibabel.orientations import apply_orientation as turned
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from universal_diffusion.datasets.own.cases import files, find
from universal_diffusion.datasets.own.description import read
from universal_diffusion.datasets.readers import reader
from universal_diffusion.errors import InputError
from universal_diffusion.targets import mask

AFFINE = np.diag([4.0, 4.0, 5.0, 1.0])
LABELS = {"labels": {1: "liver", 2: ["liver tumor", "liver"], 3: "spleen"}, "not_a_target": [9]}
STRUCTURES = {
    "images": "{case}/ct.nii.gz",
    "masks": "{case}/seg/{structure}.nii.gz",
    "labels": {"Liver": "liver", "tumour": ["liver tumor", "liver"], "spleen": "spleen"},
    "not_a_target": ["bone"],
}


def scan(seed: int = 0) -> np.ndarray:
    """Noise around 40 HU in air: (12, 10, 6) int16."""
    image = np.full((12, 10, 6), -1000, np.int16)
    image[2:10, 2:8] = np.random.default_rng(seed).integers(0, 80, (8, 6, 6))
    return image


def codes(*values: int) -> np.ndarray:
    """A label map with one plane of each value."""
    labels = np.zeros((12, 10, 6), np.uint8)
    for x, value in enumerate(values, start=3):
        labels[x, 3:6, 2:5] = value
    return labels


@pytest.fixture
def own(tmp_path, write_nifti):
    """Writes a dataset: a description and (path, array) files; returns its folder."""

    def write(description: dict, *written: tuple[str, np.ndarray], affine=AFFINE) -> Path:
        (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(description))
        for name, array in written:
            write_nifti(tmp_path / name, array, affine)
        return tmp_path

    return write


def pair(case: str, *values: int) -> list[tuple[str, np.ndarray]]:
    return [(f"images/{case}.nii.gz", scan(len(case))), (f"masks/{case}.nii.gz", codes(*values))]


def test_a_label_map_becomes_targets(own):
    native = reader("mine", own(LABELS, *pair("p10", 1, 2, 9), *pair("p2", 3)))
    assert native.cases() == ("p2", "p10")
    case = native.read("p10")
    assert (case.source, case.case, case.annotated) == ("mine", "p10", ("spleen", "liver", "liver tumor"))
    assert np.array_equal(case.image, scan(3))
    assert np.array_equal(mask(case.labels, "liver"), np.isin(codes(1, 2, 9), (1, 2)))
    assert np.array_equal(mask(case.labels, "liver tumor"), codes(1, 2, 9) == 2)
    assert not mask(case.labels, "spleen").any()


def test_merged_kidneys_are_told_apart(own):
    image, labels = np.full((60, 40, 12), -1000, np.int16), np.zeros((60, 40, 12), np.uint8)
    image[5:55, 5:35] = 40
    image[27:33, 8:14] = 700
    labels[12:18, 10:15], labels[40:50, 10:15] = 1, 1
    folder = own({"labels": {1: "kidneys"}}, ("images/a.nii.gz", image), ("masks/a.nii.gz", labels))
    case = reader("mine", folder).read("a")
    assert np.array_equal(np.flatnonzero(mask(case.labels, "right kidney").any(axis=(1, 2))), np.arange(40, 50))
    assert np.array_equal(np.flatnonzero(mask(case.labels, "left kidney").any(axis=(1, 2))), np.arange(12, 18))


def test_a_mask_in_another_axis_order_is_turned_to_the_scan(own, write_nifti):
    folder, labels = own(LABELS, *pair("a", 1)), codes(1, 3)
    change = ornt_transform(io_orientation(AFFINE), axcodes2ornt("PSL"))
    write_nifti(folder / "masks/a.nii.gz", turned(labels, change), AFFINE @ inv_ornt_aff(change, labels.shape))
    assert np.array_equal(mask(reader("mine", folder).read("a").labels, "spleen"), labels == 3)


def test_dicom_folders_are_scans(own, write_series):
    folder = own({"images": "ct/{case}", "labels": {1: "liver"}})
    image = scan().astype(float)
    image -= image % 2  # what the slope of the file can hold
    write_series(folder / "ct/p1", np.moveaxis(image, (0, 1, 2), (2, 1, 0)))
    affine = np.diag([-2.5, -1.5, 3.0, 1.0])
    own({"images": "ct/{case}", "labels": {1: "liver"}}, ("masks/p1.nii.gz", codes(1)), affine=affine)
    case = reader("mine", folder).read("p1")
    assert np.array_equal(case.image, image)
    assert np.array_equal(mask(case.labels, "liver"), codes(1) > 0)
    assert len(files(folder)) == 1 + 6 + 1


def test_a_mask_per_structure_annotates_what_has_a_file(own):
    seg = {
        "p1": {"liver": codes(1), "tumour": codes(0, 7), "bone": codes(3)},
        "p2": {"spleen": codes(0), "tumour": codes(1)},
    }
    masks = [(f"{case}/seg/{name}.nii.gz", array) for case, group in seg.items() for name, array in group.items()]
    native = reader("mine", own(STRUCTURES, ("p1/ct.nii.gz", scan()), ("p2/ct.nii.gz", scan(1)), *masks))
    one, two = native.read("p1"), native.read("p2")
    assert one.annotated == ("liver", "liver tumor")
    assert mask(one.labels, "liver").sum() == 2 * mask(one.labels, "liver tumor").sum() == 18
    assert two.annotated == ("spleen", "liver tumor")
    assert not mask(two.labels, "spleen").any()


def test_a_case_says_what_was_not_looked_for(own):
    description = LABELS | {"not_annotated": {"b": ["spleen"]}}
    folder = own(description, *pair("a", 1, 3), *pair("b", 1))
    native = reader("mine", folder)
    assert "spleen" in native.read("a").annotated
    assert native.read("b").annotated == ("liver", "liver tumor")
    own(description, *pair("b", 1, 3))
    with pytest.raises(InputError, match=r"b\.nii\.gz: holds label 3 \(spleen\), which not_annotated says"):
        native.read("b")


def test_scans_and_masks_of_one_folder_are_told_apart(own):
    description = {"images": "{case}.nii.gz", "masks": "{case}_seg.nii.gz", "labels": {1: "liver"}}
    folder = own(description, ("a.nii.gz", scan()), ("a_seg.nii.gz", codes(1)), ("other/x.nii", scan()))
    found = find(folder, read(folder))
    assert list(found.cases) == ["a"]
    assert [str(path) for path in found.unused] == ["other/x.nii"]
    assert [str(path) for path in files(folder)] == ["dataset.yaml", "a.nii.gz", "a_seg.nii.gz"]
    own({"images": "{case}_ct.nii.gz", "masks": "{case}.nii.gz", "labels": {1: "liver"}}, ("a_ct.nii.gz", scan()))
    assert list(find(folder, read(folder)).cases) == ["a"]


def test_files_without_their_other_half_are_all_named(own):
    folder = own(LABELS, *pair("a", 1), *pair("b", 1), *pair("c", 1))
    (folder / "masks/a.nii.gz").unlink()
    (folder / "images/b.nii.gz").unlink()
    texts = [str(problem) for problem in find(folder, read(folder)).problems]
    assert texts[0].endswith("a.nii.gz: has no mask at masks/a.nii.gz; add the mask, or move the scan away")
    assert texts[1].endswith("b.nii.gz: has no scan at images/b.nii.gz; add the scan, or move the mask away")
    for refused in (lambda: reader("mine", folder), lambda: files(folder)):
        with pytest.raises(InputError, match=r"has no mask at .* \(1 more: universal-diffusion check-dataset"):
            refused()


def test_a_pattern_that_nothing_matches_shows_what_is_there(own):
    folder = own(LABELS, *[(f"images/{number}.nii", scan()) for number in range(7)])
    texts = [str(problem) for problem in find(folder, read(folder)).problems]
    assert "holds nothing at images/{case}.nii.gz, but images/0.nii, images/1.nii, " in texts[0]
    assert "images/4.nii and 2 more; correct `images` in dataset.yaml, or move the files" in texts[0]
    assert "holds nothing at masks/{case}.nii.gz" in texts[1]
    empty = folder / "empty"
    empty.mkdir()
    assert "but no file at all" in str(find(empty, read(folder)).problems[0])


def test_a_case_of_not_annotated_must_exist(own):
    folder = own(LABELS | {"not_annotated": {"x": ["spleen"]}}, *pair("a", 1))
    with pytest.raises(InputError, match=r"names 'x' under not_annotated, which is no case; take one of a"):
        reader("mine", folder)


@pytest.mark.parametrize(
    ("labels", "affine", "told"),
    [
        (codes(1, 7, 7, 8), AFFINE, r"holds label 7 in 18 voxels, 8 in 9 voxels; .* knows 0, 1, 2, 3, 9; add `7: <tar"),
        (codes(1).astype(np.int16) - 1, AFFINE, r"holds the negative label -1 in \d+ voxels; give codes from 1 on"),
        (codes(1) * 0.5, AFFINE, r"label values that are no whole numbers"),
        (
            codes(0),
            AFFINE,
            r"is empty: not one voxel is labelled; draw it, .*, or confirm it by `a: \[\]` under not_annot",
        ),
        (codes(1)[:-1], AFFINE, r"has shape 11 x 10 x 6, its image 12 x 10 x 6"),
        (codes(1), np.diag([4.0, 4.0, 6.0, 1.0]), r"lies up to 5\.00 mm away from its image"),
        (codes(1), np.diag([-4.0, 4.0, 5.0, 1.0]), r"mm away from its image"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(own, write_nifti, labels, affine, told):
    folder = own(LABELS, *pair("a", 1))
    write_nifti(folder / "masks/a.nii.gz", labels, affine)
    with pytest.raises(InputError, match=rf"masks/a\.nii\.gz: {told}|{told}") as caught:
        reader("mine", folder).read("a")
    assert caught.value.where.endswith("masks/a.nii.gz")


def test_an_empty_mask_of_a_tumour_or_a_confirmed_one_is_absence(own):
    for description in ({"labels": {1: "lung tumor"}}, LABELS | {"not_annotated": {"a": []}}):
        folder = own(description, *pair("a", 0))
        case = reader("mine", folder).read("a")
        assert not case.labels.any()
        assert case.annotated == read(folder).entry("mine").annotated


def test_a_link_to_a_file_that_is_gone_is_told(own):
    folder = own(LABELS, *pair("a", 1))
    (folder / "images/a.nii.gz").rename(folder / "away")
    (folder / "images/a.nii.gz").symlink_to(folder / "nowhere")
    with pytest.raises(InputError, match=r"images/a\.nii\.gz: is a link to a file that is gone"):
        reader("mine", folder)


def test_a_folder_that_holds_itself_is_walked_once(own):
    folder = own(LABELS, *pair("a", 1))
    (folder / "images/again").symlink_to(folder)
    assert reader("mine", folder).cases() == ("a",)
    assert len(files(folder)) == 3


@pytest.mark.parametrize(
    ("name", "array", "told"),
    [
        (
            "spine",
            codes(1),
            r"spine\.nii\.gz: is of a structure that .* does not name; add `spine: <target>` .*not_a_t",
        ),
        ("liver", codes(1, 2), r"liver\.nii\.gz: holds several values, expected 0 and one other"),
        ("bone", codes(1), r"seg: holds no mask of any target"),
    ],
)
def test_a_structure_that_does_not_fit_is_refused(own, name, array, told):
    folder = own(STRUCTURES, ("p1/ct.nii.gz", scan()), (f"p1/seg/{name}.nii.gz", array))
    with pytest.raises(InputError, match=told):
        reader("mine", folder).read("p1")


def test_hidden_files_are_passed_over(own):
    folder = own(LABELS, *pair("a", 1), ("images/._b.nii.gz", scan()), ("__MACOSX/images/c.nii.gz", scan()))
    assert reader("mine", folder).cases() == ("a",)


@pytest.mark.real_data
def test_a_real_folder_of_masks_reads_as_the_catalogue_reads_it(tmp_path, real_data):
    folder = real_data / "totalsegmentator" / "s0009"
    if not folder.is_dir():
        pytest.skip("TotalSegmentator's s0009 is not here")
    (tmp_path / "s0009").symlink_to(folder)
    wanted = {"liver": "liver", "kidney_left": "left kidney", "small_bowel": "intestine", "prostate": "prostate"}
    names = {path.name.removesuffix(".nii.gz") for path in (folder / "segmentations").glob("*.nii.gz")}
    description = {
        "images": "{case}/ct.nii.gz",
        "masks": "{case}/segmentations/{structure}.nii.gz",
        "labels": wanted,
        "not_a_target": sorted(names - set(wanted)),
    }
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(description))
    mine, theirs = reader("mine", tmp_path).read("s0009"), reader("totalsegmentator", tmp_path).read("s0009")
    assert mine.annotated == ("left kidney", "liver", "intestine", "prostate")
    assert mask(mine.labels, "liver").any()
    for name in mine.annotated:
        assert np.array_equal(mask(mine.labels, name), mask(theirs.labels, name))
