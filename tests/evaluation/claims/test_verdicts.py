"""Verdicts follow from intervals, sizes and corrected p-values, whatever they are."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from universal_diffusion.evaluation.claims.measured import Measured
from universal_diffusion.evaluation.claims.verdicts import NOT_SUPPORTED, NOT_TESTABLE, SUPPORTED, verdict

NUMBERS = st.floats(-100, 100)
P_VALUES = st.one_of(st.just(math.nan), st.floats(0, 1))
SIZES = st.one_of(st.none(), st.floats(0, 100))


@st.composite
def measurements(draw) -> Measured:
    """Any interval around any value, of any number of patients, against any null."""
    low, value, high = sorted(draw(st.tuples(NUMBERS, NUMBERS, NUMBERS)))
    return Measured(value, low, high, draw(st.integers(0, 30)), draw(P_VALUES), null=draw(NUMBERS))


@pytest.mark.parametrize(
    ("measured", "claimed", "corrected", "expected"),
    [
        (Measured(5, 1, 9, 10), None, 0.01, SUPPORTED),
        (Measured(5, 1, 9, 10), 7.0, 0.01, SUPPORTED),
        (Measured(5, 1, 6, 10), 7.0, 0.01, NOT_SUPPORTED),
        (Measured(5, 1, 9, 10), None, 0.05, NOT_SUPPORTED),
        (Measured(5, 1, 9, 10), None, math.nan, NOT_SUPPORTED),
        (Measured(5, -1, 9, 10), None, 0.01, NOT_SUPPORTED),
        (Measured(5, 0, 9, 10), None, 0.01, NOT_SUPPORTED),
        (Measured(-5, -9, -1, 10), None, 0.01, NOT_SUPPORTED),
        (Measured(5, 1, 9, 5), None, 0.01, NOT_TESTABLE),
        (Measured(5, 1, 9, 10, obstacle="synthetic"), None, 0.01, NOT_TESTABLE),
        (Measured(0.1, math.nan, math.nan, 10), None, 0.01, NOT_TESTABLE),
        (Measured(), None, math.nan, NOT_TESTABLE),
        (Measured(9, 9, 9, null=1.0), None, math.nan, SUPPORTED),
        (Measured(0.5, 0.5, 0.5, null=1.0), None, math.nan, NOT_SUPPORTED),
        (Measured(22, 22, 22), 23.0, math.nan, NOT_SUPPORTED),
        (Measured(24, 24, 24), 23.0, math.nan, NOT_SUPPORTED),
        (Measured(23, 23, 23), 23.0, math.nan, SUPPORTED),
        (Measured(60, 52, 68, 12, null=50.0), None, 0.01, SUPPORTED),
        (Measured(55, 48, 62, 12, null=50.0), None, 0.01, NOT_SUPPORTED),
    ],
)
def test_verdict_needs_the_whole_interval_on_the_claimed_side(measured, claimed, corrected, expected):
    decided, reason = verdict(measured, claimed, corrected)
    assert decided == expected
    assert reason


@given(measurements(), SIZES, P_VALUES)
def test_an_interval_that_holds_no_effect_is_never_supported(measured, claimed, corrected):
    decided, _ = verdict(measured, claimed, corrected)
    if measured.low <= measured.null:
        assert decided != SUPPORTED
    if decided == SUPPORTED:
        assert measured.n >= 6
        assert claimed is None or measured.high >= claimed
        assert corrected < 0.05


def test_the_opposite_needs_a_corrected_test_as_the_claim_does():
    against = Measured(-5, -9, -1, 10)
    assert verdict(against, None, 0.01)[1] == "the opposite was measured"
    for corrected in (0.05, math.nan):
        assert verdict(against, None, corrected)[1].startswith("against the claimed direction, but")


@given(measurements(), P_VALUES)
def test_a_claim_and_its_contrary_are_never_both_supported(measured, corrected):
    contrary = Measured(-measured.value, -measured.high, -measured.low, measured.n, null=-measured.null)
    decided = [verdict(side, None, corrected)[0] for side in (measured, contrary)]
    assert decided.count(SUPPORTED) < 2
    assert (NOT_TESTABLE in decided) == (decided[0] == decided[1] == NOT_TESTABLE)


@given(measurements(), SIZES, P_VALUES, st.floats(0, 1))
def test_more_doubt_never_makes_a_claim_supported(measured, claimed, corrected, further):
    if verdict(measured, claimed, corrected)[0] != SUPPORTED:
        doubtful = 1.0 if math.isnan(corrected) else min(1.0, corrected + further)
        assert verdict(measured, claimed, doubtful)[0] != SUPPORTED


@given(measurements(), SIZES, P_VALUES)
def test_what_cannot_be_settled_stays_open_with_its_reason(measured, claimed, corrected):
    hindered = Measured(**{**vars(measured), "obstacle": "never run"})
    assert verdict(hindered, claimed, corrected) == (NOT_TESTABLE, "never run")
