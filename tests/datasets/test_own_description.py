"""`dataset.yaml`: what a description means, and that whatever else is in the file is told in one line."""

import tempfile
import time
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from universal_diffusion.datasets.catalogue import MERGED, Entry, dataset_of, entry, sources
from universal_diffusion.datasets.own.description import KEYS, Description, parse, read
from universal_diffusion.datasets.own.patterns import filled, names_by, pattern_problem
from universal_diffusion.datasets.own.source import check_name, entry_of
from universal_diffusion.errors import InputError
from universal_diffusion.targets import all_targets

NAMES = [known.name for known in all_targets()] + list(MERGED)


@pytest.fixture
def described(tmp_path):
    """Writes a description, as text or as a table, and returns its folder."""

    def write(content: object) -> Path:
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        (tmp_path / "dataset.yaml").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_labels_are_enough(described):
    description = read(described("labels: {1: Liver, 2: [liver_tumor, liver], 3: kidneys}\nnot_a_target: [9]"))
    assert (description.images, description.masks) == ("images/{case}.nii.gz", "masks/{case}.nii.gz")
    known = description.entry("my_hospital")
    assert (known.key, known.dataset, known.title, known.cases) == ("my_hospital", "my_hospital", "my_hospital", None)
    assert known.labels == {1: ("liver",), 2: ("liver tumor", "liver"), 3: ("kidneys",), 9: ()}
    assert known.annotated == ("right kidney", "left kidney", "liver", "liver tumor")
    assert known.licence == "not stated"


def test_structures_are_compared_by_their_whole_name(described):
    content = {
        "masks": "{case}/seg/{structure}.nii.gz",
        "labels": {"Leber": "liver", "tumor.1": ["liver tumor", "liver"]},
        "not_a_target": ["bone"],
    }
    known = read(described(content)).entry("x")
    assert known.structure_targets("leber") == ("liver",)
    assert known.structure_targets("tumor.1") == ("liver tumor", "liver")
    assert known.structure_targets("tumorx1") is None
    assert known.structure_targets("bone") == ()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("labels: {1: liver}\ntitel: x", r"'titel': is not a known key; did you mean title\? allowed: title, licence"),
        ("labels: {1: livr}", r"labels, 1: names 'livr', which is none of the 29 .*; nearest: liver"),
        ("labels: {1: kidney}", r"nearest: kidneys"),
        ("title: x", r"labels: is missing; give a line per label, e\.g\. `1: liver`"),
        ("labels: [liver]", r"labels: is \['liver'\]"),
        ("labels: {0: liver}", r"labels, 0: is no label; .*\(0 is background\)"),
        ("labels: {-1: liver}", r"labels, -1: is no label"),
        ("labels: {70000: liver}", r"labels, 70000: is no label; give a whole number from 1 to 65535"),
        ("labels: {yes: liver}", r"labels, True: is no label"),
        ("labels: {liver: liver}", r"labels, 'liver': is no label; give a whole number"),
        ("masks: 'm/{case}/{structure}.nii'\nlabels: {1: liver}", r"labels, 1: is no label; give the name of a struct"),
        ("labels: {1: }", r"labels, 1: is empty; .*not_a_target"),
        ("labels: {1: liver, 1: spleen}", r"no readable YAML \(line 1: 1 stands twice\)"),
        ("labels: {1: liver\n", r"no readable YAML \(line 2: "),
        ("labels: {1: liver, 2: liver tumor}", r"labels, 2: is liver tumor alone, .*; write \[liver tumor, liver\]"),
        ("labels: {1: right kidney, 2: kidney cyst}", r"labels, 2: .*; write \[kidney cyst, right kidney\]"),
        ("masks: '{case}/{structure}.nii'\nlabels: {A: liver, a: spleen}", r"'a': stands twice, in upper and lower"),
        ("labels: {1: kidneys, 2: kidney cyst}", r"labels, 2: .*; write \[kidney cyst, kidneys\]"),
        ("labels: {1: [liver tumor, liver]}", r"labels, 1: lies in liver, which no label shows whole; .*own, or write"),
        ("labels: {1: liver}\nnot_a_target: [1]", r"not_a_target, 1: stands under `labels` too"),
        ("labels: {1: liver}\nnot_a_target: 3", r"not_a_target: is 3; give a list of labels"),
        ("labels: {1: liver}\nlicence: 4.0", r"licence: is 4\.0; give one line of text, in quotes"),
        ("labels: {1: liver}\nimages: 'ct/*.nii.gz'", r"images: is 'ct/\*\.nii\.gz', which has no \{case\}"),
        ("labels: {1: liver}\nmasks: 'images/{case}.nii.gz'", r"masks: are the same files as `images`"),
        ("labels: {1: liver}\nnot_annotated: {p1: [spleen]}", r"not_annotated, 'p1': must leave some .* of liver"),
        ("labels: {1: liver, 2: spleen}\nnot_annotated: {7: spleen}", r"not_annotated, 7: is no text; .*in quotes"),
        ("- liver", r"is \['liver'\], not a list of keys; give at least `labels`"),
        ("", r"is None, not a list of keys"),
        ("labels: {1: \x07}", r"no readable YAML"),
    ],
)
def test_a_wrong_description_is_told_in_one_line(described, content, told):
    with pytest.raises(InputError, match=told) as caught:
        read(described(content))
    assert "dataset.yaml" in caught.value.where
    assert len(str(caught.value).splitlines()) == 1


