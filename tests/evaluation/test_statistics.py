"""Means, intervals over patients, paired tests, effect sizes and their correction."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import t, wilcoxon

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.multiplicity import holm
from universal_diffusion.evaluation.statistics import (
    FEWEST,
    FEWEST_PER_COLUMN,
    averages,
    bootstrap,
    compare,
    mean_of_all,
    mean_of_column_means,
    paired_p_value,
    patient_table,
    rank_biserial,
    summarise,
)
from universal_diffusion.randomness import numpy_generator

DICE = st.lists(st.floats(0, 1) | st.just(float("nan")), max_size=12)


@given(DICE)
def test_summary_is_of_the_defined_values_and_lies_in_its_interval(values):
    summary = summarise(np.array(values, float), np.random.default_rng(1))
    defined = [value for value in values if not np.isnan(value)]
    assert summary.n == len(defined)
    if defined:
        assert summary.value == pytest.approx(np.mean(defined))
    if len(defined) >= FEWEST:
        assert min(defined) - 1e-9 <= summary.low <= summary.high <= max(defined) + 1e-9
    else:
        assert np.isnan([summary.low, summary.high]).all()


def test_interval_agrees_with_scipys_and_with_students():
    values = np.random.default_rng(0).normal(0.7, 0.1, 80)
    summary = summarise(values, numpy_generator(1, "test"))
    theirs = scipy_bootstrap((values,), np.mean, n_resamples=4000, method="BCa", rng=2).confidence_interval
    half = t.ppf(0.975, 79) * values.std(ddof=1) / np.sqrt(80)
    assert (summary.low, summary.high) == pytest.approx((theirs.low, theirs.high), abs=0.003)
    assert (summary.low, summary.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.003)
    assert summary == summarise(values, numpy_generator(1, "test"))


def table(**columns) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    frame.index = pd.MultiIndex.from_product([["msd03"], range(len(frame))], names=["source", "case"])
    return frame


def test_the_two_averages_differ_when_one_target_has_more_cases():
    values = table(liver=[0.9, 0.9, 0.9, 0.9], pancreas=[0.5, np.nan, np.nan, np.nan], bladder=[np.nan] * 4)
    assert mean_of_column_means(values) == pytest.approx((0.9 + 0.5) / 2)
    assert mean_of_all(values) == pytest.approx((4 * 0.9 + 0.5) / 5)
    assert np.isnan(mean_of_column_means(values[["bladder"]]))


def test_bootstrap_keeps_the_targets_of_a_case_together():
    """Two targets that are each other's mirror image have a mean that no resampling can move."""
    liver = np.linspace(0.1, 0.9, 9)
    summary = bootstrap(table(liver=liver, tumour=1 - liver), mean_of_column_means, np.random.default_rng(3))
    assert (summary.value, summary.low, summary.high) == pytest.approx((0.5, 0.5, 0.5))
    assert summary.n == 9


def test_bootstrap_of_too_few_cases_has_no_interval():
    assert bootstrap(table(liver=[0.5]), mean_of_all, np.random.default_rng(0)).n == 1
    for n, missing in ((FEWEST - 1, True), (FEWEST, False)):
        values = np.linspace(0.1, 0.9, n)
        for summary in (
            summarise(values, np.random.default_rng(0)),
            bootstrap(table(liver=values), mean_of_all, np.random.default_rng(0)),
            averages(table(liver=values), np.random.default_rng(0))[1],
        ):
            assert summary.n == n
            assert np.isnan([summary.low, summary.high]).all() == missing
    assert bootstrap(table(liver=[np.nan, np.nan]), mean_of_all, np.random.default_rng(0)).n == 0


def scored(*rows: tuple) -> pd.DataFrame:
    """Score rows (source, case, patient, target, dice)."""
    return pd.DataFrame(rows, columns=["source", "case", "patient", "target", "dice"])


def test_patient_table_puts_targets_of_a_source_in_columns_and_a_patient_in_one_row():
    cases = scored(
        ("msd03", "a", "p", "liver", 0.9), ("msd03", "a", "p", "liver tumor", 0.4), ("btcv", "x", "p", "liver", 0.8)
    )
    wide = patient_table(cases)
    assert list(wide.index) == [("btcv", "p")]
    assert wide.iloc[0].to_dict() == {"liver@msd03": 0.9, "liver tumor@msd03": 0.4, "liver@btcv": 0.8}
    assert patient_table(cases, pooled=True).loc[("", "p"), "liver"] == pytest.approx(0.85)


