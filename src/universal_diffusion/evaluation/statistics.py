"""Means that carry their n and their interval, and paired comparisons.

All intervals are 95 % percentile bootstrap intervals over cases. Where several targets are averaged, a case is drawn
with all of them and within its source, so that targets measured on the same scans are not taken for independent.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

RESAMPLES = 2000
LEVEL = 95.0


@dataclass(frozen=True)
class Summary:
    """A statistic of n cases and its interval from `low` to `high`, NaN where n is below 2."""

    value: float
    low: float
    high: float
    n: int


def summarise(values: np.ndarray, generator: np.random.Generator) -> Summary:
    """Mean of the defined `values` (N,), its interval, and how many they are."""
    defined = np.asarray(values, float)
    defined = defined[~np.isnan(defined)]
    if len(defined) == 0:
        return Summary(np.nan, np.nan, np.nan, 0)
    if len(defined) == 1:
        return Summary(float(defined[0]), np.nan, np.nan, 1)
    drawn = generator.integers(len(defined), size=(RESAMPLES, len(defined)))
    return Summary(float(defined.mean()), *_interval(defined[drawn].mean(axis=1)), len(defined))


def case_table(cases: pd.DataFrame, measure: str = "dice") -> pd.DataFrame:
    """One row per (source, case), one column per target@source, values of `measure` (NaN where undefined)."""
    columns = cases["target"] + "@" + cases["source"]
    return cases.assign(column=columns).pivot(index=["source", "case"], columns="column", values=measure)


def mean_of_column_means(table: pd.DataFrame | np.ndarray) -> float:
    """Mean over columns of each column's mean over its defined cases; columns without any are left out."""
    values = np.asarray(table, float)
    counts = (~np.isnan(values)).sum(axis=0)
    if not counts.any():
        return float("nan")
    return float((np.nansum(values, axis=0)[counts > 0] / counts[counts > 0]).mean())


def mean_of_all(table: pd.DataFrame | np.ndarray) -> float:
    """Mean over all defined (case, target) values: targets with more cases weigh more."""
    values = np.asarray(table, float)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def bootstrap(table: pd.DataFrame, statistic: Callable[[np.ndarray], float], generator: np.random.Generator) -> Summary:
    """`statistic` of a case table (rows indexed by source and case), with its interval; n counts rows with a value.

    A source with a single case cannot be resampled: the interval would leave its spread out, so there is none.
    """
    table = table.dropna(how="all").sort_index()
    values = table.to_numpy(float)
    if len(values) < 2:
        return Summary(statistic(values) if len(values) else np.nan, np.nan, np.nan, len(values))
    groups = list(pd.Series(range(len(table))).groupby(table.index.get_level_values("source").to_numpy()))
    if min(len(members) for _, members in groups) < 2:
        return Summary(statistic(values), np.nan, np.nan, len(values))
    resampled = []
    for _ in range(RESAMPLES):
        rows = np.concatenate([generator.choice(members.to_numpy(), len(members)) for _, members in groups])
        resampled.append(statistic(values[rows]))
    return Summary(statistic(values), *_interval(np.array(resampled)), len(values))


def paired_p_value(differences: np.ndarray) -> float:
    """Two-sided Wilcoxon signed-rank p-value of paired `differences` (N,); NaN if none is defined and non-zero."""
    defined = np.asarray(differences, float)
    defined = defined[~np.isnan(defined)]
    return float(wilcoxon(defined).pvalue) if np.any(defined != 0) else float("nan")


def _interval(resampled: np.ndarray) -> tuple[float, float]:
    defined = resampled[~np.isnan(resampled)]
    if len(defined) == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)
