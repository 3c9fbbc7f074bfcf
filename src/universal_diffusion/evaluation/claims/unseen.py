"""Measurements on the data set that no training saw, for the paper's claims about Table 3."""

from dataclasses import replace

import numpy as np
import pandas as pd

from universal_diffusion.evaluation.claims.evidence import TEST_SOURCE, Evidence, Measured, mean_gain
from universal_diffusion.evaluation.paper.published import printed
from universal_diffusion.evaluation.statistics import mean_of_column_means


def over_segresnet(evidence: Evidence) -> Measured:
    """Against the discriminative baseline trained on the same split, mean over the organs of Table 3."""
    return mean_gain(evidence, evidence.gain("mask_clip", "segresnet", "test", evidence.organ_columns()))


def over_prior(evidence: Evidence) -> Measured:
    """On unseen data against a mask that knows only where organs usually lie, mean over the organs of Table 3."""
    gain = evidence.gain("mask_clip", "prior_mask", "test", evidence.organ_columns())
    return mean_gain(evidence, gain, evidence.synthetic(TEST_SOURCE))


def over_second_best(evidence: Evidence) -> Measured:
    """Our average over the organs of Table 3 less the second-highest average that it prints for others."""
    averages = printed(evidence.published[3])["average"].drop("universal_diffusion").sort_values()
    table = evidence.table("mask_clip", "test", evidence.organ_columns())
    return _over_published(evidence, table - averages.iloc[-2])


def over_nnformer(evidence: Evidence) -> Measured:
    """The least gain over nnFormer and Swin UNETR: our organ mean less the better of theirs, at its lowest organ."""
    theirs = printed(evidence.published[3]).loc[["nnformer", "swin_unetr"]].drop(columns="average").max()
    table = evidence.table("mask_clip", "test", evidence.organ_columns()) - theirs.to_numpy()
    return replace(_over_published(evidence, table), **vars(evidence.summary(table, _lowest_column_mean)))


def _lowest_column_mean(values: np.ndarray) -> float:
    return float(np.nanmin([mean_of_column_means(values[:, [column]]) for column in range(values.shape[1])]))


def _over_published(evidence: Evidence, table: pd.DataFrame) -> Measured:
    """Differences from printed figures: no pairs of cases, so no p-value."""
    return replace(mean_gain(evidence, table, evidence.synthetic(TEST_SOURCE)), p_value=float("nan"))


def pancreas_is_weakest(evidence: Evidence) -> Measured:
    """How far the pancreas falls below the weakest other organ of Table 3."""
    columns = evidence.organ_columns()
    table = evidence.table("mask_clip", "test", columns)
    pancreas = columns.index(f"pancreas@{TEST_SOURCE}")

    def shortfall(values: np.ndarray) -> float:
        return _lowest_column_mean(np.delete(values, pancreas, axis=1)) - mean_of_column_means(values[:, [pancreas]])

    measured = mean_gain(evidence, table, evidence.synthetic(TEST_SOURCE))
    return replace(measured, **vars(evidence.summary(table, shortfall)), p_value=float("nan"))
