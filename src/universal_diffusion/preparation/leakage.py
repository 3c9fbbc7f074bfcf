"""The leakage audit: patients found more than once, what part each of their scans was given, and on what evidence."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from universal_diffusion.csv_tables import read_csv
from universal_diffusion.errors import InputError
from universal_diffusion.preparation.splits import SplitRow

Scan = tuple[str, str]  # (source, case)

REMEDY = "delete it and run again: rule `repeats` remakes it"
REPEATS = {
    **dict.fromkeys(["source", "case", "other_source", "other_case"], str),
    **dict.fromkeys(["matched_slices", "slices", "other_slices", "offset_hu"], int),
    **dict.fromkeys(["cropped", "identical"], bool),
}
COLUMNS = ["group", "source", "case", "part", "matched_source", "matched_case", "matched_slices", "slices"]
COLUMNS += ["evidence", "dropped", "reason"]


def read_repeats(path: Path) -> pd.DataFrame:
    """The pairs of copies that `repeats` found. Raises InputError for a file that is no such table."""
    try:
        return read_csv(path, REPEATS, list(REPEATS))
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no table of copies ({error})", REMEDY) from None


def patient_groups(prints: Mapping[Scan, str], pairs: Iterable[tuple[Scan, Scan]]) -> dict[Scan, str]:
    """Group of every scan: copies, and copies of copies, belong to one patient.

    Args:
        prints: (source, case) -> fingerprint of all scans; the first of a group names it by its first 16 digits.
        pairs: copies.
    """
    scans = list(prints)
    index = {scan: number for number, scan in enumerate(scans)}
    edges = [(index[one], index[other]) for one, other in pairs]
    rows, columns = zip(*edges, strict=True) if edges else ((), ())
    graph = coo_array(([True] * len(edges), (rows, columns)), shape=(len(scans), len(scans)))
    _, numbers = connected_components(graph, directed=False)
    names = {}
    for scan, number in zip(scans, numbers, strict=True):
        names.setdefault(number, prints[scan][:16])
    return dict(zip(scans, (names[number] for number in numbers), strict=True))


def leakage(rows: Sequence[SplitRow], repeats: pd.DataFrame) -> pd.DataFrame:
    """One row of `COLUMNS` for each case of every group with more than one, groups in the order of their first case.

    A case is matched with the one of its copies that says most: a test case before others, then the longest run, then
    the first.
    `matched_slices` of the case's `slices` across one axis coincide; 0 of 0 where only the histograms of the whole do.
    """
    parts = {(row.source, row.case): row for row in rows}
    copies = _both_ways(repeats)
    others = zip(copies["other_source"], copies["other_case"], strict=True)
    copies["of_test"] = [parts[other].part == "test" for other in others]
    copies = copies.sort_values(["of_test", "matched_slices"], ascending=False, kind="stable")
    copies = copies.drop_duplicates(["source", "case"])
    best = {(copy.source, copy.case): copy for copy in copies.itertuples()}
    groups = {row.group: None for row in rows if (row.source, row.case) in best}
    listed = [_row(row, best[row.source, row.case]) for group in groups for row in rows if row.group == group]
    return pd.DataFrame(listed, columns=COLUMNS)


def _both_ways(repeats: pd.DataFrame) -> pd.DataFrame:
    """Each pair from both sides; those of one case in the order of the other."""
    swapped = {"source": "other_source", "case": "other_case", "slices": "other_slices"}
    swapped |= {other: own for own, other in swapped.items()}
    turned = repeats.rename(columns=swapped).assign(offset_hu=-repeats["offset_hu"])
    return pd.concat([turned, repeats], ignore_index=True)


def _row(row: SplitRow, copy) -> tuple:
    matched = copy.other_source, copy.other_case, copy.matched_slices, copy.slices
    return (row.group, row.source, row.case, row.part, *matched, _evidence(copy), row.part == "excluded", row.reason)


def _evidence(copy) -> str:
    """How the case differs from the one it is matched with: its HU are theirs plus the offset."""
    if copy.identical:
        return "identical"
    found = ["cropped"] if copy.cropped else []
    found += [f"offset {copy.offset_hu:+d} HU"] if copy.offset_hu else []
    return ", ".join(found) or "clipped"
