"""Dice, surfaces and calibration against definitions written out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_erosion, distance_transform_edt

from universal_diffusion.evaluation.scoring import calibration
from universal_diffusion.evaluation.scoring.scores import dice, outcome, overlap
from universal_diffusion.volumes import Grid

MASKS = arrays(bool, (5, 4, 3))
GRID = Grid((20, 18, 12), np.diag([1.5, 1.5, 3.0, 1.0]))


def empty() -> np.ndarray:
    return np.zeros((8, 8, 4), bool)


def one_voxel() -> np.ndarray:
    mask = empty()
    mask[3, 4, 2] = True
    return mask


def test_prediction_on_an_empty_target_scores_zero_where_transunet_scores_one():
    assert dice(empty(), one_voxel()) == 0.0
    assert overlap(empty(), one_voxel(), Grid((8, 8, 4), np.eye(4))).outcome == "false_positive"


def test_two_empty_masks_have_no_dice_where_transunet_scores_zero():
    assert np.isnan(dice(empty(), empty()))
    assert outcome(empty(), empty()) == "both_empty"


def test_a_missed_target_scores_zero():
    assert dice(one_voxel(), empty()) == 0.0
    assert outcome(one_voxel(), empty()) == "missed"


def test_one_pixel_false_positives_on_empty_slices_do_not_raise_the_score():
    """Slice Dice 0.8 on 30 % of slices and one false pixel on the others is 0.94 in the flawed way of counting."""
    truth = np.zeros((20, 20, 10), bool)
    truth[5:15, 5:15, :3] = True
    clean = truth.copy()
    clean[5:9, 5:15, :3] = False
    clean[15:17, 5:15, :3] = True
    spotted = clean.copy()
    spotted[0, 0, 3:] = True
    flawed = [1.0 if not truth[..., z].any() else dice(truth[..., z], spotted[..., z]) for z in range(10)]
    assert np.mean(flawed) > 0.9
    assert dice(truth, spotted) < dice(truth, clean) == pytest.approx(2 * 60 / (100 + 80))


@settings(deadline=None)
@given(MASKS, MASKS)
def test_dice_is_the_set_formula(truth, predicted):
    total = truth.sum() + predicted.sum()
    if total == 0:
        assert np.isnan(dice(truth, predicted))
    else:
        assert dice(truth, predicted) == pytest.approx(2 * (truth & predicted).sum() / total, abs=1e-6)
        assert dice(truth, predicted) == dice(predicted, truth)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shape"):
        dice(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool))


def surface_distances(first: np.ndarray, second: np.ndarray, spacing) -> np.ndarray:
    edge, other = (mask & ~binary_erosion(mask) for mask in (first, second))
    return distance_transform_edt(~other, sampling=spacing)[edge]


def test_surface_scores_are_the_distances_between_surfaces_in_millimetres():
    truth, predicted = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    truth[4:14, 4:12, 3:9] = True
    predicted[5:16, 4:13, 3:10] = True
    scored = overlap(truth, predicted, GRID)
    there = surface_distances(predicted, truth, GRID.spacing_mm)
    back = surface_distances(truth, predicted, GRID.spacing_mm)
    near = (there <= 2).sum() + (back <= 2).sum()
    assert scored.surface_dice == pytest.approx(near / (len(there) + len(back)), abs=1e-6)
    assert scored.hd95_mm == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5)
    assert scored.truth_ml == pytest.approx(truth.sum() * 1.5 * 1.5 * 3 / 1000)
    assert scored.outcome == "scored"


def test_no_surface_distance_without_two_surfaces():
    scored = overlap(one_voxel(), empty(), Grid((8, 8, 4), np.eye(4)))
    assert (scored.dice, scored.surface_dice) == (0.0, 0.0)
    assert np.isnan(scored.hd95_mm)
    both = overlap(empty(), empty(), Grid((8, 8, 4), np.eye(4)))
    assert np.isnan([both.dice, both.surface_dice, both.hd95_mm]).all()


def test_perfectly_calibrated_and_perfectly_wrong():
    truth = np.array([True] * 3 + [False] * 7)
    assert calibration.expected_calibration_error(truth, np.full(10, 0.3)) == pytest.approx(0)
    assert calibration.expected_calibration_error(truth, (~truth).astype(float)) == pytest.approx(1)
    assert np.isnan(calibration.expected_calibration_error(truth[:0], np.zeros(0)))


@given(arrays(bool, 12), arrays(float, 12, elements=st.sampled_from([0.0, 0.1, 0.2, 0.25])))
def test_error_detection_is_the_share_of_rightly_ordered_pairs(wrong, variance):
    pairs = [(a > b) + 0.5 * (a == b) for a in variance[wrong] for b in variance[~wrong]]
    found = calibration.error_detection(wrong, variance)
    assert np.isnan(found) if not pairs else found == pytest.approx(np.mean(pairs))
