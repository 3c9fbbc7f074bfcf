"""Means that carry their n and their interval, and paired comparisons of two systems.

All intervals are 95 % expanded percentile bootstrap intervals over patients (Hesterberg 2015, "What Teachers Should
Know About the Bootstrap"): plain percentiles are too narrow for few patients, so percentiles are taken as far out as
makes the interval of a normal mean as wide as Student's. Where no bootstrap holds what it says, there is no interval:
below `FEWEST` patients, and for a mean of target means below `FEWEST_PER_COLUMN` patients of any target. Copies of a
scan and several scans of a patient are one unit (`patients.Patients` tells who they show): their values are averaged
first, and where several targets are averaged, a patient is drawn with all of them, so that masks of the same body are
not taken for independent.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata, t, wilcoxon

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.scoring.cases import SCORED

RESAMPLES = 2000
LEVEL = 0.95
FEWEST = 6  # patients; below, intervals hold the truth less often than they say, and Wilcoxon's test cannot reach 0.05
FEWEST_PER_COLUMN = 5  # patients of a target; below, its spread hardly enters the interval of a mean of target means


@dataclass(frozen=True)
class Summary:
    """A statistic of n patients and its interval from `low` to `high`, NaN where n is too small."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """One system less another on the same patients.

    Attributes:
        targets, cases: difference of the mean of target means, and of the mean over all (patient, target).
        p_value: Wilcoxon's signed-rank test, two-sided, of the patients' mean differences.
        rank_biserial: matched-pairs rank-biserial correlation of the same, from -1 to 1 (Kerby 2014).
    """

    targets: Summary
    cases: Summary
    p_value: float
    rank_biserial: float


def summarise(values: np.ndarray, generator: np.random.Generator) -> Summary:
    """Mean of the defined `values` (N,), its interval, and how many they are."""
    defined = np.asarray(values, float)
    defined = defined[~np.isnan(defined)]
    if len(defined) == 0:
        return Summary(np.nan, np.nan, np.nan, 0)
    if len(defined) < FEWEST:
        return Summary(float(defined.mean()), np.nan, np.nan, len(defined))
    drawn = generator.integers(len(defined), size=(RESAMPLES, len(defined)))
    return Summary(float(defined.mean()), *_interval(defined[drawn].mean(axis=1), len(defined)), len(defined))


def patient_table(cases: pd.DataFrame, measure: str = "dice", pooled: bool = False) -> pd.DataFrame:
    """One row per patient of one system's scores, one column per target@source: means of `measure` over the scans.

    Args:
        cases: score rows with a column `patient` (`patients.Patients.named`).
        measure: the column to average; NaN where undefined.
        pooled: one column per target, whatever its source, and all patients in one stratum.

    Returns:
        Rows indexed by (stratum, patient): the stratum, within which `bootstrap` draws, is a patient's first source.

    Raises:
        InputError: if a case and target occur twice.
    """
    twice = cases[cases.duplicated(SCORED)]
    if len(twice):
        told = f"{'/'.join(twice.iloc[0][SCORED])} occurs twice"
        raise InputError("scores", told, "give one system's rows, each once")
    column = cases["target"] if pooled else cases["target"] + "@" + cases["source"]
    stratum = "" if pooled else cases.groupby("patient")["source"].transform("min")
    placed = cases.assign(column=column, stratum=stratum)
    return placed.groupby(["stratum", "patient", "column"])[measure].mean().unstack("column")


def mean_of_column_means(table: pd.DataFrame | np.ndarray) -> float:
    """Mean over columns of each column's mean over its defined cases; columns without any are left out."""
    means = _column_means(np.asarray(table, float))
    return float(np.nanmean(means)) if not np.isnan(means).all() else float("nan")


def mean_of_all(table: pd.DataFrame | np.ndarray) -> float:
    """Mean over all defined (case, target) values: targets with more cases weigh more."""
    values = np.asarray(table, float)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def bootstrap(table: pd.DataFrame, statistic: Callable[[np.ndarray], float], generator: np.random.Generator) -> Summary:
    """`statistic` of a table (`patient_table`), with its interval; n counts rows with a value.

    Rows are drawn within the first level of the index. A stratum of a single row cannot be resampled: the interval
    would leave its spread out, so there is none. A column that a draw leaves without a value keeps its own mean there:
    if it were dropped, every draw would average other targets, and the interval would be beside the statistic.
    """
    table = table.dropna(how="all").sort_index()
    values, strata = table.to_numpy(float), _strata(table)
    if strata is None or (statistic is mean_of_column_means and _thin(values)):
        return Summary(statistic(values) if len(values) else np.nan, np.nan, np.nan, len(values))
    means, resampled = _column_means(values), []
    for _ in range(RESAMPLES):
        drawn = values[np.concatenate([generator.choice(members, len(members)) for members in strata])]
        lost = np.isnan(drawn).all(axis=0)
        resampled.append(statistic(np.vstack([drawn, np.where(lost, means, np.nan)]) if lost.any() else drawn))
    return Summary(statistic(values), *_interval(np.array(resampled), len(values), len(strata)), len(values))