def test_a_duplicated_patient_changes_nothing():
    cases = scored(*[("msd03", f"c{n}", f"p{n}", "liver", dice) for n, dice in enumerate((0.2, 0.5, 0.9))])
    copies = cases[cases["case"] == "c2"]
    again = pd.concat([cases, *(copies.assign(case=f"copy{n}") for n in range(5))])
    found = [averages(patient_table(table), np.random.default_rng(0)) for table in (cases, again)]
    assert found[0] == found[1]
    assert (found[1][0].value, found[1][0].n) == (pytest.approx(1.6 / 3), 3)
    strangers = again.assign(patient=again["case"])
    assert averages(patient_table(strangers), np.random.default_rng(0))[0].n == 8


def test_the_same_case_twice_is_refused():
    cases = scored(("msd03", "a", "p", "liver", 0.9), ("msd03", "a", "p", "liver", 0.1))
    with pytest.raises(InputError, match="msd03/a/liver occurs twice"):
        patient_table(cases)


@given(st.lists(st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=3, max_size=3), max_size=8))
def test_both_averages_agree_with_the_plain_ones_whatever_is_missing(rows):
    frame = table(**{name: [row[n] for row in rows] for n, name in enumerate("abc")})
    targets, cases = averages(frame, np.random.default_rng(0))
    assert targets.value == pytest.approx(mean_of_column_means(frame), nan_ok=True)
    assert cases.value == pytest.approx(mean_of_all(frame), nan_ok=True)
    assert targets.n == cases.n == frame.notna().any(axis=1).sum()


def test_averages_agree_with_the_slow_bootstrap_within_sources():
    generator = np.random.default_rng(4)
    frame = table(liver=generator.random(30), tumour=np.where(generator.random(30) < 0.5, np.nan, 0.3))
    frame.index = pd.MultiIndex.from_tuples([("ab"[n % 2], n) for n in range(30)])
    for found, statistic in zip(averages(frame, generator), (mean_of_column_means, mean_of_all), strict=True):
        slow = bootstrap(frame, statistic, np.random.default_rng(1))
        assert (found.low, found.high, found.value) == pytest.approx((slow.low, slow.high, slow.value), abs=0.01)


def test_a_target_that_a_draw_leaves_out_keeps_its_mean():
    """Few patients hold the hard target: dropped from draws, it would lift them all above the statistic."""
    frame = table(easy=[0.9] * 40, hard=[*[0.1] * FEWEST_PER_COLUMN, *[np.nan] * (40 - FEWEST_PER_COLUMN)])
    for summary in (
        averages(frame, np.random.default_rng(0))[0],
        bootstrap(frame, mean_of_column_means, np.random.default_rng(0)),
    ):
        assert (summary.value, summary.low, summary.high) == pytest.approx((0.5, 0.5, 0.5))


def test_a_mean_of_target_means_that_rests_on_few_patients_has_no_interval():
    """Their spread would hardly enter it: with one patient, not at all."""
    values = np.random.default_rng(0).random(20)
    for holders, missing in ((1, True), (FEWEST_PER_COLUMN - 1, True), (FEWEST_PER_COLUMN, False)):
        frame = table(easy=values, hard=np.where(np.arange(20) < holders, values, np.nan))
        targets, cases = averages(frame, np.random.default_rng(0))
        slow = bootstrap(frame, mean_of_column_means, np.random.default_rng(0))
        assert [np.isnan(targets.low), np.isnan(slow.high), np.isnan(cases.low)] == [missing, missing, False]


@pytest.mark.parametrize("n", [FEWEST, 10, 40])
def test_nineteen_of_twenty_intervals_hold_the_truth(n):
    """Plain percentiles hold it 86 times in a hundred at six patients."""
    generator, held = np.random.default_rng(11), 0
    for _ in range(500):
        values = generator.beta(8, 2, n)  # like Dice: skewed, mean 0.8
        summary = summarise(values, generator)
        held += summary.low <= 0.8 <= summary.high
    assert 0.91 <= held / 500 <= 0.98


