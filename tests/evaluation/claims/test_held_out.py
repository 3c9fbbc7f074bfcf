"""Comparisons on all held-out patients: closed forms, and what must not change them."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, spearmanr

from universal_diffusion.evaluation.claims.evidence import Evidence
from universal_diffusion.evaluation.claims.held_out import (
    doubt_follows_error,
    mask_gain,
    mask_over_noise,
    more_consistent,
    named_gain_more,
    permutation_p_value,
    small_gain_more,
    variance_finds_errors,
)
from universal_diffusion.evaluation.claims.verdicts import NOT_SUPPORTED, NOT_TESTABLE, SUPPORTED, verdict
from universal_diffusion.evaluation.scoring.cases import COLUMNS
from universal_diffusion.settings import Weights
from universal_diffusion.systems import SYSTEMS

EMBEDDINGS = ("learnt", "clip")
DICE = st.floats(0, 1)


def evidence_of(scores: dict[str, list[dict]]) -> Evidence:
    """Evidence of patients: for each, scans as {target: (mask Dice, noise Dice)}, every scan of a source of its own.

    The baselines have the noise Dice.
    """
    rows = []
    for patient, scans in scores.items():
        for number, targets in enumerate(scans):
            for system in SYSTEMS:
                for target, (mask, noise) in targets.items():
                    row = dict.fromkeys(COLUMNS, np.nan) | {"system": system.family, "variant": system.variant}
                    row |= {"source": f"{patient}_source_{number}", "case": "case", "target": target}
                    dice = mask if system.variant.startswith("mask") else noise
                    rows.append(row | {"part": "validation", "dice": dice, "truth_ml": 1.0, "patient": patient})
    nothing = pd.DataFrame()
    scored = pd.DataFrame(rows, columns=[*COLUMNS, "patient"])
    tables = dict.fromkeys(("cost", "networks", "sampling", "table1", "ceiling", "inventory"), nothing)
    return Evidence(
        scored, **tables, published={}, sources={}, weights=Weights("untrained"), splits=(), logs={}, study_seed=7
    )


def test_equal_gains_have_an_interval_without_width_and_the_exact_p_value():
    """Eight patients who all gain 0.25 in every target: no resampling moves that, and 2 of 2^8 signs are as extreme."""
    measured = mask_over_noise(evidence_of({f"p{i}": [{"liver": (0.75, 0.5)}] for i in range(8)}), EMBEDDINGS)
    assert (measured.value, measured.low, measured.high, measured.n) == (25, 25, 25, 8)
    assert measured.p_value == pytest.approx(2 / 2**8)
    assert verdict(measured, None, measured.p_value)[0] == SUPPORTED
    swapped = mask_over_noise(evidence_of({f"p{i}": [{"liver": (0.5, 0.75)}] for i in range(8)}), EMBEDDINGS)
    assert (swapped.value, swapped.low, swapped.high) == (-25, -25, -25)
    assert verdict(swapped, None, swapped.p_value) == (NOT_SUPPORTED, "the opposite was measured")


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
    gains = mask_gain(evidence_of(scores), ("clip",)).table.mean(axis=1).droplevel(0)
    assert gains.to_dict() == pytest.approx({"a": 20, "b": 10})
    measured = mask_over_noise(evidence_of(scores), EMBEDDINGS)
    assert (measured.value, measured.n) == (pytest.approx(15), 2)
    assert verdict(measured, None) == (NOT_TESTABLE, "2 patients; fewer than 6 cannot settle it")


@settings(max_examples=20)
@given(st.lists(st.tuples(DICE, DICE), min_size=6, max_size=9))
def test_value_lies_in_its_interval_between_the_least_and_the_largest_gain(pairs):
    measured = mask_over_noise(evidence_of({f"p{i}": [{"liver": pair}] for i, pair in enumerate(pairs)}), EMBEDDINGS)
    gains = [100 * (mask - noise) for mask, noise in pairs]
    assert measured.value == pytest.approx(np.mean(gains))
    assert min(gains) - 1e-9 <= measured.low <= measured.high <= max(gains) + 1e-9
    decided, _ = verdict(measured, None, 0.01)
    assert decided == (SUPPORTED if measured.low > 0 else NOT_SUPPORTED)


@settings(max_examples=20)
@given(st.lists(st.tuples(DICE, DICE), min_size=6, max_size=9), st.randoms(use_true_random=False))
def test_copies_of_scans_and_names_of_sources_change_nothing(pairs, random):
    once = {f"p{i}": [{"liver": pair}] for i, pair in enumerate(pairs)}
    again = {patient: scans * random.randint(1, 3) for patient, scans in once.items()}
    first, second = (mask_over_noise(evidence_of(scores), EMBEDDINGS) for scores in (once, again))
    assert (second.value, second.low, second.high) == pytest.approx((first.value, first.low, first.high))
    assert second.n == first.n


def test_both_embeddings_are_the_mean_of_each():
    evidence = evidence_of({f"p{i}": [{"liver": (0.5 + 0.01 * i, 0.5)}] for i in range(7)})
    learnt = evidence.scores["variant"] == "mask_learnt"
    evidence.scores.loc[learnt, "dice"] += 0.2
    values = [mask_over_noise(evidence, chosen).value for chosen in (EMBEDDINGS, ("learnt",), ("clip",))]
    assert values == pytest.approx([13, 23, 3])


def test_targets_that_a_scan_does_not_hold_are_no_pairs():
    evidence = evidence_of({"a": [{"liver": (0.9, 0.5), "spleen": (0.0, 1.0)}]})
    evidence.scores.loc[evidence.scores["target"] == "spleen", "truth_ml"] = 0.0
    assert mask_over_noise(evidence, ("clip",)).value == pytest.approx(40)


def test_small_structures_gain_more_where_gains_fall_with_volume():
    """Gains fall as volumes grow in every patient: correlation 1; with volumes turned round: -1."""
    gains = {"liver": 0.1, "spleen": 0.2, "pancreas": 0.3, "aorta": 0.4}
    evidence = evidence_of({f"p{i}": [{name: (0.5 + gain, 0.5) for name, gain in gains.items()}] for i in range(7)})
    volumes = {"liver": 1500.0, "spleen": 200.0, "pancreas": 80.0, "aorta": 50.0}
    evidence.scores["truth_ml"] = evidence.scores["target"].map(volumes)
    measured = small_gain_more(evidence)
    assert (measured.value, measured.n) == (pytest.approx(1), 7)
    evidence.scores["truth_ml"] = 2000 - evidence.scores["truth_ml"]
    assert small_gain_more(evidence).value == pytest.approx(-1)


def test_named_structures_are_compared_with_the_others_of_the_same_patient():
    scans = [{"pancreas": (0.8, 0.5), "aorta": (0.6, 0.5), "liver": (0.55, 0.5)}]
    assert named_gain_more(evidence_of({f"p{i}": scans for i in range(6)})).value == pytest.approx(15)
    only_named = evidence_of({"a": [{"pancreas": (0.8, 0.5)}]})
    assert named_gain_more(only_named).n == 0


def test_consistency_is_the_spread_over_a_patients_targets():
    """Ours 0.6 and 0.6, SegResNet's 0.4 and 0.8: standard deviations 0 and sqrt(0.08)."""
    scans = [{"liver": (0.6, 0.4), "spleen": (0.6, 0.8)}]
    measured = more_consistent(evidence_of({f"p{i}": scans for i in range(6)}))
    assert measured.value == pytest.approx(100 * math.sqrt(0.08))
    assert set(measured.rows["system"]) == {"segresnet", "universal_diffusion"}


