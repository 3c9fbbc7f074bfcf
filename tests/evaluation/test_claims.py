"""The ledger: verdicts follow from intervals, and measurements from the score table."""

import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from universal_diffusion.evaluation.claims.evidence import Evidence, Measured
from universal_diffusion.evaluation.claims.ledger import NOT_SUPPORTED, NOT_TESTABLE, SUPPORTED, ledger, main, verdict
from universal_diffusion.evaluation.paper.published import read_published
from universal_diffusion.evaluation.scoring.cases import write_cases
from universal_diffusion.preparation.splits import SplitRow, write_splits
from universal_diffusion.settings import Source, Weights
from universal_diffusion.systems import VARIANTS

SOURCES = [*(f"msd{number:02d}" for number in (3, 6, 7, 8, 9, 10)), "ircadb"]
COST = pd.DataFrame({"space": ["latent", "pixel"], "total_gflop": [2.0, 20.0]})


def everyone(cases) -> dict[tuple[str, str], str]:
    """Each case a patient of its own."""
    return {place: "/".join(place) for place in zip(cases["source"], cases["case"], strict=True)}


def logs() -> dict[str, pd.DataFrame]:
    """Mask prediction is after 2 steps where noise prediction is after 6."""
    dice = {"mask": [np.nan, 0.2, np.nan, 0.5, np.nan, 0.7], "noise": [np.nan, 0.0, np.nan, 0.1, np.nan, 0.2]}
    constant = {"loss": 1.0, "seconds": 0.1, "wait_seconds": 0.0}
    return {
        system.key: pd.DataFrame({"step": range(6), "validation_dice": dice[system.key.split("_")[0]], **constant})
        for system in VARIANTS
    }


@pytest.fixture
def evidence(cases, published):
    """Evidence on real scans with pretrained CLIP."""
    sources = {name: Source("local", "test" if name == "ircadb" else "train", name) for name in SOURCES}
    figures = {table: read_published(published, table) for table in (2, 3)}
    return Evidence(cases, COST, figures, sources, Weights("download"), everyone(cases), logs(), 1)


@pytest.mark.parametrize(
    ("measured", "claimed", "expected"),
    [
        (Measured(5, 1, 9, 10), None, SUPPORTED),
        (Measured(5, 1, 9, 10), 7.0, SUPPORTED),
        (Measured(5, 1, 6, 10), 7.0, NOT_SUPPORTED),
        (Measured(5, -1, 9, 10), None, NOT_SUPPORTED),
        (Measured(5, 0, 9, 10), None, NOT_SUPPORTED),
        (Measured(-5, -9, -1, 10), None, NOT_SUPPORTED),
        (Measured(5, 1, 9, 5), None, NOT_TESTABLE),
        (Measured(5, 1, 9, 10, obstacle="synthetic"), None, NOT_TESTABLE),
        (Measured(0.1, float("nan"), float("nan"), 10), None, NOT_TESTABLE),
        (Measured(9, 9, 9, null=1.0), None, SUPPORTED),
        (Measured(0.5, 0.5, 0.5, null=1.0), None, NOT_SUPPORTED),
    ],
)
def test_verdict_needs_the_whole_interval_on_the_claimed_side(measured, claimed, expected):
    decided, reason = verdict(measured, claimed)
    assert decided == expected
    assert reason


def test_gains_are_measured_and_pancreas_tumours_supported_at_their_claimed_size(evidence, cases):
    rows = ledger(evidence).set_index("claim")
    gain = cases.pivot(index=["target", "source", "case"], columns=["system", "variant"], values="dice")[
        "universal_diffusion"
    ]
    liver = gain.xs(("liver tumor", "msd03"))
    assert rows.loc["liver_tumours", "measured"] == pytest.approx(
        100 * (liver["mask_clip"] - liver["noise_clip"]).mean()
    )
    assert rows.loc["liver_tumours", "verdict"] == SUPPORTED
    assert rows.loc["pancreas_tumours", "verdict"] == SUPPORTED
    assert rows.loc["mask_over_noise", "measured"] == pytest.approx(100 * (5 * 0.2 + 4 * 0.1) / 9, abs=1)
    assert rows.loc["mask_over_noise", "n"] == 48
    assert rows.loc["smaller_structures", "measured"] == pytest.approx(10, abs=1)
    assert rows.loc["latent_cost", ["measured", "verdict"]].tolist() == [10.0, SUPPORTED]
    assert rows.loc["second_best", "measured"] == pytest.approx(65 + 0.5 - 86.68, abs=2)
    assert rows.loc["second_best", "verdict"] == NOT_SUPPORTED
    assert rows.loc["competitive", "verdict"] == NOT_SUPPORTED
    assert rows.loc["generalises", "verdict"] == SUPPORTED
    assert rows.loc["latent_quality", "verdict"] == NOT_TESTABLE
    assert rows.loc["faster_convergence", ["measured", "verdict"]].tolist() == [3.0, NOT_TESTABLE]
    assert "trained once" in rows.loc["faster_convergence", "reason"]


