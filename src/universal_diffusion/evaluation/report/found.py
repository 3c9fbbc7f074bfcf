"""What the study found, in sentences made from its tables."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.patients import read_patients
from universal_diffusion.evaluation.scoring.cases import of_system, read_cases
from universal_diffusion.systems import system_of

OURS = "mask_clip"
VERDICTS = ("supported", "not supported", "not testable on this cohort")


def rows(path: Path) -> pd.DataFrame:
    """A table of the study. Raises InputError when it is missing or none."""
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({error})", "run the rule that makes it") from None


def sentences(results: Path, cohort: str) -> Iterator[str]:
    """The cohort, how good, the best and the worst, the claims, and how far it can be believed."""
    cases, patients = read_cases(results / "scores/cases.csv"), read_patients(results / "splits.csv")
    named = patients.named(cases)
    counts = {part: named.loc[named["part"] == part, "patient"].nunique() for part in ("validation", "test")}
    yield (
        f"Everything here was measured on {cohort}: {counts['validation']} validation and {counts['test']} test "
        f"patients; {cases['target'].nunique()} of the 29 targets are annotated among them."
    )
    yield (
        "Names: Noise or Mask is what the network predicts in each step, learnt or CLIP how it is told the target; "
        f"{system_of(OURS).label} is the paper's model. It is compared with SegResNet, an ordinary network, and "
        "Prior mask, the mean of the training masks."
    )
    yield from _test_set(rows(results / "tables/table3.csv"))
    yield from _targets(rows(results / "tables/targets.csv"))
    yield _verdicts(rows(results / "claims.csv"))
    yield _silence(of_system(cases, system_of(OURS)))


def _test_set(table: pd.DataFrame) -> Iterator[str]:
    measured = table[(table["origin"] == "measured here") & (table["column"] == "average")].dropna(subset=["value"])
    if measured.empty:
        return
    ordered = measured.sort_values("value", ascending=False, kind="stable")
    told = "; ".join(f"{row.label} {100 * row.value:.1f} %" for row in ordered.itertuples())
    yield f"Mean Dice over the organs of Table 3 on its {int(ordered['n'].max())} test patients: {told}."


def _targets(table: pd.DataFrame) -> Iterator[str]:
    ours = table[(table["system"] == OURS) & table["dice"].notna()].sort_values("dice", kind="stable")
    if ours.empty:
        return
    best, low = ours.iloc[-1], ours[ours["dice"] < 0.1]
    yield (
        f"Of {len(ours)} targets with a score, {system_of(OURS).label} does best on the {best['target']} "
        f"({100 * best['dice']:.1f} %, n = {int(best['n'])}) and stays below 10 % on {len(low)}"
        + (f": {', '.join(low['target'])}." if len(low) else ".")
    )


def _verdicts(claims: pd.DataFrame) -> str:
    counts = claims["verdict"].value_counts()
    told = ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in VERDICTS)
    return f"Of {len(claims)} statements of the paper that a number could settle: {told}."


def _silence(ours: pd.DataFrame) -> str:
    counts = ours["outcome"].value_counts()
    absent, missed = counts.get("false_positive", 0) + counts.get("both_empty", 0), counts.get("missed", 0)
    return (
        f"{system_of(OURS).label} left {missed} of {len(ours) - absent} present targets empty, and drew something for "
        f"{counts.get('false_positive', 0)} of {absent} that are absent."
    )


def limits(results: Path) -> list[tuple[str, int]]:
    """Why claims cannot be settled on this cohort, and how many for each reason, the most frequent first."""
    claims = rows(results / "claims.csv")
    reasons = claims.loc[claims["verdict"] == VERDICTS[2], "reason"].value_counts()
    return sorted(
        ((str(reason), int(count)) for reason, count in reasons.items()), key=lambda pair: (-pair[1], pair[0])
    )


def case_list(results: Path) -> pd.DataFrame:
    """Validation and test cases of our variant, worst first: source, case, part, dice, targets, worst, lowest."""
    ours = of_system(read_cases(results / "scores/cases.csv"), system_of(OURS))
    scored = ours.dropna(subset=["dice"]).sort_values(["dice", "target"], kind="stable")
    listed = scored.groupby(["source", "case", "part"], as_index=False).agg(
        dice=("dice", "mean"), targets=("dice", "size"), worst=("target", "first"), lowest=("dice", "first")
    )
    return listed.sort_values(["dice", "source", "case"], kind="stable")
