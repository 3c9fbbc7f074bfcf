"""Whether an ensemble knows what it does not know: how far its mean can be believed, and whether its variance warns.

All is measured around the target (`region`), because the empty rest of a CT would make every model look perfectly
calibrated. The place follows from the truth alone, so that it is the same for every model: judged where a model itself
puts some probability, one that puts it everywhere would seem the better calibrated, and chance would not be an AUROC of
a half, since what a model surely and rightly leaves out would be missing.

Every measure is a function of two histograms, that of the means and that of the variances, each by what is true at
their voxels. So it depends neither on the order of the voxels nor on how ties are broken, and a map that was stored in
256 levels costs no more than its levels.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import entropy

from universal_diffusion.boxes import Box, bounding_box
from universal_diffusion.segmentation.outputs.facts import SHOWN

MARGIN_MM = 20.0  # around the target: a mask that strays farther is told by Dice, surfaces and false positives
BINS = 10
COVERAGES = (1.0, 0.99, 0.98, 0.95, 0.9, 0.8, 0.5)
EDGE = 1e-5  # a mean this close below a bin's edge lies on it: the scale of a stored map is rounded


@dataclass(frozen=True)
class Uncertainty:
    """Calibration and error detection of one target in one case.

    Attributes:
        ece: expected calibration error, sum over the bins of |probability_sum - truth_sum| / voxels of all bins.
        brier: mean of (mean - truth)^2.
        error_auroc: area under the ROC curve of finding the wrongly segmented voxels by their variance; equal variances
            count half. NaN where all voxels or none are wrong.
        reliability: per bin of the mean, [0, 0.1) ... [0.9, 1]: voxels, the sum of their means, how many are target.
        coverage: Dice of the share `COVERAGES` of the region's voxels that is left when those of largest variance are
            set aside; at 1 it is Dice within the region. Of voxels with equal variance a share is set aside that has
            their average truth and prediction. NaN where neither truth nor prediction is left.
    """

    ece: float
    brier: float
    error_auroc: float
    reliability: tuple[tuple[int, float, int], ...]
    coverage: tuple[float, ...]


def region(truth: np.ndarray, spacing_mm: np.ndarray) -> Box:
    """The box around the target's voxels, `MARGIN_MM` wider to each side as far as the CT goes; empty without any."""
    box = bounding_box(truth)
    if box is None:
        return tuple(slice(0, 0) for _ in truth.shape)
    margins = np.ceil(MARGIN_MM / np.asarray(spacing_mm)).astype(int)
    return tuple(slice(max(0, side.start - wide), side.stop + wide) for side, wide in zip(box, margins, strict=True))


def measure(truth: np.ndarray, mean: np.ndarray, variance: np.ndarray, predicted: np.ndarray) -> Uncertainty:
    """Judge one target's maps against its truth, at all voxels of the arrays: those of its `region`.

    ECE, Brier score and AUROC are NaN, and so is every Dice, where there is no voxel.

    Args:
        truth, predicted: bool, any shape.
        mean, variance: of the ensemble's probabilities, float32, the same shape; possibly quantised.

    Raises:
        ValueError: the shapes differ.
    """
    if not truth.shape == mean.shape == variance.shape == predicted.shape:
        raise ValueError(f"shapes differ: {truth.shape}, {mean.shape}, {variance.shape}, {predicted.shape}")
    truth, mean, variance, predicted = (array.ravel() for array in (truth, mean, variance, predicted))
    probability, by_truth = _histogram(np.clip(mean, 0, 1), truth.astype(np.int8), 2)
    _, by_agreement = _histogram(variance, 2 * predicted.astype(np.int8) + truth, 4)
    reliability = _reliability(probability, by_truth)
    return Uncertainty(
        calibration_error(reliability),
        _brier(probability, by_truth),
        _error_auroc(by_agreement),
        tuple((int(voxels), float(total), int(true)) for voxels, total, true in reliability),
        tuple(_dice_at(by_agreement, share) for share in COVERAGES),
    )


def doubt(mean: np.ndarray) -> float:
    """Mean entropy, in bits, over the voxels of a whole CT whose `mean` is at least 0.05.

    The number that `segmentation.json` gives for a new CT, for it asks nothing of the truth. 0 where there is no such
    voxel: the ensemble is sure that nothing is there.
    """
    shown = mean.ravel(order="K")  # as it lies in memory, without a copy
    probability, voxels = np.unique(shown[shown >= np.float32(SHOWN)].clip(0, 1), return_counts=True)
    bits = entropy(np.stack([probability, 1 - probability]).astype(float), base=2)
    return float((bits * voxels).sum() / voxels.sum()) if len(voxels) else 0.0


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


def _dice_at(by_agreement: np.ndarray, share: float) -> float:
    voxels = by_agreement.sum(axis=1)
    left = share * voxels.sum() - (np.cumsum(voxels) - voxels)  # how many of a level's voxels still have a place
    kept = (by_agreement * np.clip(left / voxels, 0, 1)[:, None]).sum(axis=0)
    _, missed, false, common = kept
    total = missed + false + 2 * common
    return float(2 * common / total) if total else float("nan")