def test_all_problems_are_found_and_the_first_counts_the_others(described):
    folder = described("titel: x\nlabels: {1: livr, 0: spleen}\nimages: '{cases}.nii'")
    _, problems = parse(folder)
    assert len(problems) == 4
    with pytest.raises(InputError, match=r"\(3 more: universal-diffusion check-dataset "):
        read(folder)


def test_without_a_description_the_guide_is_named(tmp_path):
    with pytest.raises(InputError, match=r"holds no dataset\.yaml; write one: docs/own-dataset\.md"):
        read(tmp_path / "nowhere")
    (tmp_path / "dataset.yaml").write_bytes(b"labels: {1: \xff}")
    with pytest.raises(InputError, match="no readable YAML"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("key", "pattern", "told"),
    [
        ("images", "scan.nii.gz", "no {case}"),
        ("images", "{case}/{phase}.nii.gz", "other braces"),
        ("images", "{case/ct.nii.gz{case}", "other braces"),
        ("images", "{case}/*.nii.gz", "wildcard"),
        ("images", "../{case}.nii.gz", "below the folder"),
        ("images", "/data/{case}.nii.gz", "below the folder"),
        ("images", "images\\{case}.nii.gz", "below the folder"),
        ("images", "{case}/{structure}.nii.gz", "only masks"),
        ("images", "{case}.zip", "neither a NIfTI file"),
        ("images", "{case}/0001.dcm", "neither a NIfTI file"),
        ("masks", "{case}.nrrd", "no NIfTI file"),
        ("masks", "{case}{structure}.nii.gz", "cannot be told apart"),
        ("masks", "{case}/{structure}/{structure}.nii.gz", "cannot be told apart"),
    ],
)
def test_a_bad_pattern_is_told(key, pattern, told):
    assert told in pattern_problem(key, pattern)


@pytest.mark.parametrize("pattern", ["{case}", "images/{case}", "./{case}/ct.nii", "{case}/{case}_ct.nii.gz"])
def test_good_patterns_pass(pattern):
    assert pattern_problem("images", pattern) is None


