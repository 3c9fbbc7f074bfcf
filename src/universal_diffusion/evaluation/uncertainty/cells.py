"""The figures behind Table `uncertainty`: every measure of every variant, over all masks and over parts of them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd

from universal_diffusion.evaluation.scoring.calibration import COVERAGES
from universal_diffusion.evaluation.statistics import Summary, averages, bootstrap, patient_table
from universal_diffusion.evaluation.uncertainty.measures import (
    complete,
    doubt_and_dice,
    kept_dice,
    pooled_calibration_error,
    rank_correlation,
    rank_correlation_within,
    reliability_sums,
)
from universal_diffusion.evaluation.uncertainty.rows import Judged
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.targets import all_targets

MEANS = ("ece", "brier", "error_auroc")
KEPT = (0.8, 0.5)
FEWEST = 10  # patients from which a correlation, or Dice of the surest, gets an interval
GROUPS = {"": "", "validation": "part", "test": "part"} | {known.name: "target" for known in all_targets()}
COLUMNS = ["origin", "row", "label", "column", "value", "low", "high", "n", "masks", "targets"]


def cells(judged: Sequence[Judged], study_seed: int) -> pd.DataFrame:
    """One row per variant, group of masks and measure.

    Returns:
        `COLUMNS`: `column` is a measure, followed by `@<group>` where it is of one part or target only; n counts
        patients, beside it the masks that have the measure, and their targets.
    """
    rows = [row for one in judged for group in GROUPS for row in _rows(one, group, study_seed)]
    return pd.DataFrame(rows, columns=COLUMNS)


def group_cells(judged: Judged, group: str, study_seed: int) -> pd.DataFrame:
    """The rows of `cells` of one variant and group, one of `GROUPS`: "" for all masks, a part or a target."""
    return pd.DataFrame(_rows(judged, group, study_seed), columns=COLUMNS)


def _rows(judged: Judged, group: str, study_seed: int) -> Iterator[dict]:
    """Nothing where the group has no mask."""
    chosen = judged.only(GROUPS[group], group) if group else judged
    if chosen.masks.empty:
        return
    for name, masks, summary in _measures(chosen, partial(numpy_generator, study_seed, "bootstrap", group)):
        identity = {"origin": "measured here", "row": judged.system.key, "label": judged.system.label}
        counts = {"masks": len(masks), "targets": masks["target"].nunique()}
        column = f"{name}@{group}" if group else name
        yield identity | {"column": column} | vars(summary) | counts


def _measures(
    judged: Judged, generator: Callable[[str], np.random.Generator]
) -> Iterator[tuple[str, pd.DataFrame, Summary]]:
    """Name, masks and summary of every measure; the generators are the same for every variant."""
    masks, rows = judged.masks, complete(judged.coverage)
    sums = reliability_sums(judged.reliability)
    yield "ece_pooled", masks[masks["ece"].notna()], bootstrap(sums, pooled_calibration_error, generator("pooled"))
    for name in MEANS:
        yield name, masks[masks[name].notna()], _mean(masks, name, generator)
    for share in COVERAGES:
        kept = rows[rows["coverage"] == share]
        yield f"dice_voxels_{100 * share:g}", kept, _mean(kept, "dice", generator)
    scored, values = masks[masks["dice"].notna()], doubt_and_dice(masks)
    statistics = {"rank_correlation": rank_correlation, "rank_correlation_within": rank_correlation_within}
    statistics |= {f"dice_cases_{100 * share:g}": partial(kept_dice, share=share) for share in KEPT}
    for name, statistic in statistics.items():
        yield name, scored, _of_values(values, statistic, generator(name))


def _mean(rows: pd.DataFrame, name: str, generator: Callable[[str], np.random.Generator]) -> Summary:
    """Mean of target means."""
    return averages(patient_table(rows, name, pooled=True), generator(name))[0]


def _of_values(
    values: pd.DataFrame, statistic: Callable[[np.ndarray], float], generator: np.random.Generator
) -> Summary:
    if len(values) < FEWEST:
        return Summary(statistic(values.to_numpy()), np.nan, np.nan, len(values))
    return bootstrap(values, statistic, generator)
