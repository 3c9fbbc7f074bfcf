"""Means, intervals and paired tests."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import norm

from universal_diffusion.evaluation.statistics import (
    bootstrap,
    case_table,
    mean_of_all,
    mean_of_column_means,
    paired_p_value,
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
    if len(defined) > 1:
        assert min(defined) - 1e-9 <= summary.low <= summary.high <= max(defined) + 1e-9
    else:
        assert np.isnan([summary.low, summary.high]).all()


def test_interval_agrees_with_scipys_and_with_the_normal_theory():
    values = np.random.default_rng(0).normal(0.7, 0.1, 80)
    summary = summarise(values, numpy_generator(1, "test"))
    theirs = scipy_bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=2).confidence_interval
    half = norm.ppf(0.975) * values.std() / np.sqrt(80)
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
    assert bootstrap(table(liver=[np.nan, np.nan]), mean_of_all, np.random.default_rng(0)).n == 0


def test_case_table_puts_targets_of_a_source_in_columns():
    cases = pd.DataFrame(
        {"source": ["msd03", "msd03", "btcv"], "case": ["a", "a", "a"], "target": ["liver", "liver tumor", "liver"]}
    ).assign(dice=[0.9, 0.4, 0.8])
    wide = case_table(cases)
    assert wide.loc[("msd03", "a"), "liver tumor@msd03"] == 0.4
    assert np.isnan(wide.loc[("msd03", "a"), "liver@btcv"])


def test_wilcoxon_on_pairs():
    assert paired_p_value(np.array([0.1, 0.2, 0.3, 0.1, 0.2, 0.4])) == pytest.approx(2 / 2**6)
    assert np.isnan(paired_p_value(np.zeros(4)))
    assert np.isnan(paired_p_value(np.array([np.nan])))