def averages(table: pd.DataFrame, generator: np.random.Generator) -> tuple[Summary, Summary]:
    """`mean_of_column_means` and `mean_of_all` of a table, from the same draws; as `bootstrap`, but fast."""
    table = table.dropna(how="all").sort_index()
    values, strata = table.to_numpy(float), _strata(table)
    statistics = mean_of_column_means, mean_of_all
    if strata is None:
        found = [statistic(values) if len(values) else np.nan for statistic in statistics]
        return tuple(Summary(value, np.nan, np.nan, len(values)) for value in found)
    times = np.zeros((RESAMPLES, len(values)))
    for members in strata:
        drawn = generator.integers(len(members), size=(RESAMPLES, len(members)))
        places = drawn + len(members) * np.arange(RESAMPLES)[:, None]
        times[:, members] = np.bincount(places.ravel(), minlength=places.size).reshape(places.shape)
    sums, counts = times @ np.nan_to_num(values), times @ ~np.isnan(values)
    own = np.broadcast_to(_column_means(values), sums.shape)
    means = np.divide(sums, counts, out=own.copy(), where=counts > 0)
    of_columns = np.full(RESAMPLES, np.nan) if _thin(values) else np.nanmean(means, axis=1)
    pairs = zip(statistics, (of_columns, sums.sum(axis=1) / counts.sum(axis=1)), strict=True)
    bounds = ((statistic, _interval(drawn, len(values), len(strata))) for statistic, drawn in pairs)
    return tuple(Summary(statistic(values), *interval, len(values)) for statistic, interval in bounds)


def compare(first: pd.DataFrame, second: pd.DataFrame, generator: np.random.Generator) -> Comparison:
    """`first` less `second`, tables of two systems (`patient_table`), where both have a value."""
    difference = (first - second).dropna(how="all")
    by_patient = difference.mean(axis=1).to_numpy()
    both = averages(difference, generator)
    return Comparison(*both, paired_p_value(by_patient), rank_biserial(by_patient))


def paired_p_value(differences: np.ndarray) -> float:
    """Two-sided Wilcoxon signed-rank p-value of paired `differences` (N,); NaN if none is defined and non-zero.

    Differences of zero are left out first, as Wilcoxon did. Of what is left the p-value is exact up to 50 differences
    of unlike size (with ties up to 13), else a normal approximation.
    """
    defined = np.asarray(differences, float)
    defined = defined[~np.isnan(defined) & (defined != 0)]
    return float(wilcoxon(defined).pvalue) if len(defined) else float("nan")


def rank_biserial(differences: np.ndarray) -> float:
    """Share of the ranks of |differences| (N,) in favour less the share against; NaN if none is defined and non-zero.

    1: every pair speaks for the first, 0: they balance, -1: every pair speaks for the second.
    """
    defined = np.asarray(differences, float)
    defined = defined[~np.isnan(defined) & (defined != 0)]
    ranks = rankdata(np.abs(defined))
    return float((np.sign(defined) * ranks).sum() / ranks.sum()) if len(defined) else float("nan")


def _column_means(values: np.ndarray) -> np.ndarray:
    """Mean of each column's defined values, NaN for a column without any."""
    counts = (~np.isnan(values)).sum(axis=0)
    return np.divide(np.nansum(values, axis=0), counts, out=np.full(values.shape[1], np.nan), where=counts > 0)


def _strata(table: pd.DataFrame) -> list[np.ndarray] | None:
    """Row numbers of each stratum, or None if one of them, or the whole table, is too small to be resampled."""
    first = table.index.get_level_values(0).to_numpy()
    strata = list(pd.Series(range(len(table))).groupby(first).indices.values())
    return strata if len(table) - len(strata) + 1 >= FEWEST and min(map(len, strata)) > 1 else None


def _thin(values: np.ndarray) -> bool:
    """Whether a column that has values has too few for its spread to count."""
    counts = (~np.isnan(values)).sum(axis=0)
    return bool(np.any((counts > 0) & (counts < FEWEST_PER_COLUMN)))


def _interval(resampled: np.ndarray, n: int, strata: int = 1) -> tuple[float, float]:
    """Percentiles of what was drawn from n rows in `strata`, as far out as makes up for n - strata in place of n."""
    defined = resampled[~np.isnan(resampled)]
    if len(defined) == 0:
        return float("nan"), float("nan")
    free = n - strata
    tail = norm.cdf(np.sqrt(n / free) * t.ppf((1 - LEVEL) / 2, free))
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)
