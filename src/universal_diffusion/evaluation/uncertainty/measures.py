"""Statistics of an ensemble's uncertainty over many masks. A mask is one target of one case.

A rank correlation over all masks also rewards an ensemble that doubts every small target, which have low Dice anyway;
the one within targets, and `kept_dice`, compare a mask with masks of the same target only.

`values` (P, 2 K) is everywhere one row per patient: the uncertainty of K targets, then their Dice; NaN where there is
none (`doubt_and_dice`).
"""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from universal_diffusion.evaluation.scoring.calibration import BINS, calibration_error
from universal_diffusion.evaluation.statistics import patient_table
from universal_diffusion.evaluation.uncertainty.rows import MASK, RELIABILITY

SUMS = list(RELIABILITY[1:])


def reliability_sums(rows: pd.DataFrame) -> pd.DataFrame:
    """Per patient with any voxel asked, ten bins of (voxels, probability_sum, truth_sum), summed over the masks.

    Returns:
        (P, 30), indexed by (stratum, patient) as `statistics.bootstrap` draws them: all patients in one stratum.
    """
    sums = rows.groupby(["patient", "bin"])[SUMS].sum().unstack("bin")
    sums = sums[sums["voxels"].sum(axis=1) > 0]
    columns = [(name, number) for number in range(BINS) for name in SUMS]
    return pd.concat({"": sums[columns]}, names=["stratum"])


def pooled_reliability(sums: pd.DataFrame | np.ndarray) -> np.ndarray:
    """(10, 3): voxels, probability_sum and truth_sum of each bin over all patients of `reliability_sums`."""
    return np.asarray(sums, float).sum(axis=0).reshape(BINS, len(SUMS))


def pooled_calibration_error(sums: np.ndarray) -> float:
    """ECE of all voxels of all masks together: large targets weigh most."""
    return calibration_error(pooled_reliability(sums))


def doubt_and_dice(masks: pd.DataFrame) -> pd.DataFrame:
    """The `values` of score rows with a column `patient`; several scans of a patient are averaged."""
    scored = masks[masks["dice"].notna()]
    return pd.concat([patient_table(scored, name, pooled=True) for name in ("uncertainty", "dice")], axis=1)


def complete(coverage: pd.DataFrame) -> pd.DataFrame:
    """Coverage rows of the masks that have a Dice at every coverage: all points of a curve are of the same masks."""
    lacking = coverage["dice"].isna().groupby([coverage[name] for name in MASK]).transform("any")
    return coverage[~lacking]


def rank_correlation(values: np.ndarray) -> float:
    """Spearman's correlation of uncertainty with Dice over all masks; NaN where one of them is constant."""
    return _correlation(*(rankdata(half[~np.isnan(half)]) for half in _halves(values)))


def rank_correlation_within(values: np.ndarray) -> float:
    """The same of the ranks within each target, less their mean and divided by the target's masks + 1."""
    return _correlation(*(_centred_ranks(half) for half in _halves(values)))


def kept_dice(values: np.ndarray, share: float, by_dice: bool = False) -> float:
    """Mean of target means of Dice when that share of every target's masks is kept, the least uncertain.

    Where the share cuts through a mask, or through masks of equal uncertainty, each of them counts for its part.

    Args:
        by_dice: keep those of highest Dice instead, which no uncertainty can better.
    """
    doubt, dice = _halves(values)
    held = ~np.isnan(dice)
    order = np.where(held, -dice if by_dice else doubt, np.inf)
    first, last = (rankdata(order, method, axis=0) for method in ("min", "max"))
    places = share * held.sum(axis=0) - (first - 1)
    kept = held * np.clip(places / (last - first + 1), 0, 1)
    total = kept.sum(axis=0)
    if not total.any():
        return float("nan")
    return float(((kept * np.nan_to_num(dice)).sum(axis=0)[total > 0] / total[total > 0]).mean())


def kept_of_all(values: np.ndarray, share: float, by_dice: bool = False) -> float:
    """The same of all masks together, whatever their target: mean over the masks kept."""
    return kept_dice(np.hstack([half.reshape(-1, 1) for half in _halves(values)]), share, by_dice)


def _halves(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    doubt, dice = np.split(np.asarray(values, float), 2, axis=1)
    return doubt, dice


def _centred_ranks(half: np.ndarray) -> np.ndarray:
    held = ~np.isnan(half)
    count = held.sum(axis=0)
    ranks = rankdata(np.where(held, half, np.inf), axis=0)
    return ((ranks - (count + 1) / 2) / (count + 1))[held]


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
