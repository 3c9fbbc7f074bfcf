"""Dice against seconds: which settings, which cases, what is counted, and the step from its flags to its files."""

import sys

import numpy as np
import pandas as pd
import pytest

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.sampling import sweep
from universal_diffusion.evaluation.sampling.sweep_report import MODES, draw, printed_table, summary
from universal_diffusion.method.bundle import load_bundle
from universal_diffusion.preparation.splits import EVALUATED, read_splits, volumes_of
from universal_diffusion.segmentation.presets import GATE
from universal_diffusion.settings import Segmentation

BASE = Segmentation("ddim", 4, 1.0, 2, 0.25, 16)
SETTINGS = '{"sampler": "ddim", "steps": 4, "eta": 1.0, "ensemble": 2, "overlap": 0.25, "batch": 16}'


def test_settings_cover_steps_ensembles_and_modes():
    ways = sweep.settings_of(BASE, 1000)
    assert len(ways) == 3 * 2 * 5
    assert {way.sampling.warm_start for way in ways if way.mode == MODES[2]} == {299}
    assert [way.sampling.gate for way in ways if way.mode == MODES[0]] == [None] * 10
    assert all(way.sampling.gate == GATE for way in ways if way.mode != MODES[0])
    few = sweep.settings_of(BASE, 10)
    assert max(way.sampling.steps for way in few if way.mode == MODES[1]) == 10
    assert max(way.sampling.steps for way in few if way.mode == MODES[2]) == 2  # of steps 0 to 2


def cases(study, monkeypatch, targets):
    monkeypatch.setattr(sweep, "TARGETS", targets)
    splits = read_splits(study["splits"])
    return sweep.chosen_cases(volumes_of([study["volumes"]], splits, EVALUATED), splits)


def test_a_case_of_each_part_is_chosen(study, monkeypatch):
    assert {volume.case for volume in cases(study, monkeypatch, 3)} == {"p1", "l1"}
    with pytest.raises(InputError, match="no evaluated case with 4 annotated targets"):
        cases(study, monkeypatch, 4)


def test_a_sweep_counts_calls_and_scores_what_the_case_holds(study, models, monkeypatch):
    volumes, bundle = cases(study, monkeypatch, 3), load_bundle(models / "mask_clip")
    monkeypatch.setattr(sweep, "STEPS", (1, 3))
    monkeypatch.setattr(sweep, "ENSEMBLES", (2,))
    rows = sweep.sweep(bundle, volumes, BASE, 1)
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
    again = sweep.sweep(bundle, volumes[:1], BASE, 1)
    first = rows[rows["case"] == volumes[0].case].reset_index(drop=True)
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), first.drop(columns="seconds"))


def swept() -> pd.DataFrame:
    """Two cases with two targets and one: a gate that is twice as fast, Dice that rises with steps and ensemble."""
    places = [("p1", "liver", 3.0), ("p1", "spleen", 3.0), ("p2", "liver", 1.0)]
    rows = [
        {"source": "ircadb", "case": case, "mode": mode, "ensemble": ensemble, "steps": steps, "target": target}
        | {"dice": 0.5 + 0.01 * steps + 0.02 * ensemble, "seconds": seconds * steps * ensemble / (1 + number)}
        | {"calls": 10 * steps * ensemble}
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
    assert row[["dice", "seconds", "calls"]].tolist() == pytest.approx([0.7, 50.0, 500.0])  # (3 + 1) / 2 * 50 / 2


def test_table_and_figure_say_n_hardware_and_cohort():
    found = summary(swept())
    printed = printed_table(found, "cpu, 1 CPU thread", "two scans")
    assert printed.caption.endswith("n = 3 targets in 2 cases; cpu, 1 CPU thread. Measured here: two scans.")
    assert printed.texts.iloc[1].tolist() == ["no gate", "5", "61.0 (10.00 s)", "70.0 (100.00 s)"]
    assert list(printed.texts.columns) == ["", "Ensemble", "1 step", "10 steps"]
    figure = draw(found, "cpu, 1 CPU thread", "two scans")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    drawn = {tuple(np.round(line.get_xdata(), 6)) for line in axes.lines if len(line.get_xdata())}
    assert drawn == {(2.0, 20.0), (10.0, 100.0), (1.0, 10.0), (5.0, 50.0)}
    assert "two scans" in figure.texts[0].get_text()


def test_the_step_writes_all_four(study, models, monkeypatch, tmp_path):
    for name, value in (("STEPS", (1, 2)), ("ENSEMBLES", (1,)), ("TARGETS", 3)):
        monkeypatch.setattr(sweep, name, value)
    outputs = [word for kind in ("csv", "md", "png", "svg") for word in (f"--output-{kind}", tmp_path / f"s.{kind}")]
    words = ["--model", models / "mask_clip", "--volumes", study["volumes"], "--splits", study["splits"]]
    words += ["--settings", SETTINGS, "--study-seed", 1, "--threads", 1, "--cohort", "two scans", *outputs]
    monkeypatch.setattr(sys, "argv", ["sweep", *map(str, words)])
    sweep.main()
    table = pd.read_csv(tmp_path / "s.csv")
    assert list(table["mode"].unique()) == list(MODES)
    assert "cpu, 1 CPU thread. Measured here: two scans." in (tmp_path / "s.md").read_text()
    assert (tmp_path / "s.png").stat().st_size > 10000
