"""A finding: one thing in a dataset that a person should know of or look at. Their kinds stand in `kinds.csv`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from universal_diffusion.datasets.base import natural_key
from universal_diffusion.preparation.quality.reference import rows
from universal_diffusion.targets import all_targets

SEVERITIES = ("error", "warning", "note")  # unfit for use; look at it; good to know


@dataclass(frozen=True)
class Kind:
    """A kind of finding: how grave it is and what to do about it."""

    severity: str
    action: str


@dataclass(frozen=True)
class Finding:
    """One row of `findings.csv`; `case` and `target` are "" where a finding is about more than one of them."""

    source: str
    case: str
    target: str
    kind: str
    severity: str
    value: str
    expected: str
    action: str


@cache
def kinds() -> Mapping[str, Kind]:
    """All kinds by name, the gravest first."""
    return {row["kind"]: Kind(row["severity"], row["action"]) for row in rows("kinds.csv")}


def finding(source: str, case: str, target: str, kind: str, value: str, expected: str) -> Finding:
    """A finding of one of the `kinds`."""
    return Finding(source, case, target, kind, kinds()[kind].severity, value, expected, kinds()[kind].action)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """By source and case, then the gravest first."""
    ids = {known.name: known.id for known in all_targets()}
    ranks = list(kinds())
    return sorted(
        findings, key=lambda f: (f.source, natural_key(f.case), ranks.index(f.kind), ids.get(f.target, 0), f.value)
    )
