"""Whether an ensemble knows what it does not know: how far its mean can be believed, and whether its variance warns.

All is measured where there is a question at all - voxels of the target or with any sampled probability (`region`) -
because the empty rest of a CT would make every model look perfectly calibrated.

Every measure is a function of two histograms, that of the means and that of the variances, each by what is true at
their voxels. So it depends neither on the order of the voxels nor on how ties are broken, and a map that was stored in
256 levels costs no more than its levels.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import entropy

from universal_diffusion.segmentation.outputs.facts import SHOWN

BINS = 10
COVERAGES = (1.0, 0.99, 0.98, 0.95, 0.9, 0.8, 0.5)
EDGE = 1e-5  # a mean this close below a bin's edge lies on it: the scale of a stored map is rounded


@dataclass(frozen=True)
class Uncertainty:
    """Calibration, error detection and doubt of one target in one case.

    Attributes:
        ece: expected calibration error, sum over the bins of |probability_sum - truth_sum| / voxels of all bins.
        brier: mean of (mean - truth)^2.
        error_auroc: area under the ROC curve of finding the wrongly segmented voxels by their variance; equal variances
            count half. NaN where all voxels or none are wrong.
        uncertainty: mean entropy of the mean, in bits, over the voxels whose mean is at least 0.05 - the number that
            `segmentation.json` gives for a new CT, for it asks nothing of the truth. 0 where there is no such voxel:
            the ensemble is sure that nothing is there.
        reliability: per bin of the mean, [0, 0.1) ... [0.9, 1]: voxels, the sum of their means, how many are target.
        coverage: Dice of the share `COVERAGES` of the region's voxels that is left when those of largest variance are
            set aside. Of voxels with equal variance a share is set aside that has their average truth and prediction.
            NaN where neither truth nor prediction is left.
    """

    ece: float
    brier: float
    error_auroc: float
    uncertainty: float
    reliability: tuple[tuple[int, float, int], ...]
    coverage: tuple[float, ...]


def region(truth: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Voxels of the target or with a mean above zero."""
    return truth | (mean > 0)


def measure(truth: np.ndarray, mean: np.ndarray, variance: np.ndarray, predicted: np.ndarray) -> Uncertainty:
    """Judge one target's maps against its truth, within `region`.

    ECE, Brier score and AUROC are NaN, and so is every Dice, where the region is empty.

    Args:
        truth, predicted: bool, any shape. A predicted voxel has a mean of at least 0.5, so it lies in the region.
        mean, variance: of the ensemble's probabilities, float32, the same shape; possibly quantised.

    Raises:
        ValueError: the shapes differ.
    """
    if not truth.shape == mean.shape == variance.shape == predicted.shape:
        raise ValueError(f"shapes differ: {truth.shape}, {mean.shape}, {variance.shape}, {predicted.shape}")
    asked = region(truth, mean)
    truth, predicted = truth[asked], predicted[asked]
    probability, by_truth = _histogram(np.clip(mean[asked], 0, 1), truth.astype(np.int8), 2)
    _, by_agreement = _histogram(variance[asked], 2 * predicted.astype(np.int8) + truth, 4)
    reliability = _reliability(probability, by_truth)
    return Uncertainty(
        calibration_error(reliability),
        _brier(probability, by_truth),
        _error_auroc(by_agreement),
        _doubt(probability, by_truth.sum(axis=1)),
        tuple((int(voxels), float(total), int(true)) for voxels, total, true in reliability),
        tuple(_dice_at(by_agreement, share) for share in COVERAGES),
    )


def calibration_error(reliability: np.ndarray) -> float:
    """ECE of rows (voxels, probability_sum, truth_sum), one per bin; NaN without voxels."""
    voxels, probability, truth = np.asarray(reliability, float).T
    return float(np.abs(probability - truth).sum() / voxels.sum()) if voxels.sum() else float("nan")


def _histogram(values: np.ndarray, kinds: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values in ascending order (L,), and how many voxels of each kind have them (L, count)."""
    levels, level = np.unique(values, return_inverse=True)
    found = np.bincount(level * count + kinds, minlength=len(levels) * count)
    return levels.astype(float), found.reshape(len(levels), count)


def _reliability(probability: np.ndarray, by_truth: np.ndarray) -> np.ndarray:
    bins = np.minimum((probability * BINS + EDGE).astype(int), BINS - 1)
    voxels = by_truth.sum(axis=1)
    columns = (voxels, voxels * probability, by_truth[:, 1])
    return np.stack([np.bincount(bins, weights=column, minlength=BINS) for column in columns], axis=1)


def _brier(probability: np.ndarray, by_truth: np.ndarray) -> float:
    squared = np.stack([probability**2, (1 - probability) ** 2], axis=1)
    return float((squared * by_truth).sum() / by_truth.sum()) if len(probability) else float("nan")


def _error_auroc(by_agreement: np.ndarray) -> float:
    right, wrong = by_agreement[:, [0, 3]].sum(axis=1), by_agreement[:, [1, 2]].sum(axis=1)
    pairs = float(right.sum()) * float(wrong.sum())
    below = np.cumsum(right) - right
    return float((wrong * (below + 0.5 * right)).sum() / pairs) if pairs else float("nan")


def _doubt(probability: np.ndarray, voxels: np.ndarray) -> float:
    shown = probability >= np.float32(SHOWN)
    bits = entropy(np.stack([probability, 1 - probability]), base=2)
    return float((bits * voxels)[shown].sum() / voxels[shown].sum()) if shown.any() else 0.0


def _dice_at(by_agreement: np.ndarray, share: float) -> float:
    voxels = by_agreement.sum(axis=1)
    left = share * voxels.sum() - (np.cumsum(voxels) - voxels)  # how many of a level's voxels still have a place
    kept = (by_agreement * np.clip(left / voxels, 0, 1)[:, None]).sum(axis=0)
    _, missed, false, common = kept
    total = missed + false + 2 * common
    return float(2 * common / total) if total else float("nan")
