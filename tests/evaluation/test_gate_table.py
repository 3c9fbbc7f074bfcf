"""What the gate costs and saves, counted: rows of real steps on two stored cases, and the table made of rows."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.sampling import gate as step
from universal_diffusion.evaluation.sampling import gate_table
from universal_diffusion.evaluation.sampling.gate_rows import COUNTS, IDENTITY, read_rows, write_rows
from universal_diffusion.segmentation.presets import GATE
from universal_diffusion.segmentation.sampling.kept import Kept
from universal_diffusion.segmentation.sampling.windows import Windows
from universal_diffusion.settings import Segmentation
from universal_diffusion.targets import bits

SETTINGS = '{"sampler": "ddim", "steps": 4, "eta": 1.0, "ensemble": 3, "overlap": 0.25, "batch": 16}'


def test_calls_and_misses_of_a_case_counted_by_hand():
    """Two windows side by side with 2 columns in both, 4 slices; the first and the last were looked at."""
    windows = Windows((8, 5), 5, 0.4)
    assert windows.starts.tolist() == [[0, 0], [3, 0]]
    body = np.ones((4, 2), bool)
    body[3, 1] = False
    pairs = np.zeros((2, 4, 2), bool)
    pairs[0, 1:3, 0] = True  # liver: only the left window of slices 1 and 2
    kept = Kept(("liver", "spleen"), windows, body, np.array([0, 3]), pairs, np.zeros((0, 0, 0, 0), np.float16))
    labels = np.zeros((8, 5, 4), np.uint32)
    labels[3:7, 2, 1] = bits(["liver"])  # columns 3 and 4 lie in the left window, 5 and 6 do not
    labels[0, 0, 3] = bits(["liver"])  # a slice that was not kept
    sampling = Segmentation("ddim", 4, 1.0, 3, 0.4)
    liver, spleen = step.case_rows(SimpleNamespace(labels=labels), kept, sampling)
    assert [liver[count] for count in COUNTS] == [7, 2, 7 * 12, 3 + 2 * 12, 5, 3]
    assert [spleen[count] for count in COUNTS] == [7, 0, 7 * 12, 3, 0, 0]


def run(monkeypatch, module, *words) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, words)])
    module.main()


def test_every_evaluated_case_is_counted(monkeypatch, tmp_path, study, models):
    places = ["--model", models / "mask_clip", "--volumes", study["volumes"], "--splits", study["splits"]]
    for shard in ("1-of-2", "2-of-2", "1-of-1"):
        run(
            monkeypatch,
            step,
            *(*places, "--variant", "mask_clip", "--settings", SETTINGS, "--study-seed", 1),
            *("--shard", shard, "--threads", 1, "--output", tmp_path / f"{shard}.csv"),
        )
    rows = read_rows([tmp_path / "2-of-2.csv", tmp_path / "1-of-2.csv"])
    whole = read_rows([tmp_path / "1-of-1.csv"])
    pd.testing.assert_frame_equal(rows.sort_values(IDENTITY, ignore_index=True), whole)
    assert list(whole.columns) == IDENTITY + COUNTS
    held = whole[whole["target"] == "liver"].set_index("case")
    for volume in study["stored"]:
        assert held.loc[volume.case, "truth_voxels"] == ((volume.labels & bits(["liver"])) > 0).sum()
    assert set(whole["part"]) == {"test", "validation"}
    assert (whole["ungated_calls"] == 12 * whole["pairs"]).all()
    assert (whole["gated_calls"] > 12 * whole["kept"]).all()
    outputs = [word for kind in tables.KINDS for word in (f"--output-{kind}", tmp_path / f"t.{kind}")]
    run(monkeypatch, gate_table, "--parts", tmp_path / "1-of-1.csv", "--cohort", "two scans", *outputs)
    text = (tmp_path / "t.md").read_text()
    assert text.startswith("What the gate keeps, saves and misses (%), measured here: two scans.")
    assert f"every {GATE.every} slices" in text


def gate_row(variant, case, target, *counts) -> dict:
    place = dict(zip(IDENTITY, (variant, "test", "ircadb", case, target), strict=True))
    return place | dict(zip(COUNTS, counts, strict=True))


def test_summary_by_hand(tmp_path):
    rows = pd.DataFrame(
        [
            gate_row("mask_clip", "p1", "liver", 10, 5, 100, 60, 50, 1),
            gate_row("mask_clip", "p2", "liver", 10, 10, 100, 110, 150, 3),
            gate_row("mask_clip", "p1", "liver tumor", 10, 0, 100, 10, 8, 8),
            gate_row("mask_clip", "p2", "liver tumor", 10, 1, 100, 20, 0, 0),
        ]
    )
    write_rows(tmp_path / "rows.csv", rows[::-1])
    found = gate_table.summary(read_rows([tmp_path / "rows.csv"])).set_index("target")
    assert list(found.index) == ["liver", "liver tumor", gate_table.ALL]
    assert found.loc["liver", ["n", "n_held", "n_lost"]].tolist() == [2, 2, 0]
    assert found.loc["liver", ["kept", "calls_saved", "missed"]].tolist() == pytest.approx([0.75, 0.15, 0.02])
    assert found.loc["liver tumor", ["n", "n_held", "n_lost"]].tolist() == [2, 1, 1]
    assert found.loc[gate_table.ALL, ["kept", "calls_saved"]].tolist() == pytest.approx([0.4, 0.5])
    assert found.loc[gate_table.ALL, "missed"] == pytest.approx(12 / 208)
    printed = gate_table.printed_table(found.reset_index(), "two scans").texts
    assert printed.iloc[1].tolist() == ["liver tumor", "2 (1)", "5", "85", "100.00", "1"]


def test_a_table_of_something_else_is_told(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="is no table of the gate"):
        read_rows([tmp_path / "rows.csv"])