def test_intervals_of_target_means_hold_the_truth_where_targets_are_held_by_few():
    """Twenty patients who differ, eight targets, of which some are held by five of them only."""
    generator, held = np.random.default_rng(5), 0
    holds = np.arange(20)[:, None] < np.array([20, 20, 15, 10, 8, 6, 5, 5])
    for _ in range(300):
        dice = 0.7 + generator.normal(0, 0.1, (20, 1)) + generator.normal(0, 0.1, (20, 8))
        targets, _ = averages(table(**dict(zip("abcdefgh", np.where(holds, dice, np.nan).T, strict=True))), generator)
        held += targets.low <= 0.7 <= targets.high
    assert 0.88 <= held / 300 <= 0.98


def test_intervals_over_scans_of_the_same_patients_would_be_too_narrow():
    """Four scans each of ten patients who differ, while their scans hardly do: coverage by patients and by scans."""
    generator, held = np.random.default_rng(2), {"patients": 0, "scans": 0}
    for _ in range(100):
        means = np.repeat(generator.normal(0.7, 0.1, 10), 4)
        dice = means + generator.normal(0, 0.01, 40)
        rows = scored(*[("msd03", f"c{n}", f"p{n // 4}", "liver", value) for n, value in enumerate(dice)])
        for unit, cases in (("patients", rows), ("scans", rows.assign(patient=rows["case"]))):
            targets, _ = averages(patient_table(cases), generator)
            held[unit] += targets.low <= 0.7 <= targets.high
    assert held["patients"] >= 89
    assert held["scans"] < 75


def test_wilcoxon_leaves_zeros_out_and_stays_exact():
    """Fourteen patients without a difference between the systems would turn the exact test into an approximation."""
    differences = np.array([0.1, 0.2, 0.3, 0.4, 0.5, -0.05])
    with_zeros = np.concatenate([differences, np.zeros(14)])
    assert (
        paired_p_value(with_zeros)
        == paired_p_value(differences)
        == pytest.approx(wilcoxon(differences, method="exact").pvalue)
    )


def test_wilcoxon_on_pairs():
    assert paired_p_value(np.array([0.1, 0.2, 0.3, 0.1, 0.2, 0.4])) == pytest.approx(2 / 2**6)
    assert np.isnan(paired_p_value(np.zeros(4)))
    assert np.isnan(paired_p_value(np.array([np.nan])))


def test_rank_biserial_by_hand():
    """Ranks of 0.1, 0.2, 0.3 (against), 0.4: 1, 2, 3, 4; (1 + 2 + 4 - 3) / 10. Zeros and gaps do not count."""
    assert rank_biserial(np.array([0.1, 0.2, -0.3, 0.4, 0.0, np.nan])) == pytest.approx(0.4)
    assert rank_biserial(np.array([0.1, 0.7])) == 1
    assert np.isnan(rank_biserial(np.zeros(3)))


@given(st.lists(st.floats(-1, 1).filter(lambda value: abs(value) > 1e-6), min_size=2, max_size=12, unique_by=abs))
def test_rank_biserial_follows_from_wilcoxons_statistic(values):
    signed_rank = wilcoxon(values, alternative="greater").statistic  # sum of the ranks in favour
    total = len(values) * (len(values) + 1) / 2
    assert rank_biserial(np.array(values)) == pytest.approx(2 * signed_rank / total - 1)


def test_holm_by_hand():
    """Of 4: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04, which may not fall below the one before it."""
    corrected = holm(np.array([0.01, np.nan, 0.04, 0.03, 0.005]))
    assert corrected == pytest.approx([0.03, np.nan, 0.06, 0.06, 0.02], nan_ok=True)
    assert np.isnan(holm(np.array([np.nan]))).all()


def test_compare_turns_its_sign_with_the_order_and_pairs_what_both_have():
    first = table(liver=[0.8, 0.7, 0.9, np.nan], spleen=[0.5, np.nan, np.nan, 0.6])
    second = table(liver=[0.6, 0.6, 0.6, 0.1], spleen=[0.4, 0.9, np.nan, np.nan])
    there, back = (compare(*pair, np.random.default_rng(0)) for pair in ((first, second), (second, first)))
    assert there.targets.value == pytest.approx((0.2 + 0.1) / 2)
    assert there.cases.value == pytest.approx((0.2 + 0.1 + 0.3 + 0.1) / 4)
    assert there.targets.n == 3
    assert back.targets.value == pytest.approx(-there.targets.value)
    assert (there.p_value, there.rank_biserial) == (back.p_value, -back.rank_biserial)
