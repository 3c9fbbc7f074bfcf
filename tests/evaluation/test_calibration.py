"""The judging of one mask's uncertainty: against definitions written out, scikit-learn, and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import brier_score_loss, roc_auc_score

from universal_diffusion.evaluation.scoring.calibration import (
    COVERAGES,
    Uncertainty,
    calibration_error,
    doubt,
    measure,
    region,
)
from universal_diffusion.evaluation.scoring.scores import dice
from universal_diffusion.segmentation.outputs.facts import FactsFold

LEVEL = np.float32(1 / 255)  # the step of a stored map of means
VARIANCE_LEVEL = np.float32(0.25 / 255)
NEVER = np.zeros(40, np.float32)


def maps(seed: int, size: int = 3000, levels: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Truth, mean, variance and mask of an ensemble that knows something; in 256 levels, as files hold them."""
    generator = np.random.default_rng(seed)
    mean = generator.beta(0.4, 0.6, size).astype(np.float32) * (generator.random(size) < 0.8)
    truth = generator.random(size) < 0.8 * mean + 0.05
    variance = (mean * (1 - mean) * generator.random(size)).astype(np.float32)
    if levels:
        mean, variance = np.rint(mean / LEVEL) * LEVEL, np.rint(variance / VARIANCE_LEVEL) * VARIANCE_LEVEL
    return truth, mean.astype(np.float32), variance.astype(np.float32), mean >= 0.5


def with_mean(mean: np.ndarray, truth: np.ndarray) -> Uncertainty:
    mean = np.asarray(mean, np.float32)
    return measure(truth, mean, np.zeros_like(mean), mean >= 0.5)


def same(first: Uncertainty, second: Uncertainty) -> bool:
    return repr(first) == repr(second)  # so that NaN equals NaN


SEEDS = st.integers(0, 10_000)


@settings(max_examples=20)
@given(SEEDS, st.booleans())
def test_agrees_with_scikit_learn_and_with_the_definitions(seed, levels):
    truth, mean, variance, predicted = maps(seed, 400, levels)
    found, wrong = measure(truth, mean, variance, predicted), truth != predicted
    assert found.brier == pytest.approx(brier_score_loss(truth, mean.clip(0, 1)))
    assert found.error_auroc == pytest.approx(roc_auc_score(wrong, variance))
    numbers = np.digitize(mean.astype(float) + 1e-6, np.linspace(0, 1, 11)[1:-1])
    gaps = [(numbers == k).mean() * abs(mean[numbers == k].mean() - truth[numbers == k].mean()) for k in set(numbers)]
    assert found.ece == pytest.approx(sum(gaps), abs=1e-6)
    p = mean[mean >= np.float32(0.05)].clip(0, 1).astype(float)
    bits = [-sum(q * np.log2(q) for q in (a, 1 - a) if q > 0) for a in p]
    assert doubt(mean) == pytest.approx(np.mean(bits))


def test_reliability_counts_every_asked_voxel_once():
    truth, mean, variance, predicted = maps(1)
    rows = np.array(measure(truth, mean, variance, predicted).reliability)
    np.testing.assert_allclose(rows.sum(axis=0), [3000, mean.sum(dtype=float), truth.sum()])
    held = rows[rows[:, 0] > 0]
    assert np.all(held[:, 1] / held[:, 0] >= np.flatnonzero(rows[:, 0]) / 10 - 1e-5)
    assert np.all(held[:, 1] / held[:, 0] <= np.flatnonzero(rows[:, 0]) / 10 + 0.1 + 1e-5)


@pytest.mark.parametrize("scale", [1, 1 - 1e-7, 1 + 1e-7])
def test_a_stored_level_on_the_edge_of_a_bin_lies_above_it(scale):
    """51, 102, 153 and 204 of 255 are edges, which the rounded slope of a file moves a little."""
    levels = np.arange(256) * np.float32(scale / 255)
    rows = with_mean(levels, np.ones(256, bool)).reliability
    assert [voxels for voxels, _, _ in rows] == [26, 25, 26, 25, 26, 25, 26, 25, 26, 26]


