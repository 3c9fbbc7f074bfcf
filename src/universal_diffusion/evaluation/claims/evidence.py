"""What a study can say about a claim: selections of its score table, and the tables beside it.

Patients are the unit: copies of a scan, and several scans, of one patient count once. Pairs are cases whose truth holds
the target: there every system has a Dice, so that no pair hinges on how often a system is silent where nothing is.
Patients of whom a scan was trained on are left out. All Dice are in points (per cent).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from universal_diffusion.evaluation.claims.measured import FEWEST, Measured, score_rows
from universal_diffusion.evaluation.paper.published import printed
from universal_diffusion.evaluation.scoring.cases import of_system
from universal_diffusion.evaluation.statistics import (
    Summary,
    bootstrap,
    mean_of_column_means,
    paired_p_value,
    patient_table,
    summarise,
)
from universal_diffusion.preparation.splits import EVALUATED, SplitRow
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.settings import Source, Weights
from universal_diffusion.systems import system_of

PER_CENT = 100
TEST_SOURCE = "ircadb"


@dataclass(frozen=True)
class Selected:
    """Values in points by (stratum, patient) and target, and the score rows that they were made from."""

    table: pd.DataFrame
    rows: pd.DataFrame

    def __sub__(self, other: "Selected | float | np.ndarray") -> "Selected":
        """Paired differences; of a number per column, none."""
        if not isinstance(other, Selected):
            return replace(self, table=self.table - other)
        return Selected(self.table - other.table, pd.concat([self.rows, other.rows], ignore_index=True))

    def at(self, column: str) -> "Selected":
        """One column alone: target, or target@source."""
        return Selected(self.table[[column]], self.rows[self.rows["target"] == column.split("@")[0]])


@dataclass(frozen=True)
class Evidence:
    """All that the ledger measures on.

    Attributes:
        scores: `cases.csv` with the column `patient`, checked (`inputs.checked_scores`).
        cost, networks, sampling, table1: the tables of that name.
        ceiling: case rows that the mask auto-encoder's training ends with.
        inventory: every case with what is annotated in it.
        published: printed figures of Tables 1, 2 and 3 by table number (`published.read_published`).
        sources: the study's sources, to know which scans are synthetic.
        weights: to know whether CLIP was pretrained.
        splits: who each case shows and what it is for.
        logs: of the variants' trainings (`logs.read_log`), by variant.
        study_seed: of the bootstrap.
    """

    scores: pd.DataFrame
    cost: pd.DataFrame
    networks: pd.DataFrame
    sampling: pd.DataFrame
    table1: pd.DataFrame
    ceiling: pd.DataFrame
    inventory: pd.DataFrame
    published: Mapping[int, pd.DataFrame]
    sources: Mapping[str, Source]
    weights: Weights
    splits: Sequence[SplitRow]
    logs: Mapping[str, pd.DataFrame]
    study_seed: int

    def select(
        self,
        key: str,
        columns: Sequence[str] | None = None,
        parts: Sequence[str] = EVALUATED,
        measure: str = "dice",
    ) -> Selected:
        """One system's `measure` where the truth holds the target and no scan of the patient was trained on.

        Args:
            columns: target@source, or None for all targets, whatever their source.
        """
        chosen = of_system(self.scores, system_of(key))
        trained = {row.group for row in self.splits if row.part == "train"}
        held = (chosen["truth_ml"] > 0) & chosen["part"].isin(parts) & chosen[measure].notna()
        chosen = chosen[held & ~chosen["patient"].isin(trained)]
        if columns is not None:
            chosen = chosen[(chosen["target"] + "@" + chosen["source"]).isin(columns)]
        table = PER_CENT * patient_table(chosen, measure, pooled=columns is None)
        return Selected(table if columns is None else table.reindex(columns=columns), score_rows(chosen, measure))

    def msd_columns(self, kind: str = "") -> list[str]:
        """Columns of Table 2: all, or those of "tumour" or "organ"."""
        columns = self.published[2]["column_key"].unique()
        return [c for c in columns if not kind or ("tumor@" in c) == (kind == "tumour")]

    def organ_columns(self) -> list[str]:
        """Columns of Table 3, as target@ircadb."""
        return [f"{key}@{TEST_SOURCE}" for key in printed(self.published[3]).columns if key != "average"]

    def generator(self) -> np.random.Generator:
        """Of the bootstrap, the same for every claim."""
        return numpy_generator(self.study_seed, "bootstrap", "claims")

    def summary(self, table: pd.DataFrame, statistic: Callable[[np.ndarray], float] = mean_of_column_means) -> Summary:
        """`statistic` of a patient table with its interval."""
        return bootstrap(table, statistic, self.generator())

    def synthetic(self, *sources: str) -> str:
        """An obstacle if any of the sources is absent from the study or made by the phantom, else nothing."""
        absent = [name for name in sources if name not in self.sources]
        if absent:
            return f"{absent[0]} is not part of this study"
        made = [name for name in sources if self.sources[name].origin == "phantom"]
        return f"the claim is about real scans; {made[0]} is synthetic here" if made else ""

    def not_of_the_paper(self) -> str:
        """An obstacle if a dataset of Table 1 is absent from the study or synthetic in it, else nothing."""
        msd = {column.split("@")[1] for column in self.msd_columns()}
        others = set(self.published[1]["row_key"]) - {"msd"}
        return self.synthetic(*sorted(msd | others))

    def untrained_clip(self) -> str:
        """An obstacle if CLIP's text encoder was not pretrained."""
        return "CLIP has untrained weights in this study" if self.weights.origin == "untrained" else ""


