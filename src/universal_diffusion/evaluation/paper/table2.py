"""Step: Table 2, the MSD benchmark by model configuration: noise or mask predicted, embeddings learnt or CLIP's.

    python -m universal_diffusion.evaluation.paper.table2 --cases F --published F --cohort TEXT --study-seed N
        --output-csv F --output-md F --output-tex F

Measured on the validation cases of the six MSD sources.
"""

import pandas as pd

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.paper import benchmark
from universal_diffusion.evaluation.paper.published import remarks
from universal_diffusion.systems import VARIANTS

MEANING = (
    "Dice in per cent. Measured rows: mean over validation cases, their number in brackets; a case in which target and "
    "prediction are both empty has no Dice, a prediction where the target is absent counts as 0."
)
AVERAGES = "Mean: of the nine target means. All: over all cases and targets. The paper prints neither."


def benchmark_cells(cases: pd.DataFrame, figures: pd.DataFrame, study_seed: int) -> pd.DataFrame:
    """Published and measured cells of Table 2 (`benchmark`)."""
    validation = cases[cases["part"] == "validation"]
    columns = list(figures["column_key"].unique())
    measured = benchmark.measured_cells(validation, VARIANTS, columns, study_seed)
    return pd.concat([benchmark.published_cells(figures), measured], ignore_index=True)


def printed_table(cells: pd.DataFrame, figures: pd.DataFrame, cohort: str) -> tables.Printed:
    """The cells as the paper lays them out."""
    headings = dict(zip(figures["column_key"], figures["column"], strict=True))
    headings |= {benchmark.AVERAGE: "Mean", benchmark.ALL_CASES: "All"}
    texts, marks = benchmark.layout(cells, headings, digits=1)
    caption = f"Table 2: Benchmark on MSD (Dice %) by model configuration. Measured rows: {cohort}."
    notes = (MEANING, AVERAGES, tables.MARKS_NOTE, *remarks(figures))
    return tables.Printed(texts, marks, caption, notes, "tab:configurations")


@one_line_errors
def main() -> None:
    """Write Table 2."""
    benchmark.write_table(__doc__, 2, benchmark_cells, printed_table)


if __name__ == "__main__":
    main()
