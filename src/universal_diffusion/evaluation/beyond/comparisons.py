"""Step: every system against every other on the same patients, with intervals, corrected tests and effect sizes.

python -m universal_diffusion.evaluation.beyond.comparisons --cases F --splits F --cohort TEXT --study-seed N
    --output-csv F --output-md F --output-tex F

Pairs are cases whose truth holds the target: there every system has a score, so that no pair hinges on how often a
system is silent where nothing is. Targets are taken together over the sources that annotate them.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.multiplicity import holm
from universal_diffusion.evaluation.patients import read_patients
from universal_diffusion.evaluation.scoring.cases import of_system, read_cases
from universal_diffusion.evaluation.statistics import FEWEST, FEWEST_PER_COLUMN, Comparison, compare, patient_table
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.systems import SYSTEMS, system_of

COHORTS = {"validation and test": ("validation", "test"), "test": ("test",)}
MEASURES = {
    "dice": "Dice, CT's own grid",
    "dice_harmonised": "Dice, harmonised grid",
    "surface_dice": "normalised surface Dice, CT's own grid",
}
COLUMNS = ["cohort", "measure", "first", "second", "n", "n_targets", "n_thin_targets", "n_pairs"]
COLUMNS += [f"{average}_{name}" for average in ("targets", "cases") for name in ("difference", "low", "high")]
COLUMNS += ["p_value", "p_holm", "rank_biserial", "finding"]
HEADINGS = ["First", "Second", "n", "Mean of target means", "Mean over cases", "r", "p", "Holm", "Finding"]
ALPHA = 0.05
UNTESTED, SPANS, APART, UNCORRECTED, HIGHER, LOWER = (
    f"not testable: fewer than {FEWEST} patients",
    "no difference shown: interval of the {averages} spans zero",
    "no difference shown: the two averages lie on opposite sides of zero",
    "no difference shown: corrected p not below 0.05",
    "first higher",
    "first lower",
)
AVERAGES = {"targets": "mean of target means", "cases": "mean over cases"}
THIN = (
    f"{{thin}} of the {{targets}} targets are held by fewer than {FEWEST_PER_COLUMN} patients. Where one is, the mean "
    "of target means has no interval: the spread of such targets would hardly enter it."
)
NOTES = (
    "Differences (first less second) in points, with 95 % bootstrap intervals over patients: of the mean of target "
    "means, and of the mean over all cases and targets. n: patients whose truth holds a target and of whom no scan was "
    "trained on; the scans of one patient, copies included, count once.",
    "p: Wilcoxon's signed-rank test, two-sided, of the patients' mean differences; Holm: corrected for all pairs of "
    "systems of this table. With fewer than six patients, p cannot fall below 0.05 whatever the difference.",
    "r: matched-pairs rank-biserial correlation of the same differences; 1: every patient speaks for the first system, "
    "-1: for the second.",
    "First higher or lower: every interval there is on the same side of zero and the corrected p below 0.05. No "
    "difference shown is not equality shown.",
    "Each system was trained once: all this is about how patients differ, not about how another training would.",
)


def comparison_rows(cases: pd.DataFrame, study_seed: int) -> pd.DataFrame:
    """One row per cohort, measure and pair of systems that were scored.

    Args:
        cases: score rows with their patients (`patients.Patients.named`).

    Returns:
        `COLUMNS`: n patients, n_thin_targets held by too few for an interval, n_pairs of (patient, target); differences
        of the mean of target means (`targets_*`) and of the mean over cases (`cases_*`), as fractions, with intervals.
    """
    held = cases[cases["truth_ml"] > 0]
    blocks = [
        _block(cohort, measure, held[held["part"].isin(parts)], study_seed)
        for cohort, parts in COHORTS.items()
        for measure in MEASURES
    ]
    return pd.concat(blocks, ignore_index=True)


def _block(cohort: str, measure: str, held: pd.DataFrame, study_seed: int) -> pd.DataFrame:
    scored = {system.key: of_system(held, system) for system in SYSTEMS}
    found = {key: patient_table(own, measure, pooled=True) for key, own in scored.items() if len(own)}
    rows = []
    for first, second in combinations(found, 2):
        pairs = (found[first] - found[second]).notna()
        generator = numpy_generator(study_seed, "bootstrap", "comparisons", cohort, measure, first, second)
        rows.append(
            {"cohort": cohort, "measure": measure, "first": first, "second": second}
            | {"n_targets": int((pairs.sum() > 0).sum())}
            | {"n_thin_targets": int(pairs.sum().between(1, FEWEST_PER_COLUMN - 1).sum())}
            | {"n_pairs": int(pairs.to_numpy().sum())}
            | _figures(compare(found[first], found[second], generator))
        )
    block = pd.DataFrame(rows, columns=COLUMNS)
    block["p_holm"] = holm(block["p_value"].to_numpy())
    block["finding"] = [finding(row) for row in block.itertuples()]
    return block


def _figures(comparison: Comparison) -> dict[str, float]:
    sides = {"targets": comparison.targets, "cases": comparison.cases}
    differences = {
        f"{side}_{name}": getattr(summary, field)
        for side, summary in sides.items()
        for name, field in (("difference", "value"), ("low", "low"), ("high", "high"))
    }
    return {
        "n": comparison.targets.n,
        **differences,
        "p_value": comparison.p_value,
        "rank_biserial": comparison.rank_biserial,
    }


def finding(row) -> str:
    """What a row shows: higher or lower only if every interval there is and the corrected test agree."""
    intervals = {side: (getattr(row, f"{side}_low"), getattr(row, f"{side}_high")) for side in AVERAGES}
    sides = {side: _side(*bounds) for side, bounds in intervals.items() if not np.isnan(bounds).any()}
    if not sides:
        return UNTESTED
    if spanning := [AVERAGES[side] for side, sign in sides.items() if sign == 0]:
        return SPANS.format(averages=" and of the ".join(spanning))
    if len(set(sides.values())) > 1:
        return APART
    if not row.p_holm < ALPHA:
        return UNCORRECTED
    return HIGHER if set(sides.values()) == {1} else LOWER


def _side(low: float, high: float) -> int:
    """1 or -1 for an interval above or below zero, 0 for one that touches it."""
    return int(low > 0) - int(high < 0)


def printed_tables(rows: pd.DataFrame, cohort: str) -> list[tables.Printed]:
    """A table per cohort and measure, a row per pair."""
    return [
        _printed(number, rows[(rows["cohort"] == parts) & (rows["measure"] == measure)], parts, measure, cohort)
        for number, (parts, measure) in enumerate((parts, measure) for parts in COHORTS for measure in MEASURES)
    ]


def _printed(number: int, own: pd.DataFrame, parts: str, measure: str, cohort: str) -> tables.Printed:
    texts = pd.DataFrame(
        [
            [
                system_of(row.first).label,
                system_of(row.second).label,
                str(row.n),
                _difference(row.targets_difference, row.targets_low, row.targets_high),
                _difference(row.cases_difference, row.cases_low, row.cases_high),
                _figure(row.rank_biserial, "+.2f"),
                _figure(row.p_value, ".3f"),
                _figure(row.p_holm, ".3f"),
                row.finding,
            ]
            for row in own.itertuples()
        ],
        columns=HEADINGS,
    )
    caption = f"Systems compared on the same patients ({parts}), {MEASURES[measure]} (points): {cohort}."
    label = f"tab:comparisons-{number + 1}"
    told = [THIN.format(thin=row.n_thin_targets, targets=row.n_targets) for row in own.head(1).itertuples()]
    return tables.Printed(texts, tables.unmarked(texts), caption, (*told, *NOTES), label)


def _difference(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return tables.NOTHING
    return f"{100 * value:+.1f} {tables.interval(low, high, 1, '+')}".rstrip()


def _figure(value: float, form: str) -> str:
    return tables.NOTHING if pd.isna(value) else f"{value:{form}}"


@one_line_errors
def main() -> None:
    """Write the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv, from `collect`")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv, which tells the patients")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    tables.add_outputs(parser)
    arguments = parser.parse_args()
    patients = read_patients(arguments.splits)
    rows = comparison_rows(patients.untrained(read_cases(arguments.cases)), arguments.study_seed)
    tables.write_outputs(arguments, rows, *printed_tables(rows, arguments.cohort))


if __name__ == "__main__":
    main()
