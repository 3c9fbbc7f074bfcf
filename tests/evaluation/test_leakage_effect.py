"""Both numbers side by side: paired, per target, leaked patients apart from the others."""

import sys

import numpy as np
import pandas as pd
import pytest

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.beyond import leakage_effect as step
from universal_diffusion.evaluation.beyond.leakage_effect import effect_rows, printed_table
from universal_diffusion.evaluation.patients import patients_of
from universal_diffusion.evaluation.scoring.cases import COLUMNS, write_cases
from universal_diffusion.preparation.splits import SplitRow, write_splits
from universal_diffusion.systems import system_of

SPLITS = [
    SplitRow(source, source, case, group, part, "")
    for group, source, case, part in (
        ("g1", "ircadb", "p1", "test"),
        ("g1", "msd03", "liver_28", "excluded"),
        ("g2", "ircadb", "p2", "test"),
        ("g2", "abdomenct1k", "c", "train"),
        ("g3", "ircadb", "p3", "test"),
        ("g5", "ircadb", "p4", "test"),
        ("g4", "kits23", "k", "train"),
        ("g4", "abdomenct1k", "d", "train"),
    )
]
PATIENTS = patients_of(SPLITS)  # of p1 and p2 another scan stands in a training archive
LIVER = {"p1": (0.6, 0.9), "p2": (0.8, 0.9), "p3": (0.7, 0.7), "p4": (0.5, np.nan)}


def scores(side: int, part: str = "test") -> pd.DataFrame:
    """Scores of mask_clip and of a baseline that must not count."""
    rows = []
    for key in ("mask_clip", "segresnet"):
        system = system_of(key)
        identity = {"system": system.family, "variant": system.variant, "dataset": "ircadb", "source": "ircadb"}
        for case, dice in LIVER.items():
            other = 0.1 if key == "segresnet" else dice[side]
            rows.append(dict.fromkeys(COLUMNS, np.nan) | identity | {"case": case, "part": part, "dice": other})
    return pd.DataFrame(rows).assign(target="liver", outcome="scored")[COLUMNS]


def of_method(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["variant"] == "mask_clip"]


def test_differences_are_paired_and_leave_out_undefined_scores():
    rows = effect_rows(of_method(scores(0)), of_method(scores(1)), PATIENTS, 1)
    leaked, others, *_ = rows.to_dict("records")
    assert (leaked["patients"], leaked["target"], leaked["n"]) == ("leaked", "liver", 2)
    np.testing.assert_allclose([leaked["dice_without"], leaked["dice_with"], leaked["difference"]], [0.7, 0.9, 0.2])
    assert (others["n"], others["difference"]) == (1, 0)
    assert np.isnan([leaked["low"], leaked["high"], others["low"]]).all()
    texts = printed_table(rows, "Mask, CLIP", "a toy").texts
    assert texts.iloc[0].tolist() == ["liver", "70.0", "90.0", "+20.0 (2)", "70.0", "70.0", "+0.0 (1)"]


def test_mean_is_over_targets_and_not_over_scores():
    tables = []
    for side in (0, 1):
        liver = of_method(scores(side))
        spleen = liver[liver["case"] == "p1"].assign(target="spleen", dice=0.5 + 0.1 * side)
        tables.append(pd.concat([liver, spleen]))
    rows = effect_rows(*tables, PATIENTS, 1).set_index(["patients", "target"])
    assert rows.loc[("leaked", "mean of targets"), "n"] == 2
    assert rows.loc[("leaked", "mean of targets"), "difference"] == pytest.approx((0.2 + 0.1) / 2)
    assert rows.loc[("leaked", "mean of targets"), "dice_without"] == pytest.approx((0.7 + 0.5) / 2)
    assert rows.loc[("not leaked", "spleen"), "n"] == 0
    assert rows["difference"].isna().sum() == 1


def test_validation_cases_do_not_count():
    with pytest.raises(InputError, match="hold no Dice of a test case"):
        effect_rows(of_method(scores(0, "validation")), of_method(scores(1, "validation")), PATIENTS, 1)


def test_scores_of_other_cases_are_refused():
    with pytest.raises(InputError, match="not of the same test cases"):
        effect_rows(of_method(scores(0)), of_method(scores(1)).iloc[1:], PATIENTS, 1)


def test_two_scans_of_a_patient_are_one_unit():
    """p1 and p2 as one patient: the mean of both, and no interval of one patient."""
    splits = [
        SplitRow(row.source, row.dataset, row.case, "g1" if row.group == "g2" else row.group, row.part, "")
        for row in SPLITS
    ]
    rows = effect_rows(of_method(scores(0)), of_method(scores(1)), patients_of(splits), 1)
    liver = rows.set_index(["patients", "target"]).loc[("leaked", "liver")]
    assert (liver["n"], liver["difference"]) == (1, pytest.approx(0.2))
    assert np.isnan(liver["low"])


def run(tmp_path, monkeypatch, splits: str) -> None:
    flags = ["--dropped", "drop.csv", "--kept", "keep.csv", "--splits", splits]
    flags += ["--output-csv", "effect.csv", "--output-md", "effect.md", "--output-tex", "effect.tex"]
    paths = [str(tmp_path / flag) if "." in flag else flag for flag in flags]
    words = ["--system", "mask_clip", "--study-seed", "1", "--cohort", "a toy"]
    monkeypatch.setattr(sys, "argv", ["leakage_effect", *paths, *words])
    step.main()


def test_step_writes_the_system_s_figures(tmp_path, monkeypatch, capsys):
    for side, name in enumerate(("drop.csv", "keep.csv")):
        write_cases(tmp_path / name, scores(side))
    write_splits(tmp_path / "splits.csv", SPLITS)
    run(tmp_path, monkeypatch, "splits.csv")
    assert (tmp_path / "effect.csv").read_text().splitlines()[1] == "leaked,liver,2,0.7,0.9,0.2,,"
    assert "Mask, CLIP on the test patients without and with leakage, measured here: a toy." in (
        tmp_path / "effect.md"
    ).read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        run(tmp_path, monkeypatch, "missing.csv")
    assert "missing.csv: is no table of splits" in capsys.readouterr().err
