"""Correction of p-values for how many were computed."""

import numpy as np
from statsmodels.stats.multitest import multipletests


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down corrected `p_values` (N,): they bound the chance of any false find. NaN stays, uncounted."""
    given = np.asarray(p_values, float)
    corrected, defined = np.full_like(given, np.nan), ~np.isnan(given)
    if defined.any():
        corrected[defined] = multipletests(given[defined], method="holm")[1]
    return corrected
