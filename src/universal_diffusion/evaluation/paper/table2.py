"""Step: Table 2, the MSD benchmark by model configuration: noise or mask predicted, embeddings learnt or CLIP's.

    python -m universal_diffusion.evaluation.paper.table2 --cases F --splits F --published F --cohort TEXT
        --study-seed N --output-csv F --output-md F --output-tex F

Measured on the validation patients of the six MSD sources.
"""

from collections.abc import Sequence

import pandas as pd

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.paper import benchmark
from universal_diffusion.evaluation.paper.published import remarks
from universal_diffusion.evaluation.patients import Patients
from universal_diffusion.systems import VARIANTS

MEANING = (
    "Dice in per cent on the CT's own grid. Measured rows: mean over validation patients, their number in brackets; a "
    "case in which target and prediction are both empty has no Dice, a prediction where the target is absent counts "
    "as 0."
)
AVERAGES = (
    "Mean: of the nine target means. All: over all cases and targets, where targets with more cases weigh more. The "
    "paper prints neither."
)


def benchmark_cells(cases: pd.DataFrame, figures: pd.DataFrame, _: Patients, study_seed: int) -> pd.DataFrame:
    """Published and measured cells of Table 2 (`benchmark`)."""
    validation = cases[cases["part"] == "validation"]
    columns = list(figures["column_key"].unique())
    measured = benchmark.measured_cells(validation, VARIANTS, columns, study_seed)
    return pd.concat([benchmark.published_cells(figures), measured], ignore_index=True)


def printed_tables(
    cells: pd.DataFrame, figures: pd.DataFrame, cohort: str, _: Sequence[str] = ()
) -> list[tables.Printed]:
    """The cells as the paper lays them out, then the measured ones with their intervals."""
    headings = dict(zip(figures["column_key"], figures["column"], strict=True))
    headings |= {benchmark.AVERAGE: "Mean", benchmark.ALL_CASES: "All"}
    caption = f"Table 2: Benchmark on MSD (Dice %) by model configuration. Measured rows: {cohort}."
    notes = (MEANING, AVERAGES, benchmark.UNIT, benchmark.ONCE, tables.MARKS_NOTE, *remarks(figures))
    measured = cells[cells["origin"] == benchmark.MEASURED]
    bounds = f"Intervals of Table 2 (Dice %), validation patients: {cohort}."
    return [
        tables.Printed(*benchmark.layout(cells, headings, 1), caption, notes, "tab:configurations"),
        tables.Printed(
            *benchmark.with_intervals(measured, headings),
            bounds,
            (benchmark.INTERVALS, benchmark.ONCE),
            "tab:configurations-intervals",
        ),
    ]


@one_line_errors
def main() -> None:
    """Write Table 2."""
    benchmark.write_table(__doc__, 2, benchmark_cells, printed_tables)


if __name__ == "__main__":
    main()