def test_perfectly_calibrated_data_have_no_error():
    mean = np.repeat(np.float32([0.25, 0.5, 0.75]), 8)
    truth = np.concatenate([np.arange(8) < 8 * p for p in (0.25, 0.5, 0.75)])
    found = with_mean(mean, truth)
    assert found.ece == 0
    assert found.brier == pytest.approx(np.mean([p * (1 - p) for p in (0.25, 0.5, 0.75)]))  # nothing but the noise


def test_brier_is_reliability_less_resolution_plus_noise():
    """Murphy's decomposition, exact where a bin has one probability."""
    generator = np.random.default_rng(3)
    levels = np.float32([0.05, 0.15, 0.35, 0.65, 0.95])
    mean = generator.choice(levels, 5000)
    truth = generator.random(5000) < 0.3 + 0.4 * mean
    base = truth.mean()
    groups = [truth[mean == level].mean() for level in levels]
    weights = [(mean == level).mean() for level in levels]
    error = sum(w * (p - f) ** 2 for w, p, f in zip(weights, levels.astype(float), groups, strict=True))
    resolution = sum(w * (f - base) ** 2 for w, f in zip(weights, groups, strict=True))
    assert with_mean(mean, truth).brier == pytest.approx(error - resolution + base * (1 - base))


def test_a_constant_predictor_errs_by_its_distance_from_the_frequency():
    truth = np.arange(40) < 12
    found = measure(truth, NEVER + np.float32(0.625), NEVER + np.float32(0.1), ~np.zeros(40, bool))
    assert found.ece == pytest.approx(0.625 - 0.3)
    assert found.brier == pytest.approx(0.3 * 0.375**2 + 0.7 * 0.625**2)
    assert found.error_auroc == 0.5
    assert found.coverage == pytest.approx([2 * 12 / 52] * len(COVERAGES))  # setting aside says nothing


def test_over_confidence_is_the_whole_error():
    truth = np.arange(40) < 10
    assert with_mean(~truth, truth).ece == pytest.approx(1)
    assert with_mean(~truth, truth).brier == pytest.approx(1)


@pytest.mark.parametrize("shape", [(40,), (5, 8), (2, 4, 5)])
def test_the_shape_says_nothing(shape):
    truth, mean, variance, predicted = maps(5, 40)
    shaped = [array.reshape(shape) for array in (truth, mean, variance, predicted)]
    assert same(measure(*shaped), measure(truth, mean, variance, predicted))


def test_the_region_is_the_targets_box_with_20_mm_to_each_side_whatever_the_spacing():
    truth = np.zeros((60, 60, 30), bool)
    truth[30:33, 5:9, 29] = True
    assert region(truth, np.array([1.0, 0.9, 5.0])) == (slice(10, 53), slice(0, 32), slice(25, 34))
    assert truth[region(truth, np.array([1.0, 0.9, 5.0]))].shape == (43, 32, 5)  # the CT ends there
    assert truth[region(np.zeros_like(truth), np.ones(3))].size == 0


@settings(max_examples=20)
@given(SEEDS, st.floats(0, 0.04))
def test_what_a_model_says_elsewhere_changes_nothing(seed, mean_elsewhere):
    """So two models are judged on the same voxels, however far they spread their probability."""
    judged = maps(seed, 60)
    judged[0][[0, 58, 59]] = True, True, False
    elsewhere = (False, np.float32(mean_elsewhere), np.float32(0.2), False)
    wider = [np.append(array, np.full(500, value, array.dtype)) for array, value in zip(judged, elsewhere, strict=True)]
    asked = region(wider[0], np.array([21.0]))  # of the 20 mm, one voxel
    assert asked == (slice(0, 60),)
    assert same(measure(*(array[asked] for array in wider)), measure(*judged))
    assert doubt(wider[1]) == doubt(judged[1])  # below the 0.05 that is shown


def test_a_variance_that_says_nothing_finds_errors_as_chance_does():
    """Chance is a half whatever the model leaves out: its sure and right background is judged too."""
    generator = np.random.default_rng(0)
    truth, predicted = generator.random(40_000) < 0.3, generator.random(40_000) < 0.3
    variance = generator.random(40_000).astype(np.float32) / 4
    found = measure(truth, np.where(predicted, np.float32(0.9), np.float32(0)), variance, predicted)
    assert found.error_auroc == pytest.approx(0.5, abs=0.01)