@given(st.from_regex(r"[a-z0-9_. -]{1,12}", fullmatch=True))
def test_a_pattern_finds_the_case_that_fills_it(case):
    for pattern in ("images/{case}.nii.gz", "{case}/{case}_ct.nii", "a.b/{case}_0000.nii.gz"):
        assert names_by(pattern).fullmatch(filled(pattern, case))["case"] == case
    assert names_by("{case}/{case}_ct.nii").fullmatch(f"{case}/x{case}_ct.nii") is None


def test_names_that_no_source_may_have():
    for wrong in ("My_Hospital", "1st", "a-b", "", "a/b", "ab "):
        with pytest.raises(InputError, match="is no name for a source"):
            check_name(wrong, "here")
    for taken in ("msd", "btcv"):
        with pytest.raises(InputError, match=f"here: is the name of a dataset .*; take another, e.g. my_{taken}"):
            check_name(taken, "here")
    check_name("my_hospital", "here")


def test_the_catalogue_comes_first_and_own_sources_are_datasets(described):
    folder = described("labels: {1: liver}")
    assert entry_of("msd03", folder) == entry("msd03")
    assert entry_of("my_hospital", folder).annotated == ("liver",)
    with pytest.raises(InputError, match=r"not in the dataset catalogue; nearest: msd03.*dataset\.yaml"):
        entry_of("mds03", folder / "nowhere")
    assert dataset_of("msd03") == "msd"
    assert dataset_of("my_hospital") == "my_hospital"
    assert "msd03" in sources()


@pytest.mark.parametrize("key", ["labels", "title", "not_a_target", "not_annotated"])
def test_a_bomb_of_aliases_is_told_at_once(described, key):
    """Forty million items in a file of some 300 characters, of which a message shows the first few."""
    levels = "".join(f"{own}: &{own} [{','.join([f'*{inner}'] * 9)}]\n" for inner, own in pairwise("abcdefgh"))
    folder = described(f"a: &a [{','.join('x' * 9)}]\n{levels}{key}: *h\n")
    began = time.perf_counter()
    description, problems = parse(folder)
    assert time.perf_counter() - began < 1
    assert description is None
    assert any(f", {key}" in problem.where and "..." in str(problem) for problem in problems)
    assert all(len(str(problem)) < 1000 for problem in problems)


labels = st.dictionaries(
    st.one_of(st.integers(-2, 9), st.sampled_from(["liver", "bone", "", "a b"]), st.booleans()),
    st.one_of(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3), st.none(), st.text(max_size=5)),
    max_size=4,
)
plain = st.one_of(st.none(), st.integers(), st.floats(), st.booleans(), st.text(max_size=8))
anything = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3))
patterns = st.sampled_from(["{case}.nii", "m/{case}/{structure}.nii.gz", "{x}", "a/{case}", "{case}{case}.nii", "*"])
content = st.one_of(
    st.text(),
    anything.map(yaml.safe_dump),
    st.fixed_dictionaries(
        {"labels": labels},
        optional={
            "title": plain,
            "images": patterns,
            "masks": patterns,
            "not_a_target": st.one_of(plain, st.lists(st.integers(0, 9) | st.text(max_size=4), max_size=3)),
            "not_annotated": st.one_of(plain, st.dictionaries(plain, st.lists(st.sampled_from(NAMES)), max_size=2)),
            "other": plain,
        },
    ).map(yaml.safe_dump),
    st.lists(
        st.sampled_from([*KEYS, ": ", "{", "}", "[", "\n", "&a", "*a", "!!int", "<<", "1", "liver", "'", "? "])
    ).map("".join),
)


@settings(max_examples=300)
@given(content)
def test_whatever_the_file_holds_is_an_entry_or_one_line(text):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "dataset.yaml").write_text(text, encoding="utf-8", errors="replace")
        description, problems = parse(Path(folder))
    for problem in problems:
        assert str(problem).isprintable()
    assert (description is None) == bool(problems)
    if isinstance(description, Description):
        known = description.entry("x")
        assert isinstance(known, Entry)
        assert known.annotated
        assert set(known.annotated) <= {target.name for target in all_targets()}