def test_a_variance_map_is_judged_against_chance():
    evidence = evidence_of({f"p{i}": [{"liver": (0.6, 0.4)}] for i in range(8)})
    evidence.scores["error_auroc"] = [0.5 + 0.01 * int(patient[1:]) + 0.02 for patient in evidence.scores["patient"]]
    measured = variance_finds_errors(evidence)
    assert (measured.value, measured.null, measured.p_value) == (pytest.approx(55.5), 50, pytest.approx(2 / 2**8))
    evidence.scores["error_auroc"] = 1 - evidence.scores["error_auroc"]
    turned = variance_finds_errors(evidence)
    assert verdict(turned, None, turned.p_value) == (NOT_SUPPORTED, "the opposite was measured")


def test_doubt_is_correlated_with_error_over_patients():
    generator = np.random.default_rng(4)
    dice, doubt = generator.random(12), generator.random(12)
    evidence = evidence_of({f"p{i}": [{"liver": (value, 0.5)}] for i, value in enumerate(dice)})
    evidence.scores["uncertainty"] = [doubt[int(patient[1:])] for patient in evidence.scores["patient"]]
    measured, expected = doubt_follows_error(evidence), spearmanr(doubt, 1 - dice)
    assert (measured.value, measured.p_value) == (
        pytest.approx(expected.statistic),
        pytest.approx(expected.pvalue, abs=0.03),
    )
    assert measured.low <= measured.value <= measured.high
    same = replace(evidence, scores=evidence.scores.assign(uncertainty=0.5))
    assert math.isnan(doubt_follows_error(same).value)


def test_perfect_agreement_of_few_has_the_p_value_of_their_pairings():
    """Of 4! pairings, two agree or disagree wholly."""
    order = np.arange(4.0)
    assert permutation_p_value(order, order**2, np.random.default_rng(0)) == pytest.approx(2 / 24, abs=0.01)
    assert permutation_p_value(order, -order, np.random.default_rng(0)) == pytest.approx(2 / 24, abs=0.01)
    assert math.isnan(permutation_p_value(order, np.ones(4), np.random.default_rng(0)))
