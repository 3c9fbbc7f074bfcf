"""Patient groups, and the table that tells them."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from universal_diffusion.preparation.leakage import COLUMNS, REPEATS, leakage, patient_groups
from universal_diffusion.preparation.splits import SplitRow

SCANS = [("amos", str(number)) for number in range(8)]


@given(st.lists(st.tuples(st.sampled_from(SCANS), st.sampled_from(SCANS))))
def test_groups_are_what_pairs_connect(pairs):
    groups = patient_groups({scan: f"{scan[1]}{'f' * 20}" for scan in SCANS}, pairs)
    merged = {scan: {scan} for scan in SCANS}
    for one, other in pairs:
        union = merged[one] | merged[other]
        for scan in union:
            merged[scan] = union
    for one in SCANS:
        assert {scan for scan in SCANS if groups[scan] == groups[one]} == merged[one]
        assert groups[one] == f"{min(merged[one])[1]}{'f' * 15}"


def pairs(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(REPEATS))


def test_every_case_of_a_group_is_told_with_its_best_copy():
    rows = [
        SplitRow("abdomenct1k", "abdomenct1k", "a", "g1", "excluded", "same patient as test case ircadb p"),
        SplitRow("amos", "amos", "lonely", "g2", "train", ""),
        SplitRow("ircadb", "ircadb", "p", "g1", "test", ""),
        SplitRow("kits23", "kits23", "k", "g3", "train", ""),
        SplitRow("msd03", "msd", "m", "g1", "excluded", "same patient as test case ircadb p"),
        SplitRow("word", "word", "w", "g3", "train", ""),
    ]
    found = pairs(
        ("abdomenct1k", "a", "ircadb", "p", 50, 60, 129, -24, True, False),
        ("abdomenct1k", "a", "msd03", "m", 60, 60, 129, 0, True, False),
        ("ircadb", "p", "msd03", "m", 512, 512, 512, 0, False, True),
        ("kits23", "k", "word", "w", 90, 100, 100, 0, False, False),
    )
    table = leakage(rows, found)
    assert table.columns.tolist() == COLUMNS
    dropped = [True, "same patient as test case ircadb p"]
    assert table.to_numpy().tolist() == [
        ["g1", "abdomenct1k", "a", "excluded", "ircadb", "p", 50, 60, "cropped, offset -24 HU", *dropped],
        ["g1", "ircadb", "p", "test", "msd03", "m", 512, 512, "identical", False, ""],
        ["g1", "msd03", "m", "excluded", "ircadb", "p", 512, 512, "identical", *dropped],
        ["g3", "kits23", "k", "train", "word", "w", 90, 100, "clipped", False, ""],
        ["g3", "word", "w", "train", "kits23", "k", 90, 100, "clipped", False, ""],
    ]
    assert leakage(rows, found.iloc[::-1]).equals(table)


def test_no_copies_leave_an_empty_table():
    table = leakage([SplitRow("amos", "amos", "1", "g", "train", "")], pairs())
    assert table.empty
    assert table.columns.tolist() == COLUMNS
