"""Step: the claims ledger - each claim of the paper that a number can settle, and what this study measured.

    python -m universal_diffusion.evaluation.claims.ledger --cases F --splits F --cost F --published F
        --logs models/VARIANT/log.csv... --sources JSON --weights JSON --study-seed N --cohort TEXT
        --output-csv F --output-md F

A verdict holds for the cohort it was measured on. "supported" needs an interval wholly on the claim's side of no
effect and not wholly below the size that is claimed.
"""

import argparse
import json
import math
from pathlib import Path

import pandas as pd

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.claims.evidence import Evidence, Measured
from universal_diffusion.evaluation.claims.paper_claims import CLAIMS
from universal_diffusion.evaluation.logs import read_log
from universal_diffusion.evaluation.paper.published import read_published
from universal_diffusion.evaluation.scoring.cases import read_cases
from universal_diffusion.files import write_text
from universal_diffusion.preparation.splits import read_splits
from universal_diffusion.settings import Source, Weights, read, read_json

SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE = "supported", "not supported", "not testable on this cohort"
FEWEST_CASES = 6  # below, Wilcoxon's two-sided test cannot reach 0.05


def verdict(measured: Measured, claimed: float | None) -> tuple[str, str]:
    """The verdict and its reason. Never "supported" when the interval holds the value that says nothing."""
    if measured.obstacle:
        return NOT_TESTABLE, measured.obstacle
    if measured.n is not None and measured.n < FEWEST_CASES:
        return NOT_TESTABLE, f"{measured.n} cases; fewer than {FEWEST_CASES} cannot settle it"
    if math.isnan(measured.low):
        return NOT_TESTABLE, "no interval: a source has a single case"
    if not measured.low > measured.null:
        spans = measured.high >= measured.null
        return NOT_SUPPORTED, f"the interval holds {measured.null:g}" if spans else "the opposite was measured"
    if claimed is not None and measured.high < claimed:
        return NOT_SUPPORTED, f"in the claimed direction, but the whole interval lies below {claimed:g}"
    return (
        SUPPORTED,
        "the whole interval lies on the claimed side" if measured.n is not None else "counted, not sampled",
    )


def ledger(evidence: Evidence) -> pd.DataFrame:
    """One row per claim: claim, section, quote, test, claimed, measured, low, high, n, p_value, verdict, reason."""
    rows = []
    for claim in CLAIMS:
        measured = claim.measure(evidence)
        decided, reason = verdict(measured, claim.claimed)
        rows.append(
            {
                "claim": claim.key,
                "section": claim.section,
                "quote": claim.quote,
                "test": claim.test,
                "claimed": claim.claimed,
                "measured": measured.value,
                "low": measured.low,
                "high": measured.high,
                "n": measured.n,
                "p_value": measured.p_value,
                "verdict": decided,
                "reason": reason,
            }
        )
    return pd.DataFrame(rows).astype({"n": "Int64"})


def printed_ledger(rows: pd.DataFrame, cohort: str) -> tables.Printed:
    """The ledger as a table to read."""
    texts = pd.DataFrame(
        {
            "Claim": [f"“{row.quote}” ({row.section})" for row in rows.itertuples()],
            "Test": rows["test"],
            "Measured": [_measured_text(row) for row in rows.itertuples()],
            "Verdict": rows["verdict"],
            "Reason": rows["reason"],
        }
    )
    caption = f"The paper's claims, tested on: {cohort}. A verdict holds for this cohort only."
    notes = (
        "Dice in points; 95 % bootstrap intervals and Wilcoxon's signed-rank test over cases; over patients where the "
        "test speaks of held-out patients, who are those of validation and test. Each variant was trained once: an "
        "interval says how far patients differ, not how far another training would.",
        "Not testable: too few cases, a comparison that needs real scans or pretrained weights, an experiment not run.",
    )
    return tables.Printed(texts, tables.unmarked(texts), caption, notes, "tab:claims")


def _measured_text(row) -> str:
    if pd.isna(row.measured):
        return tables.NOTHING
    if pd.isna(row.n):
        return f"{row.measured:.1f} times"
    interval = "" if pd.isna(row.low) else f" [{row.low:+.1f}, {row.high:+.1f}]"
    p_value = "" if pd.isna(row.p_value) else f", p={row.p_value:.2g}"
    return f"{row.measured:+.1f}{interval}, n={row.n}{p_value}"


@one_line_errors
def main() -> None:
    """Write the ledger."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in ("--cases", "--splits", "--cost", "--published"):
        parser.add_argument(flag, type=Path, required=True)
    parser.add_argument("--logs", type=Path, nargs="+", required=True, help="of the variants' trainings")
    parser.add_argument("--sources", required=True, help="JSON of the section `sources`")
    parser.add_argument("--weights", required=True, help="JSON of the section `weights`")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    tables.add_outputs(parser, ("csv", "md"))
    arguments = parser.parse_args()
    evidence = Evidence(
        read_cases(arguments.cases),
        pd.read_csv(arguments.cost),
        {table: read_published(arguments.published, table) for table in (2, 3)},
        {
            name: read(Source, content, f"configuration.sources.{name}")
            for name, content in json.loads(arguments.sources).items()
        },
        read_json(Weights, arguments.weights, "configuration.weights"),
        {(row.source, row.case): row.group for row in read_splits(arguments.splits)},
        {path.parent.name: read_log(path) for path in arguments.logs},
        arguments.study_seed,
    )
    rows = ledger(evidence)
    tables.write_csv(arguments.output_csv, rows)
    write_text(arguments.output_md, tables.markdown(printed_ledger(rows, arguments.cohort)))


if __name__ == "__main__":
    main()
