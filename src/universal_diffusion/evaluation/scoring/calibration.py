"""Whether an ensemble knows what it does not know: calibration of its mean, error detection by its variance.

Both are measured where there is a question at all - voxels of the target or with any sampled probability - because
the empty rest of a CT would make every model look perfectly calibrated.
"""

import numpy as np
from scipy.stats import rankdata

BINS = 10


def region(truth: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Voxels of the target or with a mean above zero."""
    return truth | (mean > 0)


def expected_calibration_error(truth: np.ndarray, mean: np.ndarray) -> float:
    """ECE of probabilities `mean` against boolean `truth` (same shape) in ten equal bins; NaN without voxels."""
    if truth.size == 0:
        return float("nan")
    bins = np.minimum((mean * BINS).astype(int), BINS - 1).ravel()
    probability, frequency = (np.bincount(bins, weights=np.ravel(values), minlength=BINS) for values in (mean, truth))
    return float(np.abs(probability - frequency).sum() / truth.size)


def error_detection(wrong: np.ndarray, variance: np.ndarray) -> float:
    """Area under the ROC curve of finding `wrong` voxels (boolean) by their variance; NaN if all or none are wrong."""
    errors = int(wrong.sum())
    if errors in (0, wrong.size):
        return float("nan")
    ranks = rankdata(variance.ravel())[wrong.ravel()]
    return float((ranks.sum() - errors * (errors + 1) / 2) / (errors * (wrong.size - errors)))
