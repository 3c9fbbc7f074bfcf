"""Step: training, validation, test and excluded cases, and the leakage audit (paper, section 3.1: 9:1).

The unit is the patient group: all scans that are copies of one another, in whichever sources they occur. A group is
never divided. One that occurs in a test source is never trained on, unless the study wants that leakage kept. Of the
others each source gives its share of groups, and at least one where it has two, to validation.
"""

import argparse
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from universal_diffusion.checksums import write_with_hash
from universal_diffusion.csv_tables import read_csv
from universal_diffusion.datasets.base import natural_key
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.preparation.leakage import Scan, leakage, patient_groups, read_repeats
from universal_diffusion.preparation.splits import SplitRow, write_splits
from universal_diffusion.randomness import numpy_generator

REMEDY = "delete it and run again: rule `inventory` remakes it"


def split(
    groups: Mapping[Scan, str], tests: Collection[str], fraction: float, seed: int, keep_leakage: bool
) -> dict[Scan, tuple[str, str]]:
    """(part, reason) of every scan, from (source, case) -> patient group.

    Args:
        tests: the sources that are never trained on.
        fraction: share of each source's groups that go to validation.
        keep_leakage: train on the other sources' scans of test patients instead of leaving them out. All other scans
            play the same part either way, so that two studies differ by nothing else.
    """
    tested = {}
    for scan in sorted(groups, key=_order):
        if scan[0] in tests:
            tested.setdefault(groups[scan], scan)
    trainable = {scan: group for scan, group in groups.items() if group not in tested}
    validation = _validation_groups(trainable, fraction, seed)
    parts = {scan: ("validation" if group in validation else "train", "") for scan, group in trainable.items()}
    for scan, group in groups.items():
        if scan[0] in tests:
            parts[scan] = ("test", "")
        elif group in tested:
            reason = "same patient as test case {} {}".format(*tested[group])
            parts[scan] = ("train", f"{reason}, kept") if keep_leakage else ("excluded", reason)
    return parts


def _validation_groups(scans: Mapping[Scan, str], fraction: float, seed: int) -> set[str]:
    """Drawn source by source; groups drawn for an earlier source count, and no source is left without training."""
    groups, chosen = defaultdict(set), set()
    for (source, _), group in scans.items():
        groups[source].add(group)
    for source in sorted(groups):
        wanted = max(round(fraction * len(groups[source])), min(1, len(groups[source]) - 1))
        candidates = sorted(groups[source] - chosen)
        numpy_generator(seed, "split", source).shuffle(candidates)
        for group in candidates:
            if len(groups[source] & chosen) >= wanted:
                break
            if all(held - chosen - {group} for held in groups.values() if group in held):
                chosen.add(group)
    return chosen


def read_inventory(path: Path) -> pd.DataFrame:
    """The cases of `inventory.csv`, in order. Raises InputError for a file that is no such table."""
    try:
        table = read_csv(path, str, ["source", "dataset", "case", "fingerprint"])
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no table of cases ({error})", REMEDY) from None
    return table.sort_values(["source", "case"], key=lambda names: names.map(natural_key))


def _order(scan: Scan) -> tuple:
    return scan[0], natural_key(scan[1])


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inventory", required=True, type=Path, help="inventory.csv, from `inventory`")
    parser.add_argument("--repeats", required=True, type=Path, help="repeats.csv, from `repeats`")
    parser.add_argument("--tests", nargs="*", default=[], help="sources that are never trained on")
    parser.add_argument(
        "--validation-fraction", required=True, type=float, help="share of each source's patient groups"
    )
    parser.add_argument("--leakage", required=True, choices=["drop", "keep"], help="scans of test patients elsewhere")
    parser.add_argument("--study-seed", required=True, type=int, help="the configuration's `seed`")
    parser.add_argument("--output-splits", required=True, type=Path, help="splits.csv to write")
    parser.add_argument("--output-leakage", required=True, type=Path, help="leakage.csv to write: the groups of copies")
    arguments = parser.parse_args()
    table, copies = read_inventory(arguments.inventory), read_repeats(arguments.repeats)
    unknown = sorted(set(arguments.tests) - set(table.source))
    if unknown:
        raise InputError(arguments.inventory, f"lists no case of test source {', '.join(unknown)}", "run `harmonise`")
    prints = dict(zip(zip(table.source, table.case, strict=True), table.fingerprint, strict=True))
    groups = patient_groups(prints, _pairs(copies, prints, arguments.repeats))
    parts = split(
        groups, arguments.tests, arguments.validation_fraction, arguments.study_seed, arguments.leakage == "keep"
    )
    rows = [
        SplitRow(row.source, row.dataset, row.case, groups[row.source, row.case], *parts[row.source, row.case])
        for row in table.itertuples()
    ]
    write_splits(arguments.output_splits, rows)
    write_with_hash(arguments.output_leakage, leakage(rows, copies).to_csv(index=False, lineterminator="\n"))


def _pairs(copies: pd.DataFrame, known: Collection[Scan], where: Path) -> list[tuple[Scan, Scan]]:
    pairs = [((row.source, row.case), (row.other_source, row.other_case)) for row in copies.itertuples()]
    strange = sorted({scan for pair in pairs for scan in pair} - set(known))
    if strange:
        raise InputError(where, "names {} {}, which the inventory does not".format(*strange[0]), "run `repeats` again")
    return pairs


if __name__ == "__main__":
    main()
