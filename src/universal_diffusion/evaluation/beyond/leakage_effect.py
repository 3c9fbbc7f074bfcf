"""Step: what training on the test patients is worth: Dice of one system with and without that leakage, side by side.

    python -m universal_diffusion.evaluation.beyond.leakage_effect --dropped F --kept F --splits F --system NAME
        --cohort TEXT --study-seed N --output-csv F --output-md F --output-tex F

Both systems are trained and sampled alike; the one differs from the other by the leaked scans in its training set. Test
patients that no training set holds are told apart: what changes in them is the chance of another training.
"""

import argparse
from pathlib import Path

import pandas as pd

from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.patients import Patients, read_patients
from universal_diffusion.evaluation.scoring.cases import SCORED, of_system, read_cases
from universal_diffusion.evaluation.statistics import averages, mean_of_column_means, patient_table
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.systems import system_of
from universal_diffusion.targets import all_targets

LEAKED, OTHERS = "leaked", "not leaked"
MEAN = "mean of targets"
NOTES = (
    "Leaked: another scan in the training sources is a copy of the test patient's (leakage.csv). Without: such copies "
    "are left out of training. With: they are trained on, as the paper probably did.",
    "Mean Dice in per cent over the test patients with a Dice in both, their number in brackets; several scans of a "
    "patient are averaged first. With a 95 % bootstrap interval of the paired difference from six patients on.",
    "One training each: the difference in patients that are not leaked is what another training changes by chance.",
)


def effect_rows(dropped: pd.DataFrame, kept: pd.DataFrame, patients: Patients, seed: int) -> pd.DataFrame:
    """One row per kind of patient and target, and one for their mean: n, Dice without and with leakage, the difference.

    Args:
        dropped, kept: scores of the system trained without and with leakage (`cases.COLUMNS`).
        patients: who was scanned; leaked are those of whom another scan stands in a training archive.
        seed: of the study.

    Raises:
        InputError: if there is no Dice in a test case, or the two were not scored on the same cases and targets.
    """
    pairs = paired(dropped, kept, patients)
    leaked = pairs["patient"].isin(patients.copied)
    chosen = {LEAKED: pairs[leaked], OTHERS: pairs[~leaked]}
    names = [known.name for known in all_targets() if known.name in set(pairs["target"])]
    groups = [(kind, name, own[own["target"] == name]) for kind, own in chosen.items() for name in names]
    groups += [(kind, MEAN, own) for kind, own in chosen.items()]
    return pd.DataFrame([_row(kind, name, own, seed) for kind, name, own in groups])


def paired(dropped: pd.DataFrame, kept: pd.DataFrame, patients: Patients) -> pd.DataFrame:
    """Test cases and targets with a Dice in both, as `without` and `with`, and the patient; raises as `effect_rows`."""
    sides = [table[table["part"] == "test"].set_index(SCORED) for table in (dropped, kept)]
    if set(sides[0].index) != set(sides[1].index):
        raise InputError("--dropped and --kept", "are not of the same test cases", "run `leakage_effect` again")
    both = sides[0].assign(**{"without": sides[0]["dice"], "with": sides[1]["dice"]}).reset_index()
    both = both.dropna(subset=["without", "with"])
    if both.empty:
        raise InputError("--dropped and --kept", "hold no Dice of a test case", "give the study a source of role test")
    return patients.named(both)


def _row(kind: str, name: str, pairs: pd.DataFrame, seed: int) -> dict[str, object]:
    """n patients, and the means over targets of their means; the interval is of patients drawn with all targets."""
    without, leaky = (patient_table(pairs, side, pooled=True) for side in ("without", "with"))
    generator = numpy_generator(seed, "bootstrap", "leakage", kind, name)
    difference, _ = averages(leaky - without, generator)
    return {
        "patients": kind,
        "target": name,
        "n": difference.n,
        "dice_without": mean_of_column_means(without),
        "dice_with": mean_of_column_means(leaky),
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
    }


def printed_table(rows: pd.DataFrame, system: str, cohort: str) -> tables.Printed:
    """A row per target, the leaked patients' three columns before the others'."""
    targets = list(dict.fromkeys(rows["target"]))
    texts = pd.DataFrame({"Target": targets})
    for patients in (LEAKED, OTHERS):
        own = rows[rows["patients"] == patients].set_index("target").reindex(targets)
        texts[f"{patients}: without"] = [tables.percent(value, 1) for value in own["dice_without"]]
        texts[f"{patients}: with"] = [tables.percent(value, 1) for value in own["dice_with"]]
        texts[f"{patients}: difference (n)"] = [_difference(row) for row in own.itertuples()]
    caption = f"Dice (%) of {system} on the test patients without and with leakage, measured here: {cohort}."
    return tables.Printed(texts, tables.unmarked(texts), caption, NOTES, "tab:leakage")


def _difference(row) -> str:
    if not row.n:
        return tables.NOTHING
    interval = "" if pd.isna(row.low) else f" [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
    return f"{100 * row.difference:+.1f}{interval} ({row.n})"


@one_line_errors
def main() -> None:
    """Write the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dropped", type=Path, required=True, help="scores of the system trained without leakage")
    parser.add_argument("--kept", type=Path, required=True, help="scores of the system trained with leakage")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv, which tells the patients")
    parser.add_argument("--system", required=True, help="the system that was trained twice")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    tables.add_outputs(parser)
    arguments = parser.parse_args()
    system = system_of(arguments.system)
    sides = [of_system(read_cases(path), system) for path in (arguments.dropped, arguments.kept)]
    rows = effect_rows(*sides, read_patients(arguments.splits), arguments.study_seed)
    tables.write_outputs(arguments, rows, printed_table(rows, system.label, arguments.cohort))


if __name__ == "__main__":
    main()
