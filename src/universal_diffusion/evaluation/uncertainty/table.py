"""Step: how far each variant's uncertainty can be believed (CSV, Markdown, LaTeX).

    python -m universal_diffusion.evaluation.uncertainty.table --cases F --reliability F... --coverage F... --splits F
        --settings JSON --study-seed N --cohort TEXT --output-csv F --output-md F --output-tex F

The CSV also holds every measure of the validation and the test cases apart, and of every target.
"""

import argparse
from collections.abc import Sequence

import pandas as pd

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.scoring.calibration import BINS, MARGIN_MM
from universal_diffusion.evaluation.statistics import FEWEST_PER_COLUMN
from universal_diffusion.evaluation.uncertainty.cells import FEWEST, cells
from universal_diffusion.evaluation.uncertainty.rows import Judged, add_inputs, counted, read_inputs

MEASURES = {
    "ece_pooled": "Calibration error, all voxels",
    "ece": "Calibration error, mean of targets",
    "brier": "Brier score",
    "error_auroc": "AUROC, variance finds errors",
    "rank_correlation": "Doubt against Dice, rank correlation",
    "rank_correlation_within": "the same within targets",
    "dice_voxels_100": "Dice there",
    "dice_voxels_95": "Dice of the surest 95 % of voxels",
    "dice_voxels_80": "Dice of the surest 80 % of voxels",
    "dice_cases_80": "Dice of the surest 80 % of cases",
    "dice_cases_50": "Dice of the surest 50 % of cases",
}
NOTES = (
    "All times 100. In brackets 95 % bootstrap intervals over patients; nothing is marked best. Where not said "
    f"otherwise, the mean of target means over validation and test cases, with an interval where {FEWEST_PER_COLUMN} "
    "patients or more hold each target. Correlations, and Dice of the surest cases, have no interval below "
    f"{FEWEST} patients.",
    f"Asked are the voxels within {MARGIN_MM:g} mm of the target's box, on the CT's own grid, the same of all "
    "variants: the empty rest of a CT would flatter everyone. Where a target is absent none is asked. Calibration "
    f"error: expected, {BINS} equal bins; Brier score: mean squared error of the probability; 0 is best of both. "
    "AUROC: 50 is chance; below it, variance is larger where the mask is right.",
    "Doubt: a mask's mean entropy where its probability is at least 0.05. A doubt that warns has a correlation near "
    "-100; near 0 it says nothing, above 0 it misleads. Within targets: of ranks among masks of the same target; over "
    "all masks, a doubt of small targets is enough.",
    "The voxels of largest variance, or of each target's cases those of largest doubt, are set aside first; a doubt "
    "that says nothing leaves Dice as it is.",
    "The baselines give one answer, not an ensemble: they have no uncertainty to judge.",
)


def printed_table(found: pd.DataFrame, judged: Sequence[Judged], sampling: str, cohort: str) -> tables.Printed:
    """Two rows per measure, its value and its interval; a column per variant."""
    overall = found[found["column"].isin(MEASURES)].set_index(["column", "label"])
    rows = []
    for name, told in MEASURES.items():
        own = {one.system.label: overall.loc[name, one.system.label] for one in judged}
        rows.append({"Measure": told} | {label: tables.percent(cell.value, 1) for label, cell in own.items()})
        rows.append({"Measure": ""} | {label: tables.interval(cell.low, cell.high, 1) for label, cell in own.items()})
    texts = pd.DataFrame([row for row in rows if any(row.values())])
    counts = "; ".join(f"{one.system.label}: {counted(one)}" for one in judged)
    caption = f"How far the ensembles' uncertainty can be believed: {sampling}. Measured here: {cohort}."
    notes = (*NOTES, f"Masks (one target of one case) that have a Dice: {counts}.")
    return tables.Printed(texts, tables.unmarked(texts), caption, notes, "tab:uncertainty")


@one_line_errors
def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_inputs(parser)
    tables.add_outputs(parser)
    arguments = parser.parse_args()
    judged, sampling = read_inputs(arguments)
    found = cells(judged, arguments.study_seed)
    tables.write_outputs(arguments, found, printed_table(found, judged, sampling, arguments.cohort))


if __name__ == "__main__":
    main()
