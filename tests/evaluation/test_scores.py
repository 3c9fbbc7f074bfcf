"""Dice, surfaces and volumes against definitions written out by hand, MONAI and DeepMind's `surface_distance`."""

import warnings

import numpy as np
import pytest
import surface_distance
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice
from scipy.ndimage import binary_erosion, distance_transform_edt

from universal_diffusion.evaluation.scoring import surfaces
from universal_diffusion.evaluation.scoring.protocol import COVERED, clip_universal_dice, largest_component
from universal_diffusion.evaluation.scoring.scores import agreement, dice, outcome, volumes
from universal_diffusion.evaluation.scoring.tolerances import tolerances
from universal_diffusion.targets import all_targets

MASKS = arrays(bool, (5, 4, 3))
SPACINGS = st.tuples(*[st.sampled_from([0.7, 0.8125, 1.5, 3.0, 5.0])] * 3).map(np.array)
UNIT = np.ones(3)


def empty() -> np.ndarray:
    return np.zeros((8, 8, 4), bool)


def one_voxel() -> np.ndarray:
    mask = empty()
    mask[3, 4, 2] = True
    return mask


def transunet(predicted: np.ndarray, truth: np.ndarray) -> float:
    """What code descended from TransUNet does with empty masks (Beckschen/TransUNet#39), in words: see the names."""
    if predicted.any() and truth.any():
        return dice(truth, predicted)
    return 1.0 if predicted.any() else 0.0


def test_prediction_on_an_empty_target_scores_zero_where_transunet_scores_one():
    assert transunet(one_voxel(), empty()) == 1.0
    scored = agreement(empty(), one_voxel(), UNIT, 2.0)
    assert dice(empty(), one_voxel()) == scored.dice == scored.surface_dice == 0.0
    assert np.isnan(scored.hd95_mm)
    assert outcome(empty(), one_voxel()) == "false_positive"


def test_two_empty_masks_have_no_dice_where_transunet_scores_zero():
    assert transunet(empty(), empty()) == 0.0
    scored = agreement(empty(), empty(), UNIT, 2.0)
    assert np.isnan([dice(empty(), empty()), scored.dice, scored.surface_dice, scored.hd95_mm]).all()
    assert outcome(empty(), empty()) == "both_empty"


def test_a_missed_target_scores_zero():
    assert dice(one_voxel(), empty()) == agreement(one_voxel(), empty(), UNIT, 2.0).dice == 0.0
    assert outcome(one_voxel(), empty()) == "missed"


def test_one_pixel_false_positives_on_empty_slices_do_not_raise_the_score():
    """Slice Dice 0.8 on 30 % of slices and one false pixel on the others is 0.94 in the flawed way of counting."""
    truth, clean = np.zeros((2, 20, 20, 10), bool)
    truth[5:15, 5:15, :3] = True
    clean[5:13, 5:15, :3] = True
    clean[15:17, 5:15, :3] = True
    spotted = clean.copy()
    spotted[0, 0, 3:] = True

    def flawed(predicted):
        return np.mean([transunet(predicted[..., z], truth[..., z]) for z in range(10)])

    assert (flawed(spotted), flawed(clean)) == pytest.approx((0.94, 0.24))
    assert dice(truth, spotted) == pytest.approx(2 * 240 / (300 + 307))
    assert dice(truth, clean) == pytest.approx(0.8)


def test_shapes_must_agree():
    for score in (dice, lambda *masks: agreement(*masks, UNIT, 1.0), lambda *masks: volumes(*masks, 1.0)):
        with pytest.raises(ValueError, match="shape"):
            score(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool))


def by_monai(truth: np.ndarray, predicted: np.ndarray, spacing_mm, tolerance_mm: float) -> tuple[float, float, float]:
    """Its metrics called plainly, on whole volumes."""
    masks = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (predicted, truth)]
    how = {"include_background": True, "spacing": [float(edge) for edge in spacing_mm]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        surface = compute_surface_dice(*masks, [tolerance_mm], **how)
        hausdorff = compute_hausdorff_distance(*masks, percentile=95, **how)
    return compute_dice(*masks, ignore_empty=False).item(), surface.item(), hausdorff.item()


@pytest.mark.parametrize("voxels_per_look_up", [0, 10**9])  # the tree, the transform
@settings(max_examples=30)
@given(truth=MASKS, predicted=MASKS, spacing=SPACINGS, tolerance=st.sampled_from([0.0, 0.75, 2.1, 4.2]))
def test_scores_are_monais_wherever_both_masks_hold_something(voxels_per_look_up, truth, predicted, spacing, tolerance):
    if not (truth.any() and predicted.any()):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surfaces, "VOXELS_PER_LOOK_UP", voxels_per_look_up)
        scored = agreement(truth, predicted, spacing, tolerance)
    expected = by_monai(truth, predicted, spacing, tolerance)
    assert (scored.dice, scored.surface_dice, scored.hd95_mm) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    turned = agreement(np.flip(predicted).T, np.flip(truth).T, spacing[::-1], tolerance)
    assert vars(turned) == pytest.approx(vars(scored))


def ball(centre: tuple[int, int, int], radius_mm: float, spacing: np.ndarray) -> np.ndarray:
    places = np.indices((24, 22, 16)) - np.reshape(centre, (3, 1, 1, 1))
    return np.linalg.norm(places * spacing.reshape(3, 1, 1, 1), axis=0) <= radius_mm


@pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")
@settings(max_examples=20)
@given(SPACINGS, st.tuples(*[st.integers(6, 12)] * 3), st.sampled_from([4.0, 6.0, 8.0]), st.sampled_from([1.0, 2.5]))
def test_scores_are_near_those_of_surface_distance(spacing, centre, radius, tolerance):
    """It lays surfaces between voxels and weighs them by area; ours are voxels that count alike, as MONAI's do.

    So its distances differ by about a voxel, and the shares by what the largest faces of an anisotropic voxel weigh.
    Dice is the same, and so are identical masks, and masks that are farther apart than any tolerance.
    """
    truth, predicted = ball((11, 10, 8), 7.0, spacing), ball(centre, radius, spacing)
    if not (truth.any() and predicted.any()):
        return
    scored = agreement(truth, predicted, spacing, tolerance)
    assert scored.dice == pytest.approx(surface_distance.compute_dice_coefficient(truth, predicted))
    apart = surface_distance.compute_surface_distances(truth, predicted, spacing)
    assert abs(scored.hd95_mm - surface_distance.compute_robust_hausdorff(apart, 95)) <= np.linalg.norm(spacing)
    theirs = [
        surface_distance.compute_surface_dice_at_tolerance(apart, tolerance + d)
        for d in (-spacing.max(), 0, spacing.max())
    ]
    assert theirs[0] - 0.25 <= scored.surface_dice <= theirs[2] + 0.25
    same = surface_distance.compute_surface_distances(truth, truth, spacing)
    assert (
        agreement(truth, truth, spacing, 0.0).surface_dice
        == surface_distance.compute_surface_dice_at_tolerance(same, 0)
        == 1
    )


def test_surface_scores_are_the_distances_between_surfaces_in_millimetres():
    spacing = np.array([1.5, 1.5, 3.0])
    truth, predicted = np.zeros((2, 20, 18, 12), bool)
    truth[4:14, 4:12, 3:9] = True
    predicted[5:16, 4:13, 3:10] = True
    edges = [mask & ~binary_erosion(mask) for mask in (truth, predicted)]
    there, back = (distance_transform_edt(~edges[1 - number], sampling=spacing)[edges[number]] for number in (0, 1))
    scored = agreement(truth, predicted, spacing, 2.0)
    near = (there <= 2).sum() + (back <= 2).sum()
    assert scored.surface_dice == pytest.approx(near / (len(there) + len(back)))
    assert scored.hd95_mm == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))


@pytest.mark.parametrize("order", ["C", "F"])  # as arrays are made, and as NIfTI files are read
@pytest.mark.parametrize("voxels_per_look_up", [0, 10**9])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_axis_has_its_own_spacing_however_the_masks_lie_in_memory(axis, voxels_per_look_up, order, monkeypatch):
    monkeypatch.setattr(surfaces, "VOXELS_PER_LOOK_UP", voxels_per_look_up)
    spacing = np.array([0.7, 1.3, 5.0])
    truth, predicted = (np.zeros((6, 7, 8), bool, order) for _ in range(2))
    truth[1, 1, 1] = True
    predicted[tuple(1 + 3 * (axis == number) for number in range(3))] = True
    apart = 3 * spacing[axis]
    assert agreement(truth, predicted, spacing, apart + 0.01).surface_dice == 1
    assert agreement(truth, predicted, spacing, apart - 0.01).surface_dice == 0
    assert agreement(truth, predicted, spacing, 1.0).hd95_mm == pytest.approx(apart)


def test_a_surface_as_far_off_as_the_tolerance_is_within_it_whatever_the_header_rounds():
    moved = np.roll(one_voxel(), 2, axis=0)
    for edge in (1.5, 1.5 * (1 + 3e-6), 1.5 * (1 - 3e-6)):
        assert agreement(one_voxel(), moved, np.array([edge, 1, 1]), 3.0).surface_dice == 1
        assert agreement(one_voxel(), moved, np.array([edge, 1, 1]), 2.99).surface_dice == 0


def test_volumes_and_their_errors():
    two = one_voxel() | np.roll(one_voxel(), 1, axis=0)
    assert vars(volumes(two, one_voxel(), 0.5)) == pytest.approx(
        {"truth_ml": 1, "predicted_ml": 0.5, "volume_error": -0.5, "false_positive_ml": np.nan}, nan_ok=True
    )
    false = volumes(empty(), two, 0.5)
    assert (false.truth_ml, false.predicted_ml, false.false_positive_ml) == (0, 1, 1)
    assert np.isnan(false.volume_error)
    assert volumes(empty(), empty(), 0.5).false_positive_ml == 0


def test_every_target_has_a_tolerance_and_its_source():
    assert list(tolerances()) == [target.name for target in all_targets()]
    assert {tolerance.source for tolerance in tolerances().values()} == {"FLARE 2022", "FLARE 2023", "strictest"}
    strictest = min(tolerance.surface_mm for tolerance in tolerances().values())
    assert all(each.surface_mm == strictest == 2 for each in tolerances().values() if each.source == "strictest")


def test_clip_universal_keeps_the_largest_component_and_adds_one_to_the_denominator():
    truth, predicted = np.zeros((2, 10, 10, 6), bool)
    truth[1:5, 1:5, 1:4] = True
    predicted[1:5, 1:5, 1:3] = True
    whole = predicted.copy()
    predicted[8, 8, 5] = True
    assert clip_universal_dice("liver", truth, predicted) == 2 * 32 / (48 + 32 + 1)
    assert np.isnan(clip_universal_dice("liver tumor", truth, predicted))
    assert np.isnan(clip_universal_dice("liver", np.zeros_like(truth), predicted))
    assert clip_universal_dice("liver", truth, np.zeros_like(truth)) == 0
    assert (largest_component(predicted) == whole).all()
    predicted[5, 5, 3] = True  # touches a corner
    assert largest_component(predicted)[5, 5, 3]
    assert {target.name for target in all_targets() if target.kind == "organ"} >= COVERED
