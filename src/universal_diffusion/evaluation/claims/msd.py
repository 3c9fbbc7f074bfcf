"""Measurements on the targets of Table 2, each in its own source's validation cases."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from universal_diffusion.evaluation.claims.evidence import Evidence, Selected, mean_gain
from universal_diffusion.evaluation.claims.measured import Measured
from universal_diffusion.evaluation.statistics import mean_of_column_means, paired_p_value

PART = ("validation",)


def _gain(evidence: Evidence, better: str, worse: str, columns: Sequence[str]) -> Selected:
    return evidence.select(better, columns, PART) - evidence.select(worse, columns, PART)


def _mask_gain(evidence: Evidence) -> Selected:
    columns = evidence.msd_columns()
    learnt, clip = (_gain(evidence, f"mask_{e}", f"noise_{e}", columns) for e in ("learnt", "clip"))
    return Selected((learnt.table + clip.table) / 2, pd.concat([learnt.rows, clip.rows], ignore_index=True))


def mask_over_noise(evidence: Evidence) -> Measured:
    """Predicting z_0 against predicting noise, mean over both embeddings and all targets of Table 2."""
    return mean_gain(evidence, _mask_gain(evidence))


def tumours_over_organs(evidence: Evidence) -> Measured:
    """How much more predicting z_0 gains on the tumours of Table 2 than on its organs.

    The p-value is Wilcoxon's over the patients who hold both.
    """
    tumour = np.isin(evidence.msd_columns(), evidence.msd_columns("tumour"))

    def extra(values: np.ndarray) -> float:
        return mean_of_column_means(values[:, tumour]) - mean_of_column_means(values[:, ~tumour])

    gain = _mask_gain(evidence)
    both = gain.table.loc[:, tumour].mean(axis=1) - gain.table.loc[:, ~tumour].mean(axis=1)
    return replace(mean_gain(evidence, gain, statistic=extra), p_value=paired_p_value(both.to_numpy()))


def liver_tumours(evidence: Evidence) -> Measured:
    """The printed +13.5: CLIP rows, liver tumours."""
    gain = _gain(evidence, "mask_clip", "noise_clip", ["liver tumor@msd03"])
    return mean_gain(evidence, gain, evidence.synthetic("msd03"))


def pancreas_tumours(evidence: Evidence) -> Measured:
    """The printed +7: learnt rows, pancreas tumours."""
    gain = _gain(evidence, "mask_learnt", "noise_learnt", ["pancreas tumor@msd07"])
    return mean_gain(evidence, gain, evidence.synthetic("msd07"))


def clip_over_learnt(evidence: Evidence) -> Measured:
    """CLIP embeddings against learnt ones, z_0 predicted, mean over the targets of Table 2."""
    gain = _gain(evidence, "mask_clip", "mask_learnt", evidence.msd_columns())
    return mean_gain(evidence, gain, evidence.untrained_clip())


def learnt_over_clip(evidence: Evidence) -> Measured:
    """Learnt embeddings, which need no pretraining, against CLIP's, as `clip_over_learnt`."""
    gain = _gain(evidence, "mask_learnt", "mask_clip", evidence.msd_columns())
    return mean_gain(evidence, gain, evidence.untrained_clip())
