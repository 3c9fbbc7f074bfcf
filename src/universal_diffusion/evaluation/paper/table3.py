"""Step: Table 3, generalisation to 3D-IRCADb: published systems above those measured here.

    python -m universal_diffusion.evaluation.paper.table3 --cases F --splits F --published F --cohort TEXT
        --study-seed N --output-csv F --output-md F --output-tex F

Measured on the CT's own grid and under the protocol of the published comparison, on all test patients and on those of
whom no training archive holds a copy.
"""

from collections.abc import Sequence

import pandas as pd

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.paper import benchmark
from universal_diffusion.evaluation.paper.benchmark import MEASURED, PUBLISHED
from universal_diffusion.evaluation.paper.published import remarks
from universal_diffusion.evaluation.patients import Patients
from universal_diffusion.systems import SYSTEMS

SOURCE = "ircadb"
UNIVERSAL = f"{MEASURED}, clip-universal"
MEASURES = {MEASURED: "dice", UNIVERSAL: "dice_clip_universal"}
NO_COPY = ", no copy"
MEANING = (
    "Dice in per cent. Measured rows: mean over the patients annotated for the organ, their number in brackets. Most "
    "of the public set's 20 patients are labelled for the liver only, so some organs rest on few."
)
PROTOCOLS = (
    f"{MEASURED}: on the CT's own grid; a prediction where an annotated organ is absent counts as 0. {UNIVERSAL}: the "
    "protocol of the published comparison, from which the paper takes the other systems' rows: harmonised grid (that "
    "of this study), the largest component of an organ, one voxel added to the denominator, only where the truth holds "
    "the organ. Compare published rows with these; the paper does not say how its own row was measured."
)
AVERAGES = (
    "Avg: mean of the organ means, as the paper averages. All: over all patients and organs, which the liver dominates."
)


def benchmark_cells(cases: pd.DataFrame, figures: pd.DataFrame, patients: Patients, study_seed: int) -> pd.DataFrame:
    """Published and measured cells of Table 3 (`benchmark`); organs are columns target@ircadb.

    Measured twice, on the CT's own grid and under clip-universal; and both again over the patients of whom no training
    archive holds a copy, where there are others.
    """
    test = cases[(cases["source"] == SOURCE) & (cases["part"] == "test")]
    cohorts = {"": test}
    if test["patient"].isin(patients.copied).any():
        cohorts[NO_COPY] = test[~test["patient"].isin(patients.copied)]
    measured = [
        benchmark.measured_cells(chosen, SYSTEMS, organs(figures), study_seed, origin + cohort, measure)
        for cohort, chosen in cohorts.items()
        for origin, measure in MEASURES.items()
    ]
    published = benchmark.published_cells(figures)
    named = published["column"].where(published["column"] == benchmark.AVERAGE, published["column"] + f"@{SOURCE}")
    return pd.concat([published.assign(column=named), *measured], ignore_index=True)


def organs(figures: pd.DataFrame) -> list[str]:
    """The seven organ columns, as target@ircadb."""
    return [f"{key}@{SOURCE}" for key in figures["column_key"].unique() if key != benchmark.AVERAGE]


def copies(cases: pd.DataFrame, patients: Patients) -> list[str]:
    """Which test patients have a copy in a training archive, and whether it was trained on."""
    test = cases[(cases["source"] == SOURCE) & (cases["part"] == "test")].drop_duplicates("case")
    found = test[test["patient"].isin(patients.copied)]
    if found.empty:
        return [f"No training archive of this study holds a copy of any of the {len(test)} test patients."]
    told = ", ".join(
        f"{row.case} ({'trained on' if row.patient in patients.trained else 'left out of training'})"
        for row in found.sort_values("case").itertuples()
    )
    left = len(test) - len(found)
    return [f"{len(found)} of {len(test)} test patients have a copy in a training archive: {told}; {left} have none."]


def printed_tables(
    cells: pd.DataFrame, figures: pd.DataFrame, cohort: str, copied: Sequence[str]
) -> list[tables.Printed]:
    """The cells as the paper lays them out, those without copied patients, then all measured ones with intervals."""
    headings = dict(zip([*organs(figures), benchmark.AVERAGE], figures["column"].unique(), strict=True))
    headings |= {benchmark.ALL_CASES: "All"}
    alone = cells["origin"].str.endswith(NO_COPY)
    caption = f"Table 3: Generalisability benchmark on 3D-IRCADb (Dice %). Measured rows: {cohort}."
    notes = (MEANING, PROTOCOLS, AVERAGES, *copied, benchmark.ONCE, tables.MARKS_NOTE, *remarks(figures))
    printed = [tables.Printed(*benchmark.layout(cells[~alone], headings, 2), caption, notes, "tab:generalisation")]
    if alone.any():
        caption = f"Table 3 over the patients of whom no training archive holds a copy (Dice %): {cohort}."
        laid = benchmark.layout(cells[alone], headings, 2)
        printed.append(tables.Printed(*laid, caption, (*copied, tables.MARKS_NOTE), "tab:generalisation-no-copy"))
    laid = benchmark.with_intervals(cells[cells["origin"] != PUBLISHED], headings)
    caption = f"Intervals of Table 3 (Dice %), test patients of 3D-IRCADb: {cohort}."
    notes = (benchmark.INTERVALS, *copied, benchmark.ONCE)
    return [*printed, tables.Printed(*laid, caption, notes, "tab:generalisation-intervals")]


@one_line_errors
def main() -> None:
    """Write Table 3."""
    benchmark.write_table(__doc__, 3, benchmark_cells, printed_tables, copies)


if __name__ == "__main__":
    main()
