"""Step: which scans are copies of one another, in whole or in part, within and across sources (the leakage audit).

Two scans are taken for copies if at least `LEAST_RUN` consecutive slices of one coincide with consecutive slices of the
other, in the same or the opposite order. Two different scans would have to agree, in every one of these slices, in how
many pixels hold each of some hundred HU. Even scans of one patient in one place, which differ by noise alone, agree in
a count of mean 1 with probability 0.31 and in larger ones less often; in 32 such counts of one slice with 5e-17. There
are some 1e13 pairs of slices in 3000 scans, so that one coincidence is unlikely and a run of them is none.

Slices are looked up by their digest, so that the work grows with the number of slices and of coincidences, not with
the number of pairs of scans.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from universal_diffusion.checksums import write_with_hash
from universal_diffusion.datasets.base import natural_key
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.preparation.fingerprints import NO_DIGEST
from universal_diffusion.volumes import VolumeFile

LEAST_RUN = 4
LINES = ["line", "other_line"]
PRINTED = ["source", "case", "fingerprint", "slice_prints"]


def coincidences(scans: Sequence[np.ndarray]) -> pd.DataFrame:
    """Every pair of equal slices of different scans.

    Args:
        scans: (slices,) `volumes.SLICE_PRINT` of each scan, as `slice_prints` gives them.

    Returns:
        One row per pair, the earlier scan first: `scan`, `line` (scan and axis), `of` (slices on that axis), `place`
        (of the slice on it) and `level` (HU) of each, those of the later scan with `other_` before them.
    """
    table = pd.DataFrame({"scan": np.repeat(np.arange(len(scans)), [len(prints) for prints in scans])})
    prints = np.concatenate(scans)
    table["line"] = 3 * table["scan"] + prints["axis"]
    table["of"] = table.groupby("line")["line"].transform("size")
    table["place"] = table.groupby("line").cumcount()
    table["level"] = prints["level"].astype(int)
    telling = np.flatnonzero(prints["digest"] != NO_DIGEST)
    first, second = _equal_pairs(prints["digest"][telling])
    pairs = table.iloc[telling[first]].reset_index(drop=True)
    pairs = pairs.join(table.iloc[telling[second]].reset_index(drop=True).add_prefix("other_"))
    return pairs[pairs["scan"] != pairs["other_scan"]]


def _equal_pairs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices i < j of all pairs of equal values."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first, second = [np.empty(0, int)], [np.empty(0, int)]
    for distance in range(1, len(values)):
        equal = ordered[distance:] == ordered[:-distance]
        if not equal.any():
            break
        first.append(order[:-distance][equal])
        second.append(order[distance:][equal])
    return np.concatenate(first), np.concatenate(second)


def longest_runs(pairs: pd.DataFrame) -> pd.DataFrame:
    """The longest run of consecutive coincidences of every two scans, from `coincidences`.

    Returns:
        One row per pair of scans, in order: `scan`, `other_scan`; `matched_slices` of the run, of `slices` and
        `other_slices` along it; `offset_hu`, the first scan's HU minus the other's; and `cropped`, whether either holds
        slices along it that the other does not.
    """
    runs = pd.concat([_runs(pairs, "same order"), _runs(pairs, "opposite order")])
    runs = runs.sort_values(["scan", "other_scan", "matched_slices", "line"], ascending=[True, True, False, True])
    return runs.drop_duplicates(["scan", "other_scan"]).drop(columns="line").reset_index(drop=True)


def _runs(pairs: pd.DataFrame, order: str) -> pd.DataFrame:
    same = order == "same order"
    shift = pairs["other_place"] - pairs["place"] if same else pairs["other_place"] + pairs["place"]
    pairs = pairs.assign(shift=shift).sort_values([*LINES, "shift", "place"], kind="stable")
    goes_on = (pairs[[*LINES, "shift"]].diff() == 0).all(axis=1) & (pairs["place"].diff() == 1)
    run = (~goes_on).cumsum()
    runs = pairs.groupby(run).first().assign(matched_slices=run.groupby(run).size())
    aligned = runs["shift"] == (0 if same else runs["of"] - 1)
    runs["cropped"] = (runs["of"] != runs["other_of"]) | ~aligned
    runs["offset_hu"] = runs["level"] - runs["other_level"]
    runs = runs.rename(columns={"of": "slices", "other_of": "other_slices"})
    columns = ["scan", "other_scan", "line", "matched_slices", "slices", "other_slices", "offset_hu", "cropped"]
    return runs[columns]


def repeats(scans: pd.DataFrame) -> pd.DataFrame:
    """Every pair of copies among scans with the columns `PRINTED`.

    Returns:
        source, case, other_source, other_case, the columns of `longest_runs`, and whether the two are `identical`: hold
        equal HU equally often. Identical scans are copies even without a run (too few slices that say something).
    """
    runs = longest_runs(coincidences(list(scans["slice_prints"])))
    runs = runs[runs["matched_slices"] >= LEAST_RUN]
    equal = pd.DataFrame(_equal_pairs(scans["fingerprint"].to_numpy(str)), index=["scan", "other_scan"]).T
    found = runs.merge(equal.assign(identical=True), how="outer", on=["scan", "other_scan"])
    found = found.fillna({"identical": False, "cropped": False}).fillna(0)
    kinds = dict.fromkeys(["matched_slices", "slices", "other_slices", "offset_hu"], int)
    found = found.astype(kinds | {"cropped": bool, "identical": bool})
    names = scans[["source", "case"]]
    first, second = (names.iloc[found[key]].reset_index(drop=True) for key in ("scan", "other_scan"))
    return pd.concat([first, second.add_prefix("other_"), found.drop(columns=["scan", "other_scan"])], axis=1)


def read_prints(volumes: Sequence[Path]) -> pd.DataFrame:
    """source, case, fingerprint and slice_prints of every harmonised case, in natural order."""
    paths = [path for directory in volumes for path in directory.glob("*.h5")]
    if not paths:
        raise InputError(volumes[0], "holds no harmonised case", "run `harmonise`")
    rows = []
    for path in tqdm(paths, desc="fingerprints", unit="case", file=sys.stderr):
        with VolumeFile(path) as file:
            rows.append((file.source, file.case, file.fingerprint, file.slice_prints))
    rows.sort(key=lambda row: (row[0], natural_key(row[1])))
    return pd.DataFrame(rows, columns=PRINTED)


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", required=True, nargs="+", type=Path, help="directories of harmonised cases")
    parser.add_argument("--output", required=True, type=Path, help="table of pairs of copies to write")
    arguments = parser.parse_args()
    found = repeats(read_prints(arguments.volumes))
    write_with_hash(arguments.output, found.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    main()
