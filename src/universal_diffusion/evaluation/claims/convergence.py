"""How soon a training reaches a validation Dice, for the claim that predicting z_0 converges faster."""

from collections.abc import Sequence

import pandas as pd

from universal_diffusion.evaluation.claims.evidence import Evidence
from universal_diffusion.evaluation.claims.measured import TIMES, Measured, table_rows

ONE_TRAINING = "each variant was trained once, so how much another training would differ is not known"
NO_DICE = "a variant segments nothing in any validation, so there is no Dice that both reach"


def validation_dice(log: pd.DataFrame) -> pd.Series:
    """Dice on validation patches, by the number of steps trained."""
    validated = log.dropna(subset="validation_dice")
    return pd.Series(validated["validation_dice"].to_numpy(), index=validated["step"].to_numpy() + 1)


def times_faster(mask: pd.Series, noise: pd.Series) -> float:
    """Steps that `noise` needs, as a multiple of those `mask` needs, to reach the highest Dice that both reach.

    Resolved to the steps between two validations; NaN where one of them never leaves 0.
    """
    shared = min(mask.max(), noise.max())
    if not shared > 0:
        return float("nan")
    needed_by_noise, needed_by_mask = (curve.index[curve >= shared][0] for curve in (noise, mask))
    return float(needed_by_noise / needed_by_mask)


def z0_converges_faster(evidence: Evidence, embeddings: Sequence[str]) -> Measured:
    """Mean of `times_faster` over the embeddings; single trainings have no interval, so it settles nothing."""
    curves = {variant: validation_dice(log) for variant, log in evidence.logs.items()}
    times = [times_faster(curves[f"mask_{e}"], curves[f"noise_{e}"]) for e in embeddings]
    value = sum(times) / len(times)
    rows = [
        table_rows(f"models/{key}/log.csv", [f"step={step - 1}" for step in curves[key].index], "validation_dice")
        for key in (f"{prediction}_{e}" for e in embeddings for prediction in ("mask", "noise"))
    ]
    obstacle = ONE_TRAINING if value == value else NO_DICE
    return Measured(value, null=1.0, unit=TIMES, obstacle=obstacle, rows=pd.concat(rows, ignore_index=True))
