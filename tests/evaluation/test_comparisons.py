"""All pairs of systems on the same patients."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon
from statsmodels.stats.multitest import multipletests

from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.beyond import comparisons
from universal_diffusion.systems import SYSTEMS


@pytest.fixture(scope="module")
def rows(scored_cases) -> pd.DataFrame:
    """Comparisons in which every scored case is a patient of its own."""
    return comparisons.comparison_rows(scored_cases.assign(patient=scored_cases["source"] + scored_cases["case"]), 1)


def of_pair(rows: pd.DataFrame, first: str, second: str, cohort: str = "test", measure: str = "dice") -> pd.Series:
    return rows.set_index(["cohort", "measure", "first", "second"]).loc[(cohort, measure, first, second)]


def test_every_pair_in_every_cohort_and_measure(rows):
    pairs = list(combinations([system.key for system in SYSTEMS], 2))
    expected = [(c, m, *pair) for c in comparisons.COHORTS for m in comparisons.MEASURES for pair in pairs]
    assert list(rows[["cohort", "measure", "first", "second"]].itertuples(index=False, name=None)) == expected
    assert set(rows.loc[rows["cohort"] == "test", "n"]) == {8}
    assert set(rows.loc[rows["cohort"] != "test", "n"]) == {8 * 7}


def test_a_pair_agrees_with_plain_computations(cases, rows):
    found = of_pair(rows, "noise_clip", "mask_clip")
    test = cases[cases["part"] == "test"]
    sides = [
        test[test["variant"] == variant].pivot(index="case", columns="target", values="dice")
        for variant in ("noise_clip", "mask_clip")
    ]
    by_patient = (sides[0] - sides[1]).mean(axis=1)
    assert found["targets_difference"] == pytest.approx((sides[0] - sides[1]).mean().mean())
    assert found["p_value"] == pytest.approx(wilcoxon(by_patient).pvalue) == pytest.approx(2 / 2**8)
    assert found["rank_biserial"] == -1
    assert (found["n_targets"], found["n_thin_targets"], found["n_pairs"]) == (7, 0, 56)
    assert found["targets_low"] < found["targets_difference"] < found["targets_high"] < 0


def test_p_values_are_corrected_within_a_table_and_decide_together_with_both_intervals(rows):
    block = rows[(rows["cohort"] == "validation and test") & (rows["measure"] == "dice")]
    assert block["p_holm"].to_numpy() == pytest.approx(multipletests(block["p_value"], method="holm")[1])
    assert of_pair(block, "noise_clip", "mask_clip", "validation and test")["finding"] == comparisons.LOWER
    spanning = block["targets_low"] * block["targets_high"] < 0
    assert block.loc[spanning, "finding"].str.startswith("no difference shown: interval of the mean of target").all()
    uncorrected = of_pair(rows, "noise_clip", "mask_clip")
    assert uncorrected["p_value"] < 0.05 <= uncorrected["p_holm"]
    assert uncorrected["finding"] == comparisons.UNCORRECTED


def spans(averages: str) -> str:
    return comparisons.SPANS.format(averages=averages)


@pytest.mark.parametrize(
    ("targets", "every", "corrected", "told"),
    [
        ((0.01, 0.2), (0.02, 0.3), 0.04, comparisons.HIGHER),
        ((-0.2, -0.1), (-0.3, -0.1), 0.04, comparisons.LOWER),
        ((0.01, 0.2), (0.02, 0.3), 0.05, comparisons.UNCORRECTED),
        ((0.01, 0.2), (0.02, 0.3), np.nan, comparisons.UNCORRECTED),
        ((-0.01, 0.2), (0.02, 0.3), 0.001, spans("mean of target means")),
        ((0.01, 0.2), (-0.02, 0.3), 0.001, spans("mean over cases")),
        ((0.01, 0.2), (-0.3, -0.1), 0.001, comparisons.APART),
        ((0.0, 0.0), (0.0, 0.0), np.nan, spans("mean of target means and of the mean over cases")),
        ((np.nan, np.nan), (0.02, 0.3), 0.04, comparisons.HIGHER),
        ((np.nan, np.nan), (-0.02, 0.3), 0.04, spans("mean over cases")),
        ((np.nan, np.nan), (np.nan, np.nan), 0.001, comparisons.UNTESTED),
    ],
)
def test_a_finding_needs_every_interval_and_the_corrected_test(targets, every, corrected, told):
    bounds = dict(zip(("targets_low", "targets_high", "cases_low", "cases_high"), (*targets, *every), strict=True))
    assert comparisons.finding(SimpleNamespace(**bounds, p_holm=corrected)) == told


def test_a_patient_with_many_scans_counts_once(cases):
    cases = cases[cases["variant"].isin(["noise_clip", "mask_clip"])]
    one = cases.assign(patient=np.where(cases["part"] == "test", "the only one", cases["source"] + cases["case"]))
    found = of_pair(comparisons.comparison_rows(one, 1), "noise_clip", "mask_clip")
    assert (found["n"], found["finding"]) == (1, comparisons.UNTESTED)
    assert np.isnan(found["targets_low"])


def test_printed_tables_say_what_is_not_shown_and_that_each_system_was_trained_once(rows):
    printed = comparisons.printed_tables(rows, "a toy")
    text = tables.markdown(*printed)
    assert len(printed) == 6
    assert spans("mean of target means and of the mean over cases") in text
    assert text.count("Each system was trained once") == 6
    assert "0 of the 7 targets are held by fewer than 5 patients" in text


def test_an_absent_target_makes_no_pair_and_a_study_without_a_test_set_an_empty_table(cases):
    """A false positive has Dice 0 where a silent system has none: no pair may hinge on it."""
    cases = cases[(cases["part"] == "validation") & cases["variant"].isin(["noise_clip", "mask_clip"])].copy()
    absent = (cases["target"] == "liver tumor") & (cases["case"] == "case_0")
    cases.loc[absent, ["dice", "truth_ml", "outcome"]] = [0.0, 0.0, "false_positive"]
    rows = comparisons.comparison_rows(cases.assign(patient=cases["source"] + cases["case"]), 1)
    assert set(rows["cohort"]) == {"validation and test"}
    assert set(rows["n_pairs"]) == {9 * 8 - 1}
    assert len(comparisons.printed_tables(rows, "a toy")[-1].texts) == 0
