"""Measurements on every held-out patient, for claims that hold of any target and any source.

A patient counts once, with the mean over the targets that the patient's scans hold: so the interval and Wilcoxon's
test are about the same numbers, and both exist where a source holds out a single case. (A mean over targets would not
do: resampling drops the targets that one patient alone holds, and each drop changes what is averaged.) Patients are
drawn from all sources together, since one case cannot be resampled within its source; differences between sources thus
widen the interval.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import rankdata, spearmanr

from universal_diffusion.evaluation.claims.evidence import PER_CENT, Evidence, Selected, worst_target
from universal_diffusion.evaluation.claims.measured import Measured
from universal_diffusion.evaluation.statistics import bootstrap, paired_p_value, summarise

NAMED_SMALL = ("liver tumor", "pancreas", "duodenum", "intestine", "colon")  # "liver tumors, pancreas, intestines,
VESSELS = ("aorta", "inferior vena cava", "portal vein and splenic vein", "hepatic vessel")  # and blood vessels"
FEWEST_TARGETS = 3  # of a patient, for a rank correlation over them
PAIRINGS = 10_000  # the one observed included
CORRELATION = "(rank correlation)"


def over_patients(evidence: Evidence, values: pd.Series, rows: pd.DataFrame, null: float = 0.0) -> Measured:
    """Mean of one value per patient, and Wilcoxon's test of its difference from `null`."""
    found = values.to_numpy(float)
    summary = summarise(found, evidence.generator())
    return Measured(**vars(summary), p_value=paired_p_value(found - null), null=null, rows=rows)


def gain(evidence: Evidence, better: str, worse: str) -> Selected:
    """By patient and target: how much Dice, in points, one system gains over another."""
    return evidence.select(better) - evidence.select(worse)


def over(evidence: Evidence, better: str, worse: str) -> Measured:
    """One system less another: mean over patients of the mean over their targets."""
    found = gain(evidence, better, worse)
    return over_patients(evidence, found.table.mean(axis=1), found.rows)


def mask_gain(evidence: Evidence, embeddings: Sequence[str]) -> Selected:
    """What predicting z_0 gains over predicting noise, mean over the `embeddings`."""
    gains = [gain(evidence, f"mask_{e}", f"noise_{e}") for e in embeddings]
    rows = pd.concat([found.rows for found in gains], ignore_index=True)
    return Selected(sum(found.table for found in gains) / len(gains), rows)


def mask_over_noise(evidence: Evidence, embeddings: Sequence[str]) -> Measured:
    """Predicting z_0 against predicting noise, mean over patients and `embeddings`."""
    found = mask_gain(evidence, embeddings)
    return over_patients(evidence, found.table.mean(axis=1), found.rows)


def small_gain_more(evidence: Evidence) -> Measured:
    """Rank correlation, within each patient, of the gain of predicting z_0 with how small a target is."""
    found = mask_gain(evidence, ("learnt", "clip"))
    volumes = evidence.select("mask_clip", measure="truth_ml")
    values = pd.Series(
        [_rank_correlation(found.table.loc[who], -volumes.table.loc[who]) for who in found.table.index],
        index=found.table.index,
    )
    chosen = pd.concat([found.rows, volumes.rows], ignore_index=True)
    return replace(over_patients(evidence, values, chosen), unit=CORRELATION)


def named_gain_more(evidence: Evidence) -> Measured:
    """The gain on the structures that the text names as small less that on all others, by patient."""
    found = mask_gain(evidence, ("learnt", "clip"))
    named = found.table.columns.isin([*NAMED_SMALL, *VESSELS])
    values = found.table.loc[:, named].mean(axis=1) - found.table.loc[:, ~named].mean(axis=1)
    return over_patients(evidence, values, found.rows)


def every_target(evidence: Evidence) -> Measured:
    """Dice less that of a mask placed by the outline of the body, at the target where this is least sure."""
    return worst_target(evidence, gain(evidence, "mask_clip", "prior_mask"))


def more_consistent(evidence: Evidence) -> Measured:
    """Standard deviation of Dice over a patient's targets: SegResNet's less ours."""
    theirs, ours = evidence.select("segresnet"), evidence.select("mask_clip")
    values = theirs.table.std(axis=1) - ours.table.std(axis=1)
    return over_patients(evidence, values, pd.concat([theirs.rows, ours.rows], ignore_index=True))


def variance_finds_errors(evidence: Evidence) -> Measured:
    """Area under the curve with which the variance map tells wrong voxels from right ones; 50 is chance."""
    found = evidence.select("mask_clip", measure="error_auroc")
    return replace(over_patients(evidence, found.table.mean(axis=1), found.rows, null=50.0), unit="%")


def doubt_follows_error(evidence: Evidence) -> Measured:
    """Rank correlation over patients of mean uncertainty with mean error, both over the patient's targets."""
    doubt, dice = evidence.select("mask_clip", measure="uncertainty"), evidence.select("mask_clip")
    both = pd.DataFrame({"doubt": doubt.table.mean(axis=1), "error": PER_CENT - dice.table.mean(axis=1)}).dropna()
    summary = bootstrap(both, lambda values: _rank_correlation(values[:, 0], values[:, 1]), evidence.generator())
    p_value = permutation_p_value(both["doubt"].to_numpy(), both["error"].to_numpy(), evidence.generator())
    rows = pd.concat([doubt.rows, dice.rows], ignore_index=True)
    return Measured(**vars(summary), p_value=p_value, unit=CORRELATION, rows=rows)


def permutation_p_value(first: np.ndarray, second: np.ndarray, generator: np.random.Generator) -> float:
    """Two-sided p-value of a rank correlation, from random pairings; NaN where a side does not vary."""
    if len(first) < FEWEST_TARGETS or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    one, other = (rankdata(side) - (len(side) + 1) / 2 for side in (first, second))
    pairings = generator.permuted(np.tile(other, (PAIRINGS - 1, 1)), axis=1) @ one
    return float((1 + (np.abs(pairings) >= abs(other @ one) - 1e-9).sum()) / PAIRINGS)


def _rank_correlation(first, second) -> float:
    """Spearman's, NaN below three pairs or where one side does not vary."""
    values = np.column_stack([first, second]).astype(float)
    values = values[~np.isnan(values).any(axis=1)]
    if len(values) < FEWEST_TARGETS or (values == values[0]).all(axis=0).any():
        return float("nan")
    return float(spearmanr(values).statistic)