def mean_gain(
    evidence: Evidence,
    gain: Selected,
    obstacle: str = "",
    statistic: Callable[[np.ndarray], float] = mean_of_column_means,
) -> Measured:
    """Mean over targets of the mean difference; the p-value is Wilcoxon's over patients (mean of their targets).

    Another `statistic` has no p-value of its own here.
    """
    missing = [column for column in gain.table if gain.table[column].isna().all()]
    if missing:
        obstacle = obstacle or f"no validation or test case holds {missing[0].replace('@', ' of ')}"
    tested = paired_p_value(gain.table.mean(axis=1).to_numpy()) if statistic is mean_of_column_means else float("nan")
    summary = evidence.summary(gain.table, statistic)
    return Measured(**vars(summary), p_value=tested, obstacle=obstacle, rows=gain.rows)


def worst_target(evidence: Evidence, gain: Selected, obstacle: str = "") -> Measured:
    """Where a gain that is claimed of all targets is least sure: an intersection-union test, so not corrected within;
    where it is against the claim, it is (Bonferroni).

    The target with the lowest lower bound among those that enough patients hold. If that is above zero, a target that
    too few patients hold keeps the claim open.
    """
    found = {column: summarise(gain.table[column].to_numpy(), evidence.generator()) for column in gain.table}
    settled = {name: summary for name, summary in found.items() if summary.n >= FEWEST and summary.low == summary.low}
    if not found:
        return Measured(obstacle=obstacle)
    worst = min(settled or found, key=lambda name: (settled[name].low if settled else found[name].value, name))
    open_targets = len(found) - len(settled)
    if open_targets and not (settled and settled[worst].low <= 0):
        obstacle = obstacle or f"{open_targets} of {len(found)} targets are held by fewer than {FEWEST} patients"
    chosen = gain.at(worst)
    p_value = paired_p_value(chosen.table.to_numpy().ravel())
    if found[worst].value < 0:  # the worst of so many is below zero by chance more often than one is
        p_value = min(1.0, p_value * len(settled or found))
    at = worst.split("@")[0]
    return Measured(**vars(found[worst]), p_value=p_value, at=at, obstacle=obstacle, rows=chosen.rows)


def not_run(reason: str) -> Callable[[Evidence], Measured]:
    """A measurement that this study does not make, and why."""
    return lambda evidence: Measured(obstacle=reason)
