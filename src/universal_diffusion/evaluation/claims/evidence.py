"""What a study can say about a claim: measurements of score tables, each with its interval, n and p-value.

Pairs are cases whose truth holds the target: there every system has a Dice, so that no pair hinges on how often a
system is silent where nothing is. All Dice are in points (per cent).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from universal_diffusion.evaluation.paper.published import printed
from universal_diffusion.evaluation.scoring.cases import of_system
from universal_diffusion.evaluation.statistics import (
    Summary,
    bootstrap,
    case_table,
    mean_of_column_means,
    paired_p_value,
)
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.settings import Source, Weights
from universal_diffusion.systems import system_of

POINTS = 100
TEST_SOURCE = "ircadb"


@dataclass(frozen=True)
class Measured:
    """One measurement. `null` is the value that says nothing; `obstacle` tells why it cannot settle the claim."""

    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    n: int | None = None
    p_value: float = float("nan")
    null: float = 0.0
    obstacle: str = ""


@dataclass(frozen=True)
class Evidence:
    """All that the ledger measures on.

    Attributes:
        cases: `cases.csv`.
        cost: the table of the step `cost`.
        published: printed figures of Tables 2 and 3 by table number (`published.read_published`).
        sources: the study's sources, to know which scans are synthetic.
        weights: to know whether CLIP was pretrained.
        patients: who each (source, case) shows; copies of a scan have one patient.
        logs: of the variants' trainings (`logs.read_log`), by variant.
        study_seed: of the bootstrap.
    """

    cases: pd.DataFrame
    cost: pd.DataFrame
    published: Mapping[int, pd.DataFrame]
    sources: Mapping[str, Source]
    weights: Weights
    patients: Mapping[tuple[str, str], str]
    logs: Mapping[str, pd.DataFrame]
    study_seed: int

    def table(self, key: str, part: str, columns: Sequence[str]) -> pd.DataFrame:
        """Dice in points where the truth holds the target: rows (source, case), `columns` target@source."""
        chosen = of_system(self.cases, system_of(key))
        chosen = chosen[(chosen["part"] == part) & (chosen["truth_ml"] > 0)]
        return POINTS * case_table(chosen).reindex(columns=columns).dropna(how="all")

    def gain(self, better: str, worse: str, part: str, columns: Sequence[str]) -> pd.DataFrame:
        """Paired differences of two systems, as `table`."""
        return self.table(better, part, columns) - self.table(worse, part, columns)

    def msd_columns(self, kind: str = "") -> list[str]:
        """Columns of Table 2: all, or those of "tumour" or "organ"."""
        columns = self.published[2]["column_key"].unique()
        return [c for c in columns if not kind or ("tumor@" in c) == (kind == "tumour")]

    def organ_columns(self) -> list[str]:
        """Columns of Table 3, as target@ircadb."""
        return [f"{key}@{TEST_SOURCE}" for key in printed(self.published[3]).columns if key != "average"]

    def summary(self, table: pd.DataFrame, statistic: Callable[[np.ndarray], float] = mean_of_column_means) -> Summary:
        """`statistic` of a case table with its interval."""
        return bootstrap(table, statistic, numpy_generator(self.study_seed, "bootstrap", "claims"))

    def synthetic(self, *sources: str) -> str:
        """An obstacle if any of the sources is absent from the study or made by the phantom, else nothing."""
        absent = [name for name in sources if name not in self.sources]
        if absent:
            return f"{absent[0]} is not part of this study"
        made = [name for name in sources if self.sources[name].origin == "phantom"]
        return f"the claim is about real scans; {made[0]} is synthetic here" if made else ""


def mean_gain(evidence: Evidence, gain: pd.DataFrame, obstacle: str = "") -> Measured:
    """Mean over targets of the mean paired difference; the p-value is Wilcoxon's over cases (mean of their targets)."""
    missing = [column for column in gain if gain[column].isna().all()]
    if missing:
        obstacle = obstacle or f"no validation or test case holds {missing[0].replace('@', ' of ')}"
    summary = evidence.summary(gain)
    return Measured(**vars(summary), p_value=paired_p_value(gain.mean(axis=1).to_numpy()), obstacle=obstacle)


def mask_over_noise(evidence: Evidence) -> Measured:
    """Predicting z_0 against predicting noise, mean over both embeddings and all targets of Table 2."""
    columns = evidence.msd_columns()
    return mean_gain(evidence, _mask_gain(evidence, columns))


def tumours_over_organs(evidence: Evidence) -> Measured:
    """How much more predicting z_0 gains on the tumours of Table 2 than on its organs."""
    columns = evidence.msd_columns()
    tumour = np.array([column in evidence.msd_columns("tumour") for column in columns])

    def extra(values: np.ndarray) -> float:
        return mean_of_column_means(values[:, tumour]) - mean_of_column_means(values[:, ~tumour])

    gain = _mask_gain(evidence, columns)
    measured = mean_gain(evidence, gain)
    return replace(measured, **vars(evidence.summary(gain, extra)), p_value=float("nan"))


def _mask_gain(evidence: Evidence, columns: Sequence[str]) -> pd.DataFrame:
    pairs = [evidence.gain(f"mask_{e}", f"noise_{e}", "validation", columns) for e in ("learnt", "clip")]
    return sum(pairs) / len(pairs)


def liver_tumours(evidence: Evidence) -> Measured:
    """The printed +13.5: CLIP rows, liver tumours."""
    gain = evidence.gain("mask_clip", "noise_clip", "validation", ["liver tumor@msd03"])
    return mean_gain(evidence, gain, evidence.synthetic("msd03"))


def pancreas_tumours(evidence: Evidence) -> Measured:
    """The printed +7: learnt rows, pancreas tumours."""
    gain = evidence.gain("mask_learnt", "noise_learnt", "validation", ["pancreas tumor@msd07"])
    return mean_gain(evidence, gain, evidence.synthetic("msd07"))


def clip_over_learnt(evidence: Evidence) -> Measured:
    """CLIP embeddings against learnt ones, z_0 predicted, mean over the targets of Table 2."""
    untrained = "CLIP has untrained weights in this study" if evidence.weights.origin == "untrained" else ""
    return mean_gain(
        evidence, evidence.gain("mask_clip", "mask_learnt", "validation", evidence.msd_columns()), untrained
    )


def latent_saves(evidence: Evidence) -> Measured:
    """Operations of pixel-space sampling as a multiple of latent sampling's: counted, so exact."""
    total = evidence.cost.set_index("space")["total_gflop"]
    times = float(total["pixel"] / total["latent"])
    return Measured(times, times, times, null=1.0)


def not_run(reason: str) -> Callable[[Evidence], Measured]:
    """A measurement that this study does not make, and why."""
    return lambda evidence: Measured(obstacle=reason)
