"""What sampling buys: which settings, which cases, what is counted, and the step from its flags to its files."""

import sys

import numpy as np
import pandas as pd
import pytest

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.beyond.cost import costs
from universal_diffusion.evaluation.sampling import sampling_rows, sweep
from universal_diffusion.evaluation.sampling.sampling_rows import summary
from universal_diffusion.evaluation.sampling.sweep_report import MODES, draw, draw_seconds, printed_table
from universal_diffusion.method.bundle import load_bundle
from universal_diffusion.preparation.splits import EVALUATED, read_splits, volumes_of
from universal_diffusion.segmentation.presets import GATE
from universal_diffusion.settings import Segmentation, Sweep

BASE = Segmentation("ddim", 4, 1.0, 2, 0.25, 16)
GRID = Sweep((1, 2, 5, 10, 20), (1, 5), 2)
SETTINGS = '{"sampler": "ddim", "steps": 4, "eta": 1.0, "ensemble": 2, "overlap": 0.25, "batch": 16}'


def test_settings_cover_steps_ensembles_and_modes():
    ways = sweep.settings_of(BASE, GRID, 1000)
    assert len(ways) == 3 * 2 * 5
    assert {way.sampling.warm_start for way in ways if way.mode == MODES[2]} == {299}
    assert [way.sampling.gate for way in ways if way.mode == MODES[0]] == [None] * 10
    assert all(way.sampling.gate == GATE for way in ways if way.mode != MODES[0])
    few = sweep.settings_of(BASE, GRID, 10)
    assert max(way.sampling.steps for way in few if way.mode == MODES[1]) == 10
    assert max(way.sampling.steps for way in few if way.mode == MODES[2]) == 2  # of steps 0 to 2


def cases(study, count):
    splits = read_splits(study["splits"])
    return sweep.chosen_cases(volumes_of([study["volumes"]], splits, EVALUATED), splits, count)


def test_cases_of_both_parts_are_chosen_in_turn(study):
    assert [volume.case for volume in cases(study, 1)] == ["p1"]
    assert [volume.case for volume in cases(study, 2)] == ["p1", "l1"]
    assert len(cases(study, 9)) == 2
    with pytest.raises(InputError, match="no validation or test case"):
        sweep.chosen_cases([], [], 1)


def test_a_sweep_counts_calls_and_scores_what_the_case_holds(study, models):
    volumes, bundle = cases(study, 2), load_bundle(models / "mask_clip")
    grid = Sweep((1, 3), (2,), 2)
    rows = sweep.sweep(bundle, volumes, BASE, grid, 1)
    assert set(rows["target"]) == {"liver", "liver tumor"}  # a spleen was looked for and is not there
    assert len(rows) == 2 * 2 * 2 * 3
    ungated = rows[rows["mode"] == MODES[0]]
    assert set(ungated["calls"] / ungated["steps"]) == {2 * 3 * 6 * 4}  # 2 samples, 3 targets, 6 slices, 4 windows
    gated = rows[rows["mode"] == MODES[1]]
    looks = 3 * 3 * 4  # slices 0, 4 and 5
    assert (gated["calls"] <= looks + 2 * 3 * 6 * 4 * gated["steps"]).all()
    assert (gated["calls"] > looks).all()
    assert rows["dice"].between(0, 1).all()
    assert (rows["seconds"] > 0).all()
    again = sweep.sweep(bundle, volumes[:1], BASE, grid, 1)
    first = rows[rows["case"] == volumes[0].case].reset_index(drop=True)
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), first.drop(columns="seconds"))


@pytest.mark.parametrize(("steps", "ensemble"), [(1, 1), (7, 3)])
def test_operations_without_a_gate_are_those_of_the_cost_table(models, steps, ensemble):
    """One window and one target cost what `tables/cost.csv` says of them."""
    sampling = Segmentation("ddim", steps, 1.0, ensemble, 0.25, 16)
    parts = costs(load_bundle(models / "mask_clip"), sampling).set_index("space").loc["latent"]
    assert sweep.gigaflops(parts, 1, 0, 1, sampling) == pytest.approx(parts["total_gflop"])
    one = sweep.gigaflops(parts, 0, 1, 0, sampling)
    alone = parts[["image_features_gflop", "denoiser_step_gflop", "decode_mask_gflop"]].sum()
    assert one == pytest.approx(alone)  # a look is one step and one sample, whatever follows it


def swept() -> pd.DataFrame:
    """Two cases with two targets and one: a gate that is twice as fast, Dice that rises with steps and ensemble."""
    places = [("p1", "liver", 3.0), ("p1", "spleen", 3.0), ("p2", "liver", 1.0)]
    rows = [
        {"source": "ircadb", "case": case, "mode": mode, "ensemble": ensemble, "steps": steps, "target": target}
        | {"dice": 0.5 + 0.01 * steps + 0.02 * ensemble, "seconds": seconds * steps * ensemble / (1 + number)}
        | {"calls": 10 * steps * ensemble, "gflop": 2.0 * steps * ensemble / (1 + number)}
        for number, mode in enumerate(MODES[:2])
        for ensemble in (1, 5)
        for steps in (1, 10)
        for case, target, seconds in places
    ]
    return pd.DataFrame(rows)


