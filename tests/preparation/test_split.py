"""The split: groups are never divided, tests never trained on, and every source is validated."""

import sys
from collections import Counter, defaultdict

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from universal_diffusion.checksums import write_with_hash
from universal_diffusion.errors import InputError
from universal_diffusion.preparation import split as step
from universal_diffusion.preparation.leakage import COLUMNS, REPEATS
from universal_diffusion.preparation.split import split
from universal_diffusion.preparation.splits import SplitRow, read_splits, volumes_of, write_splits

SCANS = st.dictionaries(
    st.tuples(st.sampled_from(["amos", "msd03", "msd07", "word", "ircadb"]), st.integers(0, 60).map(str)),
    st.integers(0, 40).map(lambda number: f"print{number}"),
    min_size=1,
)


@given(SCANS, st.integers(0, 5))
def test_groups_stay_together_and_tests_out_of_training(scans, seed):
    parts = split(scans, ["ircadb"], 0.1, seed, keep_leakage=False)
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
    counts = Counter((scan[0], part) for scan, (part, _) in split(scans, [], 0.1, 7, False).items())
    for source, size in sizes.items():
        assert counts[source, "validation"] == max(round(size / 10), min(1, size - 1))


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_the_cases():
    scans = {("amos", str(i)): str(i) for i in range(50)}
    assert split(scans, [], 0.1, 1, False) == split(dict(reversed(scans.items())), [], 0.1, 1, False)
    assert split(scans, [], 0.1, 1, False) != split(scans, [], 0.1, 2, False)


def test_a_scan_of_two_training_sources_is_validated_once():
    scans = {(source, str(i)): str(i) for source in ("abdomenct1k", "msd07") for i in range(100)}
    counts = Counter(part for part, _ in split(scans, [], 0.1, 1, False).values())
    assert counts == {"train": 180, "validation": 20}


def test_leaks_are_excluded_with_the_test_case_named():
    scans = {("ircadb", "3Dircadb1.10"): "x", ("msd03", "liver_37"): "x", ("abdomenct1k", "c"): "x", ("amos", "1"): "y"}
    parts = split(scans, ["ircadb"], 0.1, 1, keep_leakage=False)
    assert parts["msd03", "liver_37"] == ("excluded", "same patient as test case ircadb 3Dircadb1.10")
    kept = split(scans, ["ircadb"], 0.1, 1, keep_leakage=True)
    assert kept["msd03", "liver_37"] == ("train", "same patient as test case ircadb 3Dircadb1.10, kept")


@given(SCANS, st.integers(0, 5))
def test_keeping_leakage_trains_on_what_is_excluded_and_changes_nothing_else(scans, seed):
    dropped, kept = (split(scans, ["ircadb"], 0.1, seed, keep_leakage) for keep_leakage in (False, True))
    for scan, (part, _) in dropped.items():
        assert kept[scan][0] == {"excluded": "train"}.get(part, part)
        assert bool(kept[scan][1]) == (part == "excluded")


def run(tmp_path, monkeypatch, tests=("ircadb",), leakage="drop"):
    flags = ["--validation-fraction", "0.5", "--study-seed", "1", "--inventory", tmp_path / "inventory.csv"]
    flags += ["--repeats", tmp_path / "repeats.csv", "--leakage", leakage]
    flags += ["--output-splits", tmp_path / "splits.csv", "--output-leakage", tmp_path / "leakage.csv"]
    monkeypatch.setattr(sys, "argv", ["split", "--tests", *tests, *map(str, flags)])
    step.main()


def tables(tmp_path, cases: list[tuple], copies: list[tuple], order: int = 0) -> None:
    """An inventory, shuffled, and the pairs of copies in it."""
    inventory = pd.DataFrame(cases, columns=["source", "dataset", "case", "fingerprint"])
    inventory.sample(frac=1, random_state=order).to_csv(tmp_path / "inventory.csv", index=False)
    pd.DataFrame(copies, columns=list(REPEATS)).to_csv(tmp_path / "repeats.csv", index=False)


CASES = [("msd03", "msd", f"liver_{i}", f"print{i}") for i in (10, 2, 1)] + [("ircadb", "ircadb", "7", "print7")]
COPIES = [("ircadb", "7", "msd03", "liver_1", 60, 129, 60, 24, True, False)]


def test_step_writes_sorted_deterministic_tables(tmp_path, monkeypatch):
    written = set()
    for order in range(3):
        tables(tmp_path, CASES, COPIES, order)
        run(tmp_path, monkeypatch)
        written.add(((tmp_path / "splits.csv").read_bytes(), (tmp_path / "leakage.csv").read_bytes()))
    ((_, audit),) = written
    splits = read_splits(tmp_path / "splits.csv")
    assert [row.case for row in splits] == ["7", "liver_1", "liver_2", "liver_10"]
    reason = "same patient as test case ircadb 7"
    assert splits[1] == SplitRow("msd03", "msd", "liver_1", "print7", "excluded", reason)
    assert audit.decode().splitlines() == [
        ",".join(COLUMNS),
        'print7,ircadb,7,test,msd03,liver_1,60,129,"cropped, offset +24 HU",False,',
        f'print7,msd03,liver_1,excluded,ircadb,7,60,60,"cropped, offset -24 HU",True,{reason}',
    ]
    run(tmp_path, monkeypatch, leakage="keep")
    assert read_splits(tmp_path / "splits.csv")[1].part == "train"
    last = (tmp_path / "leakage.csv").read_text().splitlines()[-1]
    assert last == f'print7,msd03,liver_1,train,ircadb,7,60,60,"cropped, offset -24 HU",False,"{reason}, kept"'


def test_step_refuses_copies_that_the_inventory_does_not_list(tmp_path, monkeypatch, capsys):
    tables(tmp_path, CASES[1:], [("ircadb", "7", "msd03", "liver_10", 60, 129, 60, 24, True, False)])
    with pytest.raises(SystemExit):
        run(tmp_path, monkeypatch)
    assert "repeats.csv: names msd03 liver_10, which the inventory does not" in capsys.readouterr().err


def test_step_refuses_a_test_source_without_cases(tmp_path, monkeypatch, capsys):
    tables(tmp_path, CASES[:1], [])
    with pytest.raises(SystemExit):
        run(tmp_path, monkeypatch)
    assert "no case of test source ircadb" in capsys.readouterr().err


def test_tables_that_are_no_splits_are_refused(tmp_path):
    write_splits(tmp_path / "splits.csv", [SplitRow("amos", "amos", "1", "g", "training", "")])
    with pytest.raises(InputError, match="part 'training'"):
        read_splits(tmp_path / "splits.csv")
    write_with_hash(tmp_path / "splits.csv", "a,b\n1,2\n")
    with pytest.raises(InputError, match="no table of splits"):
        read_splits(tmp_path / "splits.csv")
    with pytest.raises(InputError, match="amos 1: is in the splits but has no volume"):
        volumes_of([tmp_path], [SplitRow("amos", "amos", "1", "g", "train", "")], ["train"])
