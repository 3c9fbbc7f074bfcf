"""Step: training, validation, test and excluded cases, and the leakage audit (paper, section 3.1: 9:1).

The unit is the patient group: all scans of equal fingerprint, in whichever sources they occur. A group is never
divided. One that occurs in a test source is never trained on. Of the others each source gives its share of groups,
and at least one where it has two, to validation.
"""

import argparse
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from universal_diffusion.datasets.base import natural_key
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.files import whole_file
from universal_diffusion.preparation.leakage import equal_pairs
from universal_diffusion.preparation.splits import SplitRow, write_splits
from universal_diffusion.randomness import numpy_generator

Scan = tuple[str, str]  # (source, case)


def split(scans: Mapping[Scan, str], tests: Collection[str], fraction: float, seed: int) -> dict[Scan, tuple[str, str]]:
    """(part, reason) of every scan, from (source, case) -> fingerprint.

    Args:
        tests: the sources that are never trained on.
        fraction: share of each source's groups that go to validation.
    """
    tested = {}
    for scan in sorted(scans, key=_order):
        if scan[0] in tests:
            tested.setdefault(scans[scan], scan)
    trainable = {scan: digits for scan, digits in scans.items() if digits not in tested}
    validation = _validation_groups(trainable, fraction, seed)
    parts = {scan: ("validation" if digits in validation else "train", "") for scan, digits in trainable.items()}
    for scan, digits in scans.items():
        if scan[0] in tests:
            parts[scan] = ("test", "")
        elif digits in tested:
            parts[scan] = ("excluded", "same scan as test case {} {}".format(*tested[digits]))
    return parts


def _validation_groups(scans: Mapping[Scan, str], fraction: float, seed: int) -> set[str]:
    """Drawn source by source; groups drawn for an earlier source count, and no source is left without training."""
    groups, chosen = defaultdict(set), set()
    for (source, _), digits in scans.items():
        groups[source].add(digits)
    for source in sorted(groups):
        wanted = max(round(fraction * len(groups[source])), min(1, len(groups[source]) - 1))
        candidates = sorted(groups[source] - chosen)
        numpy_generator(seed, "split", source).shuffle(candidates)
        for digits in candidates:
            if len(groups[source] & chosen) >= wanted:
                break
            if all(held - chosen - {digits} for held in groups.values() if digits in held):
                chosen.add(digits)
    return chosen


def leakage(scans: Mapping[Scan, str], parts: Mapping[Scan, tuple[str, str]]) -> pd.DataFrame:
    """One row per pair of equal scans, within and across sources, with the part that each was given."""
    rows = [(*a, parts[a][0], *b, parts[b][0], digits) for a, b, digits in equal_pairs(scans.items())]
    names = ["source", "case", "part", "other_source", "other_case", "other_part", "fingerprint"]
    return pd.DataFrame(rows, columns=names)


def read_inventory(path: Path) -> pd.DataFrame:
    """The cases of `inventory.csv`. Raises InputError for a file that is no such table."""
    try:
        return pd.read_csv(path, dtype=str, usecols=["source", "dataset", "case", "fingerprint"])
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no table of cases ({error})", "remake it with the step `inventory`") from None


def _order(scan: Scan) -> tuple:
    return scan[0], natural_key(scan[1])


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inventory", required=True, type=Path, help="inventory.csv, from `inventory`")
    parser.add_argument("--tests", nargs="*", default=[], help="sources that are never trained on")
    parser.add_argument(
        "--validation-fraction", required=True, type=float, help="share of each source's patient groups"
    )
    parser.add_argument("--study-seed", required=True, type=int, help="the configuration's `seed`")
    parser.add_argument("--output-splits", required=True, type=Path, help="splits.csv to write")
    parser.add_argument("--output-leakage", required=True, type=Path, help="leakage.csv to write: pairs of equal scans")
    arguments = parser.parse_args()
    table = read_inventory(arguments.inventory)
    scans = {(row.source, row.case): row.fingerprint for row in table.itertuples()}
    dataset = dict(zip(table.source, table.dataset, strict=True))
    unknown = sorted(set(arguments.tests) - set(dataset))
    if unknown:
        raise InputError(arguments.inventory, f"lists no case of test source {', '.join(unknown)}", "run `harmonise`")
    parts = split(scans, arguments.tests, arguments.validation_fraction, arguments.study_seed)
    rows = [
        SplitRow(scan[0], dataset[scan[0]], scan[1], scans[scan][:16], *parts[scan])
        for scan in sorted(scans, key=_order)
    ]
    write_splits(arguments.output_splits, rows)
    with whole_file(arguments.output_leakage) as partial:
        leakage(scans, parts).to_csv(partial, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
