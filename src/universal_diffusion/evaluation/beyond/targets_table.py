"""Step: every one of the 29 targets, each system, the low figures included.

    python -m universal_diffusion.evaluation.beyond.targets_table --cases F --splits F [--source NAME] --cohort TEXT
        --study-seed N --output-csv F --output-md F --output-tex F

Means carry their n; a target without any says why. With a source, only its cases count.
"""

import argparse
from pathlib import Path

import pandas as pd

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.patients import read_patients
from universal_diffusion.evaluation.scoring.cases import HARMONISED, UNCERTAINTY, of_system, read_cases
from universal_diffusion.evaluation.statistics import FEWEST, patient_table, summarise
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.systems import SYSTEMS, System, system_of
from universal_diffusion.targets import Target, all_targets

MEANS = ("surface_dice", "hd95_mm", *HARMONISED, "dice_clip_universal", "volume_error", *UNCERTAINTY)
OUTCOMES = ("scored", "missed", "false_positive", "both_empty")
NOTES = (
    "Mean Dice in per cent over validation and test patients on the CT's own grid, [95 % bootstrap interval over "
    f"patients, from {FEWEST} of them on], their number in brackets; patients of whom a scan was trained on are left "
    "out; 0 for a prediction where the target is absent, no Dice where target and "
    "prediction are both empty. The scans of one patient, copies included, are averaged first.",
    "Best of a target in bold, second-best underlined; marks go by the mean alone. Each system was trained once.",
)
DETAILS = (
    "Dice and normalised surface Dice (NSD) in per cent and the 95th percentile of the Hausdorff distance (HD95) in "
    "mm, each on the CT's own grid and on the harmonised one: means over patients. HD95 only where both masks hold "
    "something. n: patients with a Dice. NSD has FLARE's tolerances, but counts surface voxels as MONAI does, "
    "not their area: not comparable with FLARE's.",
    "Cases: scored (both masks hold something), missed (the target is there, nothing predicted), false (absent, yet "
    "predicted, of all annotated cases without it; with the mean volume of those predictions), both empty.",
)
SHOWN = system_of("mask_clip")  # the paper's model, whose other measures and gaps are printed


def target_rows(cases: pd.DataFrame, study_seed: int) -> pd.DataFrame:
    """One row per target and system: n, mean Dice with its interval, the other means, counts of outcomes, a reason.

    `false_alarm_rate` is false positives / (false positives + both empty): one minus the specificity per case;
    `false_positive_ml` is the mean volume of the false positives.

    Args:
        cases: score rows with their patients (`patients.Patients.named`).
    """
    return pd.DataFrame([_row(known, system, cases, study_seed) for known in all_targets() for system in SYSTEMS])


def _row(known: Target, system: System, cases: pd.DataFrame, study_seed: int) -> dict:
    mine = of_system(cases, system)
    mine = mine[mine["target"] == known.name]
    by_patient = patient_table(mine, pooled=True)
    dice = summarise(by_patient.to_numpy().ravel(), numpy_generator(study_seed, "bootstrap", "target", known.name))
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
        **{measure: mine.groupby("patient")[measure].mean().mean() for measure in MEANS},
        **counts,
        "false_alarm_rate": counts["n_false_positive"] / absent if absent else float("nan"),
        "false_positive_ml": mine.loc[mine["outcome"] == "false_positive", "false_positive_ml"].mean(),
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


def printed_tables(rows: pd.DataFrame, cohort: str, source: str | None = None) -> list[tables.Printed]:
    """Dice of every system, a row per target; then the other measures of `SHOWN` and why a Dice is missing."""
    where = f"in {source} " if source else ""
    return [_all_systems(rows, cohort, where), _one_system(rows[rows["system"] == SHOWN.key], cohort, where)]


def _all_systems(rows: pd.DataFrame, cohort: str, where: str) -> tables.Printed:
    texts = pd.DataFrame({"Target": [known.name for known in all_targets()]})
    values = pd.DataFrame(index=texts.index)
    for system in SYSTEMS:
        mine = rows[rows["system"] == system.key]
        texts[system.label] = [_dice(row) for row in mine.itertuples()]
        values[system.label] = mine["dice"].to_numpy()
    texts["Why no Dice"] = rows.loc[rows["system"] == SHOWN.key, "reason"].to_numpy()
    marks = tables.rank(values.T).T.reindex(columns=texts.columns, fill_value="")
    caption = f"All 29 targets {where}(Dice %), measured here: {cohort}."
    return tables.Printed(texts, marks, caption, NOTES, "tab:targets")


def _one_system(rows: pd.DataFrame, cohort: str, where: str) -> tables.Printed:
    shares = {"Dice": "dice", "NSD": "surface_dice"}
    texts = pd.DataFrame({"Target": rows["target"].to_numpy(), "n": rows["n"].astype(str).to_numpy()})
    for ending, grid in (("", ""), ("_harmonised", ", harmonised")):
        for heading, measure in shares.items():
            texts[heading + grid] = [tables.percent(value, 1) for value in rows[measure + ending]]
        texts[f"HD95{grid}"] = [_millimetres(value) for value in rows[f"hd95{ending}_mm"]]
    texts["Scored"] = rows["n_scored"].astype(str).to_numpy()
    texts["Missed"] = rows["n_missed"].astype(str).to_numpy()
    texts["False"] = [_false_alarms(row) for row in rows.itertuples()]
    texts["Both empty"] = rows["n_both_empty"].astype(str).to_numpy()
    caption = f"All 29 targets {where}as {SHOWN.label} segments them, measured here: {cohort}."
    return tables.Printed(texts, tables.unmarked(texts), caption, DETAILS, "tab:targets-details")


def _dice(row) -> str:
    parts = tables.percent(row.dice, 1), tables.interval(row.low, row.high, 1), f"({row.n})"
    return " ".join(part for part in parts if part) if row.n else tables.NOTHING


def _millimetres(value: float) -> str:
    return tables.NOTHING if pd.isna(value) else f"{value:.1f}"


def _false_alarms(row) -> str:
    absent = row.n_false_positive + row.n_both_empty
    volume = f", {row.false_positive_ml:.1f} ml" if row.n_false_positive else ""
    return f"{row.n_false_positive} of {absent}{volume}" if absent else tables.NOTHING


@one_line_errors
def main() -> None:
    """Write the table of all targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv, from `collect`")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv, which tells the patients")
    parser.add_argument("--source", help="only the cases of this source (all)")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    tables.add_outputs(parser)
    arguments = parser.parse_args()
    cases = read_patients(arguments.splits).untrained(read_cases(arguments.cases))
    if arguments.source:
        cases = cases[cases["source"] == arguments.source]
    rows = target_rows(cases, arguments.study_seed)
    tables.write_outputs(arguments, rows, *printed_tables(rows, arguments.cohort, arguments.source))


if __name__ == "__main__":
    main()
