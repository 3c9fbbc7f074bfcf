"""Noise against mask prediction on all held-out patients: closed forms, and what must not change it."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.claims.evidence import Evidence
from universal_diffusion.evaluation.claims.ledger import NOT_SUPPORTED, NOT_TESTABLE, SUPPORTED, verdict
from universal_diffusion.evaluation.claims.patients import mask_over_noise, patient_gains
from universal_diffusion.evaluation.scoring.cases import COLUMNS
from universal_diffusion.settings import Weights
from universal_diffusion.systems import VARIANTS

EMBEDDINGS = ("learnt", "clip")
DICE = st.floats(0, 1)


def evidence_of(scores: dict[str, list[dict]]) -> Evidence:
    """Evidence of patients: for each, scans as {target: (mask Dice, noise Dice)}, every scan of a source of its own."""
    rows, patients = [], {}
    for patient, scans in scores.items():
        for number, targets in enumerate(scans):
            place = (f"{patient}_source_{number}", "case")
            patients[place] = patient
            for system in VARIANTS:
                for target, (mask, noise) in targets.items():
                    row = dict.fromkeys(COLUMNS, np.nan) | {"system": system.family, "variant": system.variant}
                    row |= {"source": place[0], "case": place[1], "target": target, "part": "validation"}
                    dice = mask if system.variant.startswith("mask") else noise
                    rows.append(row | {"dice": dice, "truth_ml": 1.0})
    cases = pd.DataFrame(rows, columns=COLUMNS)
    return Evidence(cases, pd.DataFrame(), {}, {}, Weights("untrained"), patients, {}, 7)


def test_equal_gains_have_an_interval_without_width_and_the_exact_p_value():
    """Eight patients who all gain 0.25 in every target: no resampling moves that, and 2 of 2^8 signs are as extreme."""
    measured = mask_over_noise(evidence_of({f"p{i}": [{"liver": (0.75, 0.5)}] for i in range(8)}), EMBEDDINGS)
    assert (measured.value, measured.low, measured.high, measured.n) == (25, 25, 25, 8)
    assert measured.p_value == pytest.approx(2 / 2**8)
    assert verdict(measured, None)[0] == SUPPORTED
    swapped = mask_over_noise(evidence_of({f"p{i}": [{"liver": (0.5, 0.75)}] for i in range(8)}), EMBEDDINGS)
    assert (swapped.value, swapped.low, swapped.high) == (-25, -25, -25)
    assert verdict(swapped, None) == (NOT_SUPPORTED, "the opposite was measured")


def test_interval_follows_the_normal_theory():
    gains = np.random.default_rng(2).normal(0.1, 0.2, 100)
    scores = {f"p{i}": [{"liver": (0.5 + gain, 0.5)}] for i, gain in enumerate(gains)}
    measured = mask_over_noise(evidence_of(scores), EMBEDDINGS)
    half = 100 * norm.ppf(0.975) * gains.std() / math.sqrt(len(gains))
    assert measured.value == pytest.approx(100 * gains.mean())
    assert (measured.low, measured.high) == pytest.approx((measured.value - half, measured.value + half), abs=0.8)


def test_a_patient_counts_once_whatever_the_number_of_its_scans_and_targets():
    """Patient a gains 0.4 in one target seen in two copies and 0 in another, patient b gains 0.1."""
    scores = {
        "a": [{"liver": (0.8, 0.4), "spleen": (0.5, 0.5)}, {"liver": (0.8, 0.4)}],
        "b": [{"liver": (0.6, 0.5)}],
    }
    gains = patient_gains(evidence_of(scores), "mask_clip", "noise_clip")
    assert gains.to_dict() == pytest.approx({"a": 20, "b": 10})
    measured = mask_over_noise(evidence_of(scores), EMBEDDINGS)
    assert (measured.value, measured.n) == (pytest.approx(15), 2)
    assert verdict(measured, None) == (NOT_TESTABLE, "2 cases; fewer than 6 cannot settle it")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(DICE, DICE), min_size=6, max_size=9))
def test_value_lies_in_its_interval_between_the_least_and_the_largest_gain(pairs):
    measured = mask_over_noise(evidence_of({f"p{i}": [{"liver": pair}] for i, pair in enumerate(pairs)}), EMBEDDINGS)
    gains = [100 * (mask - noise) for mask, noise in pairs]
    assert measured.value == pytest.approx(np.mean(gains))
    assert min(gains) - 1e-9 <= measured.low <= measured.high <= max(gains) + 1e-9
    decided, _ = verdict(measured, None)
    assert decided == (SUPPORTED if measured.low > 0 else NOT_SUPPORTED)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(DICE, DICE), min_size=6, max_size=9), st.randoms(use_true_random=False))
def test_copies_of_scans_and_names_of_sources_change_nothing(pairs, random):
    once = {f"p{i}": [{"liver": pair}] for i, pair in enumerate(pairs)}
    again = {patient: scans * random.randint(1, 3) for patient, scans in once.items()}
    first, second = (mask_over_noise(evidence_of(scores), EMBEDDINGS) for scores in (once, again))
    assert (second.value, second.low, second.high) == pytest.approx((first.value, first.low, first.high))
    assert second.n == first.n


def test_both_embeddings_are_the_mean_of_each():
    evidence = evidence_of({f"p{i}": [{"liver": (0.5 + 0.01 * i, 0.5)}] for i in range(7)})
    learnt = evidence.cases["variant"] == "mask_learnt"
    evidence.cases.loc[learnt, "dice"] += 0.2
    values = [mask_over_noise(evidence, chosen).value for chosen in (EMBEDDINGS, ("learnt",), ("clip",))]
    assert values == pytest.approx([13, 23, 3])


def test_targets_that_a_scan_does_not_hold_are_no_pairs():
    evidence = evidence_of({"a": [{"liver": (0.9, 0.5), "spleen": (0.0, 1.0)}]})
    evidence.cases.loc[evidence.cases["target"] == "spleen", "truth_ml"] = 0.0
    assert patient_gains(evidence, "mask_clip", "noise_clip")["a"] == pytest.approx(40)


def test_case_outside_the_splits_is_refused():
    evidence = evidence_of({"a": [{"liver": (0.9, 0.5)}]})
    with pytest.raises(InputError, match="is scored but not in the splits"):
        mask_over_noise(replace(evidence, patients={}), EMBEDDINGS)
