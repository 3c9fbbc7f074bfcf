"""The ledger to read: a table of verdicts, then one table per section of the paper."""

from collections.abc import Iterator

import pandas as pd

from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.claims.measured import FEWEST, POINTS, TIMES
from universal_diffusion.evaluation.claims.verdicts import NOT_SUPPORTED, NOT_TESTABLE, SUPPORTED

PAGE = 10  # claims that fit a page of LaTeX
NOTES = (
    "Dice in points (per cent); n: patients, copies of a scan being one patient; 95 % bootstrap intervals and "
    "Wilcoxon's signed-rank test over patients; the paper's figures, which come without patients, count "
    "as exact. p: corrected for all tests of the ledger (Holm), those that settle nothing included. Where nothing is "
    "sampled, as in a count, there is no interval.",
    "Supported: the whole interval on the claim's side of what says nothing, the corrected p below 0.05, and the "
    "interval not wholly below the size that is claimed; a wide interval excludes few sizes, so this is about the "
    "direction. Counts must be equal. The opposite was measured: the whole interval on the other side, and the "
    "corrected p below 0.05.",
    f"Not testable: fewer than {FEWEST} patients, a comparison that needs real scans or pretrained weights, an "
    "experiment not run; what was measured all the same is printed.",
    "Each variant was trained once: an interval says how far patients differ, not how far another training would.",
    "The rows that each value was computed from stand in claims_rows.csv.",
)


def printed_ledger(rows: pd.DataFrame, cohort: str) -> list[tables.Printed]:
    """How many claims got which verdict, then the claims, section by section. A verdict holds for the `cohort` only."""
    counts = rows["verdict"].value_counts().reindex([SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE], fill_value=0)
    texts = pd.DataFrame({"Verdict": counts.index, "Claims": counts.to_numpy().astype(str)})
    caption = f"The paper's claims, tested on: {cohort}. A verdict holds for this cohort only."
    overview = tables.Printed(texts, tables.unmarked(texts), caption, NOTES, "tab:claims")
    sections = rows.groupby("section", sort=False)
    return [overview, *(table for name, chosen in sections for table in _section(name, chosen, cohort))]


def _section(name: str, rows: pd.DataFrame, cohort: str) -> Iterator[tables.Printed]:
    for first in range(0, len(rows), PAGE):
        yield _page(name, rows.iloc[first : first + PAGE], cohort, first // PAGE)


def _page(name: str, rows: pd.DataFrame, cohort: str, page: int) -> tables.Printed:
    where = f"section {name}" if name[0].isdigit() else f"the {name}"
    texts = pd.DataFrame(
        {
            "Verdict": rows["verdict"].replace(NOT_TESTABLE, "not testable"),
            "Claim": [f"“{row.quote}”" + (f" Again in {row.again}" if row.again else "") for row in rows.itertuples()],
            "Measured": [measured_text(row) for row in rows.itertuples()],
            "Test": rows["test"],
            "Reason": rows["reason"],
        }
    )
    caption = f"Claims of {where}{', continued' if page else ''}, tested on: {cohort}."
    return tables.Printed(texts, tables.unmarked(texts), caption, (), f"tab:claims-{name}-{page + 1}")


def measured_text(row) -> str:
    """Value, interval, n and corrected p of one row of the ledger; a dash where nothing was measured."""
    if pd.isna(row.measured):
        return tables.NOTHING
    signed = row.unit == POINTS or row.unit.startswith("(")
    digits = "+.1f" if row.unit == POINTS else "+.2f" if signed else ".3g" if row.unit == TIMES else ".1f"
    sampled = not (pd.isna(row.low) or pd.isna(row.n))
    interval = f" [{row.low:{digits}}, {row.high:{digits}}]" if sampled else ""
    n = "" if pd.isna(row.n) else f", n={row.n}"
    p_value = "" if pd.isna(row.p_holm) else ", p<0.001" if row.p_holm < 0.001 else f", p={row.p_holm:.2g}"
    return f"{row.measured:{digits}}{interval} {row.unit}" + (f" at {row.at}" if row.at else "") + n + p_value
