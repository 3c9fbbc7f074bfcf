"""How much sooner a validation Dice is reached: closed forms and symmetries."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from universal_diffusion.evaluation.claims.convergence import times_faster, validation_dice

CURVES = st.lists(st.floats(0.01, 1), min_size=1, max_size=8).map(
    lambda dice: pd.Series(dice, index=range(100, 100 * len(dice) + 1, 100))
)


def test_validations_are_told_by_the_number_of_steps_trained():
    log = pd.DataFrame({"step": [0, 1, 2, 3], "validation_dice": [math.nan, 0.1, math.nan, 0.3]})
    assert validation_dice(log).to_dict() == {2: 0.1, 4: 0.3}


def test_a_training_that_is_where_the_other_ends_after_a_third_of_it_is_three_times_faster():
    noise = pd.Series([0.0, 0.1, 0.25], index=[200, 400, 600])
    mask = pd.Series([0.3, 0.6, 0.7], index=[200, 400, 600])
    assert times_faster(mask, noise) == 3
    assert times_faster(noise, mask) == pytest.approx(1 / 3)
    assert times_faster(mask, mask) == 1


def test_a_training_that_never_segments_reaches_no_shared_dice():
    nothing = pd.Series([0.0, 0.0], index=[200, 400])
    assert math.isnan(times_faster(pd.Series([0.3, 0.6], index=[200, 400]), nothing))


@given(CURVES, CURVES, st.integers(1, 50))
def test_who_is_faster_is_symmetric_and_has_no_unit(mask, noise, scale):
    assert times_faster(mask, noise) * times_faster(noise, mask) == pytest.approx(1)
    longer = [curve.set_axis(curve.index * scale) for curve in (mask, noise)]
    assert times_faster(*longer) == pytest.approx(times_faster(mask, noise))