def test_seconds_are_of_cases_and_dice_of_targets():
    found = summary(swept()).set_index(["mode", "ensemble", "steps"])
    row = found.loc[(MODES[1], 5, 10)]
    assert row[["cases", "n"]].tolist() == [2, 3]
    found = row[["dice", "seconds", "calls", "gflop"]].tolist()
    assert found == pytest.approx([0.7, 50.0, 500.0, 50.0])  # seconds: (3 + 1) / 2 * 50 / 2


def test_tables_say_n_unit_and_cohort():
    printed = printed_table(summary(swept()), "seconds", "s, cpu, 1 CPU thread", "two scans")
    assert printed.caption == (
        "Mean Dice, % (s, cpu, 1 CPU thread per case) of mask/CLIP; n = 3 targets in 2 cases. Measured here: two scans."
    )
    assert printed.texts.iloc[1].tolist() == ["no gate", "5", "61.0 (10)", "70.0 (100)"]
    assert list(printed.texts.columns) == ["Mode", "Ensemble", "1 step", "10 steps"]
    assert printed_table(summary(swept()), "gflop", "GFLOP", "two scans").texts.iloc[1, 2:].tolist() == [
        "61.0 (10)",
        "70.0 (100)",
    ]


def lines(axes) -> set[tuple]:
    """The points of a panel's lines, without numbering."""
    return {tuple(np.round(np.ravel([line.get_xdata(), line.get_ydata()]), 6)) for line in axes.lines}


def test_figures_draw_every_setting_and_cut_nothing(check_print):
    found = summary(swept())
    figure = draw(found.drop(columns="seconds"), "two scans")
    check_print(figure)
    by_steps, by_cost = figure.axes
    expected = [own for _, own in found.groupby(["mode", "ensemble"])]
    for axes, column in ((by_steps, "steps"), (by_cost, "gflop")):
        assert lines(axes) == {tuple(np.round([*own[column], *100 * own["dice"]], 6)) for own in expected}
    assert {text.get_text() for text in by_cost.texts} == {"1", "10"}
    assert "two scans" in figure.texts[0].get_text()
    timed = draw_seconds(found, "cpu, 1 CPU thread", "two scans")
    check_print(timed)
    (axes,) = timed.axes
    assert lines(axes) == {tuple(np.round([*own["seconds"], *100 * own["dice"]], 6)) for own in expected}
    low, high = axes.get_ylim()
    assert high - low >= 10  # what few cases differ by is not blown up


def test_the_step_writes_what_no_clock_decides_and_seconds_apart(study, models, monkeypatch, tmp_path):
    words = ["--model", models / "mask_clip", "--volumes", study["volumes"], "--splits", study["splits"]]
    words += ["--settings", SETTINGS, "--sweep", '{"steps": [1, 2], "ensembles": [1], "cases": 1}']
    words += ["--study-seed", 1, "--threads", 1, "--cohort", "two scans"]
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        outputs = [
            word
            for name, prefix in (("s", ""), ("t", "seconds-"))
            for kind in ("csv", "md", "tex", "png", "svg", "rows")
            for word in (f"--output-{prefix}{kind}", tmp_path / run / f"{name}.{kind}")
        ]
        monkeypatch.setattr(sys, "argv", ["sweep", *map(str, [*words, *outputs])])
        sweep.main()
    for kind in ("csv", "md", "tex", "png", "svg", "rows"):
        assert (tmp_path / f"first/s.{kind}").read_bytes() == (tmp_path / f"second/s.{kind}").read_bytes()
        assert (tmp_path / f"first/t.{kind}").stat().st_size > 100
    table = pd.read_csv(tmp_path / "first/s.csv")
    assert list(table.columns) == ["mode", "ensemble", "steps", "cases", "n", "dice", "calls", "gflop"]
    assert list(table["mode"].unique()) == list(MODES)
    assert "(s, cpu, 1 CPU thread per case)" in (tmp_path / "first/t.md").read_text()
    found, timed = (tmp_path / f"first/{name}.rows" for name in "st")
    again = [summary(rows) for rows in (sampling_rows.read_found(found), sampling_rows.read_timed(found, timed))]
    for name, rows in zip("st", again, strict=True):
        tables.write_csv(tmp_path / "again.csv", rows)
        assert (tmp_path / "again.csv").read_bytes() == (tmp_path / f"first/{name}.csv").read_bytes()


def test_seconds_of_other_settings_are_refused(tmp_path):
    sampling_rows.write_rows(swept(), tmp_path / "found.csv", tmp_path / "timed.csv")
    written = (tmp_path / "timed.csv").read_text().splitlines(keepends=True)
    (tmp_path / "timed.csv").write_text("".join(written[:-1]))
    with pytest.raises(InputError, match=r"does not time every setting and case of found\.csv"):
        sampling_rows.read_timed(tmp_path / "found.csv", tmp_path / "timed.csv")
