"""The split: groups are never divided, tests never trained on, and every source is validated."""

import sys
from collections import Counter, defaultdict

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from universal_diffusion.errors import InputError
from universal_diffusion.preparation import split as step
from universal_diffusion.preparation.split import leakage, split
from universal_diffusion.preparation.splits import SplitRow, read_splits, volumes_of, write_splits

SCANS = st.dictionaries(
    st.tuples(st.sampled_from(["amos", "msd03", "msd07", "word", "ircadb"]), st.integers(0, 60).map(str)),
    st.integers(0, 40).map(lambda number: f"print{number}"),
    min_size=1,
)


@given(SCANS, st.integers(0, 5))
def test_groups_stay_together_and_tests_out_of_training(scans, seed):
    parts = split(scans, ["ircadb"], 0.1, seed)
    assert set(parts) == set(scans)
    tested = {digits for (source, _), digits in scans.items() if source == "ircadb"}
    by_group = defaultdict(set)
    for scan, (part, reason) in parts.items():
        assert (part == "test") == (scan[0] == "ircadb")
        if scan[0] != "ircadb":
            assert (part == "excluded") == (scans[scan] in tested)
            by_group[scans[scan]].add(part)
        assert bool(reason) == (part == "excluded")
    assert all(len(group) == 1 for group in by_group.values())
    for source in {source for source, _ in scans} - {"ircadb"}:
        used = [parts[scan][0] for scan in scans if scan[0] == source]
        assert "validation" not in used or "train" in used


@given(st.dictionaries(st.sampled_from(["msd03", "msd06", "msd07", "amos"]), st.integers(1, 60), min_size=1))
def test_without_overlap_every_source_gives_a_tenth_and_at_least_one_of_two(sizes):
    scans = {(source, str(i)): f"{source}{i}" for source, size in sizes.items() for i in range(size)}
    counts = Counter((scan[0], part) for scan, (part, _) in split(scans, [], 0.1, 7).items())
    for source, size in sizes.items():
        assert counts[source, "validation"] == max(round(size / 10), min(1, size - 1))


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_the_cases():
    scans = {("amos", str(i)): str(i) for i in range(50)}
    assert split(scans, [], 0.1, 1) == split(dict(reversed(scans.items())), [], 0.1, 1)
    assert split(scans, [], 0.1, 1) != split(scans, [], 0.1, 2)


def test_a_scan_of_two_training_sources_is_validated_once():
    scans = {(source, str(i)): str(i) for source in ("abdomenct1k", "msd07") for i in range(100)}
    counts = Counter(part for part, _ in split(scans, [], 0.1, 1).values())
    assert counts == {"train": 180, "validation": 20}


def test_leaks_are_excluded_with_the_test_case_named():
    scans = {("ircadb", "3Dircadb1.10"): "x", ("msd03", "liver_37"): "x", ("abdomenct1k", "c"): "x", ("amos", "1"): "y"}
    parts = split(scans, ["ircadb"], 0.1, 1)
    assert parts["msd03", "liver_37"] == ("excluded", "same scan as test case ircadb 3Dircadb1.10")
    table = leakage(scans, parts)
    assert len(table) == 3
    assert set(table.fingerprint) == {"x"}
    assert table.iloc[0].tolist() == ["abdomenct1k", "c", "excluded", "ircadb", "3Dircadb1.10", "test", "x"]


def run(tmp_path, monkeypatch, tests=("ircadb",)):
    flags = ["--validation-fraction", "0.5", "--study-seed", "1", "--inventory", tmp_path / "inventory.csv"]
    flags += ["--output-splits", tmp_path / "splits.csv", "--output-leakage", tmp_path / "leakage.csv"]
    monkeypatch.setattr(sys, "argv", ["split", "--tests", *tests, *map(str, flags)])
    step.main()


def test_step_writes_sorted_deterministic_tables(tmp_path, monkeypatch):
    rows = [("msd03", "msd", f"liver_{i}", f"print{i}") for i in (10, 2, 1)] + [("ircadb", "ircadb", "7", "print1")]
    table = pd.DataFrame(rows, columns=["source", "dataset", "case", "fingerprint"])
    table.to_csv(tmp_path / "inventory.csv", index=False)
    run(tmp_path, monkeypatch)
    first = (tmp_path / "splits.csv").read_bytes(), (tmp_path / "leakage.csv").read_bytes()
    table.iloc[::-1].to_csv(tmp_path / "inventory.csv", index=False)
    run(tmp_path, monkeypatch)
    assert first == ((tmp_path / "splits.csv").read_bytes(), (tmp_path / "leakage.csv").read_bytes())
    splits = read_splits(tmp_path / "splits.csv")
    assert [row.case for row in splits] == ["7", "liver_1", "liver_2", "liver_10"]
    assert splits[1] == SplitRow("msd03", "msd", "liver_1", "print1", "excluded", "same scan as test case ircadb 7")
    assert first[1].decode().splitlines()[1:] == ["ircadb,7,test,msd03,liver_1,excluded,print1"]


def test_step_refuses_a_test_source_without_cases(tmp_path, monkeypatch, capsys):
    pd.DataFrame([("msd03", "msd", "1", "x")], columns=["source", "dataset", "case", "fingerprint"]).to_csv(
        tmp_path / "inventory.csv", index=False
    )
    with pytest.raises(SystemExit):
        run(tmp_path, monkeypatch)
    assert "no case of test source ircadb" in capsys.readouterr().err


def test_tables_that_are_no_splits_are_refused(tmp_path):
    write_splits(tmp_path / "splits.csv", [SplitRow("amos", "amos", "1", "g", "training", "")])
    with pytest.raises(InputError, match="part 'training'"):
        read_splits(tmp_path / "splits.csv")
    (tmp_path / "splits.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no table of splits"):
        read_splits(tmp_path / "splits.csv")
    with pytest.raises(InputError, match="amos 1: is in the splits but has no volume"):
        volumes_of([tmp_path], [SplitRow("amos", "amos", "1", "g", "train", "")], ["train"])
