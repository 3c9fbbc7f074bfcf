"""Step: every one of the 29 targets, each system, the low figures included.

    python -m universal_diffusion.evaluation.beyond.targets_table --cases F [--source NAME] --cohort TEXT --study-seed N
        --output-csv F --output-md F

Dice means carry their n; a target without any says why. With a source, only its cases count.
"""

import argparse
from pathlib import Path

import pandas as pd

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.scoring.cases import of_system, read_cases
from universal_diffusion.evaluation.statistics import summarise
from universal_diffusion.files import write_text
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.systems import SYSTEMS, System, system_of
from universal_diffusion.targets import Target, all_targets

MEANS = ("dice_harmonised", "surface_dice", "hd95_mm", "ece", "error_auroc")
OUTCOMES = ("scored", "missed", "false_positive", "both_empty")
NOTES = (
    "Mean Dice in per cent over validation and test cases, their number in brackets; 0 for a prediction where the "
    "target is absent, no Dice where target and prediction are both empty.",
    "False alarms: of the cases annotated for the target and without it, those in which {label} still predicts some.",
)
SHOWN = system_of("mask_clip")  # the paper's model, whose false alarms and gaps are printed


def target_rows(cases: pd.DataFrame, study_seed: int) -> pd.DataFrame:
    """One row per target and system: n, mean Dice with its interval, the other means, counts of outcomes, a reason.

    `false_alarm_rate` is false positives / (false positives + both empty): one minus the specificity per case.
    """
    return pd.DataFrame([_row(known, system, cases, study_seed) for known in all_targets() for system in SYSTEMS])


def _row(known: Target, system: System, cases: pd.DataFrame, study_seed: int) -> dict:
    mine = of_system(cases, system)
    mine = mine[mine["target"] == known.name]
    dice = summarise(mine["dice"].to_numpy(), numpy_generator(study_seed, "bootstrap", "target", known.name))
    counts = {f"n_{kind}": int((mine["outcome"] == kind).sum()) for kind in OUTCOMES}
    absent = counts["n_false_positive"] + counts["n_both_empty"]
    return {
        "target": known.name,
        "kind": known.kind,
        "system": system.key,
        "n": dice.n,
        "dice": dice.value,
        "low": dice.low,
        "high": dice.high,
        **{measure: mine[measure].mean() for measure in MEANS},
        **counts,
        "false_alarm_rate": counts["n_false_positive"] / absent if absent else float("nan"),
        "reason": _reason(known, system, mine, cases),
    }


def _reason(known: Target, system: System, mine: pd.DataFrame, cases: pd.DataFrame) -> str:
    """Why there is no mean Dice, or nothing."""
    if not (cases["target"] == known.name).any():
        return "annotated in no validation or test case"
    if mine.empty:
        return f"{system.label} was not evaluated"
    if mine["dice"].isna().all():
        return f"absent from all {len(mine)} annotated cases, and rightly not predicted"
    return ""


def printed_table(rows: pd.DataFrame, cohort: str, source: str | None = None) -> tables.Printed:
    """A row per target, a column per system, then the false alarms of `SHOWN` and why its Dice is missing."""
    texts = pd.DataFrame({"Target": [known.name for known in all_targets()]})
    values = pd.DataFrame(index=texts.index)
    for system in SYSTEMS:
        mine = rows[rows["system"] == system.key]
        texts[system.label] = [_text(row) for row in mine.itertuples()]
        values[system.label] = mine["dice"].to_numpy()
    shown = rows[rows["system"] == SHOWN.key]
    texts["False alarms"] = [_false_alarms(row) for row in shown.itertuples()]
    texts["Why no Dice"] = shown["reason"].to_numpy()
    marks = tables.rank(values.T).T.reindex(columns=texts.columns, fill_value="")
    where = f"in {source} " if source else ""
    caption = f"All 29 targets {where}(Dice %), measured here: {cohort}."
    notes = tuple(note.format(label=SHOWN.label) for note in NOTES)
    return tables.Printed(texts, marks, caption, notes, "tab:targets")


def _text(row) -> str:
    return tables.percent(row.dice, 1) + (f" ({row.n})" if row.n else "")


def _false_alarms(row) -> str:
    absent = row.n_false_positive + row.n_both_empty
    return f"{row.n_false_positive} of {absent}" if absent else tables.NOTHING


@one_line_errors
def main() -> None:
    """Write the table of all targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv, from `collect`")
    parser.add_argument("--source", help="only the cases of this source (all)")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    tables.add_outputs(parser, ("csv", "md"))
    arguments = parser.parse_args()
    cases = read_cases(arguments.cases)
    if arguments.source:
        cases = cases[cases["source"] == arguments.source]
    rows = target_rows(cases, arguments.study_seed)
    tables.write_csv(arguments.output_csv, rows)
    write_text(arguments.output_md, tables.markdown(printed_table(rows, arguments.cohort, arguments.source)))


if __name__ == "__main__":
    main()
