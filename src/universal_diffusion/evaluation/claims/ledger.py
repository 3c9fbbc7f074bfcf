"""The ledger: every claim of the paper with what was measured, a verdict, and the rows that the value came from."""

import pandas as pd

from universal_diffusion.evaluation.claims.evidence import Evidence
from universal_diffusion.evaluation.claims.measured import ROW_COLUMNS, Measured
from universal_diffusion.evaluation.claims.paper_claims import CLAIMS
from universal_diffusion.evaluation.claims.verdicts import verdict
from universal_diffusion.evaluation.multiplicity import holm

MIRRORED = {"no_pretraining": "clip_over_learnt"}  # one test, asked from either side, counts once


def measure_all(evidence: Evidence) -> dict[str, Measured]:
    """What the study measured for each claim, by key."""
    return {claim.key: claim.measure(evidence) for claim in CLAIMS}


def ledger(found: dict[str, Measured]) -> pd.DataFrame:
    """One row per measured claim, in the paper's order; `p_holm` is corrected for all tests of the ledger (Holm).

    Columns: claim, section, quote, again, test, claimed, measured, low, high, unit, at, n, p_value, p_holm, verdict,
    reason, computed_from, n_rows.
    """
    tests = {MIRRORED.get(key, key): measured.p_value for key, measured in found.items()}
    corrected = dict(zip(tests, holm(list(tests.values())), strict=True))
    rows = []
    for claim in (known for known in CLAIMS if known.key in found):
        measured = found[claim.key]
        p_holm = corrected[MIRRORED.get(claim.key, claim.key)]
        decided, reason = verdict(measured, claim.claimed, p_holm)
        rows.append(
            {
                "claim": claim.key,
                "section": claim.section,
                "quote": claim.quote,
                "again": "; ".join(f"{section}: “{quote}”" for section, quote in claim.again),
                "test": claim.test,
                "claimed": claim.claimed,
                "measured": measured.value,
                "low": measured.low,
                "high": measured.high,
                "unit": measured.unit if measured.value == measured.value else "",
                "at": measured.at,
                "n": measured.n,
                "p_value": measured.p_value,
                "p_holm": p_holm,
                "verdict": decided,
                "reason": reason,
                "computed_from": computed_from(measured.rows),
                "n_rows": len(measured.rows),
            }
        )
    return pd.DataFrame(rows).astype({"n": "Int64"})


def ledger_rows(found: dict[str, Measured]) -> pd.DataFrame:
    """All rows that values were computed from: claim, then `ROW_COLUMNS`, each row once per claim."""
    tables = [measured.rows.assign(claim=key) for key, measured in found.items()]
    together = pd.concat(tables, ignore_index=True)[["claim", *ROW_COLUMNS]]
    return together.drop_duplicates().reset_index(drop=True)


def computed_from(rows: pd.DataFrame) -> str:
    """The selection in words: tables, columns, systems and how many rows of each."""
    told = []
    for (table, column), chosen in rows.groupby(["table", "column"], sort=False):
        systems = (chosen["variant"].where(chosen["variant"] != "", chosen["system"])).unique()
        whose = f" of {', '.join(system for system in systems if system)}" if any(systems) else ""
        number = f"{len(chosen)} row{'s' if len(chosen) > 1 else ''}"
        told.append(f"{table}: {column}{whose} ({number})")
    return "; ".join(told)
