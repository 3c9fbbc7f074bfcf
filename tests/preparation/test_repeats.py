"""Copies are runs of equal slices, found without comparing every scan with every other."""

import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from universal_diffusion.preparation import repeats as step
from universal_diffusion.preparation.leakage import read_repeats
from universal_diffusion.preparation.repeats import LEAST_RUN, coincidences, longest_runs, repeats
from universal_diffusion.volumes import SLICE_PRINT, Grid, Volume, write_volume

DIGESTS = st.lists(st.integers(0, 6), min_size=1, max_size=9)


def prints(*axes, level: int = 40) -> np.ndarray:
    """Prints with these digests on the first, second, third axis; 0 says nothing."""
    return np.array([(axis, level, digest) for axis, line in enumerate(axes) for digest in line], SLICE_PRINT)


def runs(*scans: np.ndarray) -> list[tuple]:
    return list(longest_runs(coincidences(scans)).itertuples(index=False, name=None))


def test_a_run_in_the_same_or_the_opposite_order_is_found_on_any_axis():
    whole = prints([1, 2, 3, 4, 5, 6], [11, 12])
    assert runs(whole, prints([7, 3, 4, 5])) == [(0, 1, 3, 6, 4, 0, True)]
    assert runs(whole, prints([8], [6, 5, 4, 3, 2, 1], level=30)) == [(0, 1, 6, 6, 6, 10, False)]
    assert runs(whole, prints([2, 1, 9, 9, 9, 9])) == [(0, 1, 2, 6, 6, 0, True)]
    assert runs(whole, prints([1, 3, 5, 20])) == [(0, 1, 1, 6, 4, 0, True)]
    assert runs(whole, prints([0, 21], [0])) == []
    assert runs(prints([0, 0, 0]), prints([0, 0, 0])) == []


@given(DIGESTS, DIGESTS)
def test_longest_run_agrees_with_comparing_every_stretch(first, second):
    def stretches(line, length):
        cuts = (tuple(line[i : i + length]) for i in range(len(line) - length + 1))
        return {cut for cut in cuts if 0 not in cut}

    lengths = range(1, min(len(first), len(second)) + 1)
    both = {n: stretches(second, n) | stretches(second[::-1], n) for n in lengths}
    expected = max((n for n in lengths if stretches(first, n) & both[n]), default=0)
    found = runs(prints(first), prints(second))
    assert (found[0][2] if found else 0) == expected


@given(st.lists(DIGESTS, min_size=2, max_size=5))
def test_coincidences_are_all_pairs_of_equal_slices_of_different_scans(lines):
    found = coincidences([prints(line) for line in lines])
    keys = ["scan", "place", "other_scan", "other_place"]
    expected = {
        (i, a, j, b)
        for (i, first), (j, second) in product(enumerate(lines), repeat=2)
        for (a, x), (b, y) in product(enumerate(first), enumerate(second))
        if i < j and x == y != 0
    }
    assert set(found[keys].itertuples(index=False, name=None)) == expected
    assert len(found) == len(expected)


def scans(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["source", "case", "fingerprint", "slice_prints"])


def test_copies_need_a_run_or_equal_histograms():
    long = list(range(1, LEAST_RUN + 1))
    table = scans(
        ("amos", "1", "a", prints([*long, 90])),
        ("msd03", "2", "b", prints(long, level=64)),
        ("msd03", "3", "c", prints(long[:-1])),
        ("word", "4", "c", prints([70])),
    )
    found = repeats(table)
    assert found.columns.tolist()[:4] == ["source", "case", "other_source", "other_case"]
    assert found.to_numpy().tolist() == [
        ["amos", "1", "msd03", "2", LEAST_RUN, LEAST_RUN + 1, LEAST_RUN, -24, True, False],
        ["msd03", "3", "word", "4", 0, 0, 0, 0, False, True],
    ]


def test_step_writes_the_same_bytes_from_folders_in_any_order(tmp_path, monkeypatch):
    grid, empty = Grid((2, 2, 2), np.eye(4)), np.zeros((2, 2, 2), np.uint32)
    for folder, source, case in (("x", "msd03", "liver_10"), ("x", "msd03", "liver_9"), ("y", "amos", "amos_1")):
        volume = Volume(source, case, ("liver",), f"{source}{case}", empty.astype(np.float32), empty, grid, empty, grid)
        volume = replace(volume, slice_prints=prints(range(1, 8) if case != "liver_9" else range(2, 9)))
        write_volume(tmp_path / folder / f"{case}.h5", volume)
    for name, folders in (("first", "xy"), ("second", "yx")):
        volumes = [str(tmp_path / folder) for folder in folders]
        monkeypatch.setattr(sys, "argv", ["repeats", "--volumes", *volumes, "--output", str(tmp_path / name)])
        step.main()
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    pairs = read_repeats(tmp_path / "first")[["case", "other_case", "matched_slices"]].to_numpy().tolist()
    assert pairs == [["amos_1", "liver_9", 6], ["amos_1", "liver_10", 7], ["liver_9", "liver_10", 6]]


def test_chance_of_equal_counts_is_what_the_module_says():
    equal = [float((poisson(mean).pmf(np.arange(2000)) ** 2).sum()) for mean in (1, 2, 5, 50, 500)]
    assert round(equal[0], 2) == 0.31
    assert equal == sorted(equal, reverse=True)
    assert f"{equal[0] ** 32:.0e}" == "5e-17"
    assert f"{(3000 * 1500) ** 2 / 2:.0e}" == "1e+13"
