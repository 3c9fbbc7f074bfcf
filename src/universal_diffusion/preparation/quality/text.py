"""The quality report of one dataset as a page of Markdown."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from universal_diffusion.datasets.catalogue import in_order
from universal_diffusion.preparation.quality.checks import rounded
from universal_diffusion.preparation.quality.findings import SEVERITIES, Finding
from universal_diffusion.preparation.quality.limits import limits
from universal_diffusion.preparation.quality.structures import (
    ANNOTATED,
    EMPTY,
    NO_TARGET,
    UNKNOWN,
    Structure,
    patients_by_target,
)

LISTED = 12  # cases of one kind of finding; all of them stand in findings.csv
TARGET_HEADINGS = [
    "target",
    "annotated in",
    "empty in",
    "cut in",
    "median ml",
    "smallest",
    "largest",
    "plausible",
    "HU",
]


@dataclass(frozen=True)
class Dataset:
    """What the page is written from.

    Attributes:
        counts: the dataset's row of Table 1.
        scans, targets: its rows of `measures.ScanMeasures` and of `checks.with_volumes`.
        findings: what was found in it.
        structures: the mask folders, for 3D-IRCADb.
        pictured: cases on the picture sheets.
        cohort: what the cases are.
    """

    counts: Mapping[str, object]
    scans: pd.DataFrame
    targets: pd.DataFrame
    findings: Sequence[Finding]
    structures: Sequence[Structure]
    pictured: int
    cohort: str


def page(dataset: Dataset) -> str:
    """The page."""
    title = f"# {dataset.counts['title']}\n\nQuality of the harmonised cases. Cohort: {dataset.cohort}.\n"
    parts = [title, _counts(dataset), _findings(dataset.findings), _targets(dataset.targets)]
    if dataset.structures:
        parts.append(_structures(dataset))
    return "\n".join(parts)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _counts(dataset: Dataset) -> str:
    counts = dataset.counts
    rows = [
        [what.capitalize(), *(counts[f"{prefix}{what}"] or "–" for prefix in ("paper_", "public_", ""))]
        for what in ("cases", "structures")
    ]
    name, cases = counts["dataset"], len(dataset.scans)
    lines = [
        "## Counts\n",
        table(["", "paper, Table 1", "public, labelled", "this study"], rows),
        f"Why they differ: {counts['reason'] or 'they do not'}.\n",
        f"Spacing, field of view, Hounsfield units and volumes: `{name}.png`. Pictures of {dataset.pictured} of the "
        f"{cases} cases, those with errors and warnings first: `sheets/{name}-1.png` and on.\n",
    ]
    return "\n".join(lines)


def _findings(findings: Sequence[Finding]) -> str:
    """One line a kind, the gravest first, with the cases."""
    groups = defaultdict(list)
    for hit in findings:
        groups[SEVERITIES.index(hit.severity), hit.kind, hit.action].append(hit)
    rows = [
        [SEVERITIES[severity], kind, len(hits), _named(hits), action]
        for (severity, kind, action), hits in sorted(groups.items(), key=lambda item: item[0])
    ]
    listed = table(["severity", "kind", "findings", "where (found; expected)", "what to do"], rows)
    return "\n".join(["## Findings\n", listed if rows else "None.\n", "Each of them is a row of `findings.csv`.\n"])


def _named(hits: Sequence[Finding]) -> str:
    """The cases of one kind of finding; what all have in common is said once."""
    expected = {hit.expected for hit in hits}
    texts = []
    for hit in hits[:LISTED]:
        place = " ".join(filter(None, [hit.case or hit.source, hit.target]))
        texts.append(f"{place} ({hit.value}{'' if len(expected) == 1 else f'; {hit.expected}'})")
    more = f", and {len(hits) - LISTED} more" if len(hits) > LISTED else ""
    return ", ".join(texts) + more + (f"; expected {expected.pop()}" if len(expected) == 1 else "")


def _targets(targets: pd.DataFrame) -> str:
    """One line a target; volumes are those of labels that are not empty, on the CT's own grid."""
    rows = []
    for name in in_order(targets["target"]):
        own = targets[targets["target"] == name]
        held = own[own["native_ml"] > 0]
        volumes = [_ml(held["native_ml"], statistic) for statistic in (pd.Series.median, pd.Series.min, pd.Series.max)]
        hu = "–" if held.empty else f"{held['median_hu'].median():.0f}"
        limit = limits()[name]
        plausible = f"{limit.low_ml:g} to {limit.high_ml:g}" if limit.low_ml > 0 else f"up to {limit.high_ml:g}"
        rows.append([name, len(own), len(own) - len(held), int(held["cut"].sum()), *volumes, plausible, hu])
    note = (
        "Empty is annotated and without a voxel: a true negative where that may be. Cut masks reach the edge of the "
        "scan, and are not held against the smallest plausible volume. HU is the median over the cases of the label's "
        "median, within the HU window.\n"
    )
    return "\n".join(["## Targets\n", table(TARGET_HEADINGS, rows), note])


def _ml(volumes: pd.Series, statistic: Callable[[pd.Series], float]) -> str:
    return "–" if volumes.empty else rounded(statistic(volumes))


def _structures(dataset: Dataset) -> str:
    """3D-IRCADb: n per organ, and what its folders are."""
    cases = list(dict.fromkeys(one.case for one in dataset.structures))
    held, empty = (patients_by_target(dataset.structures, state) for state in (ANNOTATED, EMPTY))
    rows = []
    for name in held:
        n = int((dataset.targets.loc[dataset.targets["target"] == name, "native_ml"] > 0).sum())
        without = len(cases) - len({*held[name], *empty[name]})
        rows.append([name, n, ", ".join(held[name]) or "–", ", ".join(empty[name]) or "–", without])
    others = defaultdict(set)
    for one in dataset.structures:
        if one.state in (NO_TARGET, UNKNOWN):
            others[one.reason or "UNKNOWN: not in the catalogue"].add(one.folder)
    lines = [
        "## What each patient is labelled for\n",
        table(["target", "n", "annotated in", "folder without a voxel", "patients without a folder"], rows),
        "A target without a folder is not annotated, which says nothing about whether the organ is there. "
        "Every folder is a row of `ircadb_structures.csv`.\n",
        "Folders that are no target:\n",
        table(["folders", "why"], [[", ".join(sorted(names)), why] for why, names in sorted(others.items())]),
    ]
    return "\n".join(lines)