def test_nothing_is_supported_whose_interval_holds_no_effect(evidence):
    rows = ledger(evidence)
    supported = rows[rows["verdict"] == SUPPORTED]
    assert (supported["low"] > 0).all()
    assert rows["reason"].str.len().gt(0).all()


def test_synthetic_scans_untrained_clip_and_few_cases_settle_little(evidence):
    phantom = {name: Source("phantom", source.role) for name, source in evidence.sources.items()}
    made = replace(evidence, sources=phantom, weights=Weights("untrained"))
    rows = ledger(made).set_index("claim")
    for claim in ("liver_tumours", "pancreas_tumours", "second_best", "outperforms_specialised", "clip_over_learnt"):
        assert rows.loc[claim, "verdict"] == NOT_TESTABLE
        assert "synthetic" in rows.loc[claim, "reason"] or "untrained" in rows.loc[claim, "reason"]
        assert not np.isnan(rows.loc[claim, "measured"])
    few = evidence.cases[evidence.cases["case"].isin(["case_0", "case_1"]) & (evidence.cases["source"] == "msd09")]
    rows = ledger(replace(evidence, cases=few, sources={})).set_index("claim")
    assert set(rows.drop("latent_cost")["verdict"]) == {NOT_TESTABLE}


def test_false_alarms_do_not_enter_the_pairs(evidence):
    alarms = evidence.cases["outcome"] == "scored"
    alarms &= (evidence.cases["target"] == "liver tumor") & (evidence.cases["case"] == "case_0")
    evidence.cases.loc[alarms, ["dice", "truth_ml", "outcome"]] = [0.0, 0.0, "false_positive"]
    rows = ledger(evidence).set_index("claim")
    assert rows.loc["liver_tumours", "n"] == 7


def test_the_step_writes_the_same_ledger_twice(evidence, published, tmp_path, monkeypatch):
    write_cases(tmp_path / "cases.csv", evidence.cases)
    COST.to_csv(tmp_path / "cost.csv", index=False)
    written_logs = [tmp_path / variant / "log.csv" for variant in evidence.logs]
    for path in written_logs:
        path.parent.mkdir()
        evidence.logs[path.parent.name].to_csv(path, index=False)
    places = sorted(evidence.patients)
    write_splits(tmp_path / "splits.csv", [SplitRow(s, s, c, f"{s}/{c}", "validation", "") for s, c in places])
    sources = {name: {"origin": "local", "role": "train", "path": "x"} for name in SOURCES}
    written = []
    for run in ("first", "second"):
        flags = ["--cases", tmp_path / "cases.csv", "--cost", tmp_path / "cost.csv", "--published", published]
        flags += ["--splits", tmp_path / "splits.csv", "--logs", *written_logs]
        flags += ["--sources", json.dumps(sources), "--weights", '{"origin": "download"}', "--study-seed", "1"]
        flags += [
            "--cohort",
            "imagined",
            "--output-csv",
            tmp_path / f"{run}.csv",
            "--output-md",
            tmp_path / f"{run}.md",
        ]
        monkeypatch.setattr(sys, "argv", ["claims", *map(str, flags)])
        main()
        written.append(((tmp_path / f"{run}.csv").read_bytes(), (tmp_path / f"{run}.md").read_bytes()))
    assert written[0] == written[1]
    assert b"imagined" in written[0][1].splitlines()[0]