@settings(max_examples=20)
@given(SEEDS, SEEDS, st.booleans())
def test_the_order_of_the_voxels_changes_no_byte(seed, order, levels):
    arrays_ = maps(seed, 300, levels)
    shuffled = np.random.default_rng(order).permutation(300)
    assert same(measure(*arrays_), measure(*(array[shuffled] for array in arrays_)))


@settings(max_examples=30)
@given(SEEDS)
def test_everything_kept_is_dice(seed):
    truth, mean, variance, predicted = maps(seed, 60)
    assert measure(truth, mean, variance, predicted).coverage[0] == pytest.approx(dice(truth, predicted), nan_ok=True)


@settings(max_examples=30)
@given(arrays(bool, 50), arrays(bool, 50), st.integers(0, 49))
def test_setting_aside_exactly_the_errors_never_lowers_dice(truth, predicted, sure):
    truth, predicted = truth.copy(), predicted.copy()
    truth[sure] = predicted[sure] = True
    mean = np.where(predicted, np.float32(0.9), np.float32(0.1))
    found = measure(truth, mean, (truth != predicted).astype(np.float32), predicted)
    assert np.all(np.diff(found.coverage) >= -1e-12)
    assert found.error_auroc == pytest.approx(1 if np.any(truth != predicted) else float("nan"), nan_ok=True)


def test_variance_of_the_sure_voxels_misleads():
    """A map upside down: 20 wrong voxels of least variance. Its AUROC is 0, and Dice falls as voxels are set aside."""
    predicted = np.ones(100, bool)
    truth = np.arange(100) >= 20
    found = measure(truth, np.full(100, 0.9, np.float32), (np.arange(100) / 400).astype(np.float32), predicted)
    assert found.error_auroc == 0
    assert np.all(np.diff(found.coverage) < 0)
    assert found.coverage[-1] == pytest.approx(2 * 30 / (50 + 30))  # of the 50 kept, 20 are wrong


def test_equal_variances_are_set_aside_in_fair_shares():
    """80 voxels in one level, of which half are to go: the expectation over every order, whatever the order given."""
    truth, predicted = np.arange(80) < 40, (np.arange(80) >= 20) & (np.arange(80) < 60)
    mean = np.where(predicted, np.float32(0.9), np.float32(0.1))
    kept = measure(truth, mean, np.zeros(80, np.float32), predicted).coverage
    assert kept == pytest.approx([0.5] * len(COVERAGES))


def test_a_mask_of_nothing_asked_has_no_measure_and_no_doubt():
    asked = region(NEVER > 0, np.ones(1))
    found = measure(*(array[asked] for array in (NEVER > 0, NEVER, NEVER, NEVER > 0)))
    assert np.isnan([found.ece, found.brier, found.error_auroc, *found.coverage]).all()
    assert doubt(NEVER) == 0
    assert found.reliability == ((0, 0.0, 0),) * 10


def test_a_missed_target_has_no_doubt_and_all_of_the_error():
    found = measure(NEVER == 0, NEVER, NEVER, NEVER > 0)
    assert (found.ece, found.brier, doubt(NEVER), found.coverage) == (1, 1, 0, (0.0,) * len(COVERAGES))
    assert np.isnan(found.error_auroc)


def test_doubt_is_what_the_report_of_a_new_ct_says():
    _, mean, _, predicted = maps(8)
    fold = FactsFold()
    fold.add(mean.clip(0, 1), predicted, None)
    told = fold.facts(1.0, np.zeros(0), has_hu=False).uncertainty
    assert doubt(mean) == pytest.approx(told, abs=1e-4)


def test_pooled_error_is_that_of_all_voxels_together():
    first, second = maps(11), maps(12)
    rows = sum(np.array(measure(*arrays_).reliability) for arrays_ in (first, second))
    together = measure(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))
    assert calibration_error(rows) == pytest.approx(together.ece)


def test_maps_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="shapes differ"):
        measure(NEVER > 0, NEVER, NEVER[:-1], NEVER > 0)
