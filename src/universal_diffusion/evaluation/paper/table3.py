"""Step: Table 3, generalisation to 3D-IRCADb: published systems above those measured here.

python -m universal_diffusion.evaluation.paper.table3 --cases F --published F --cohort TEXT --study-seed N
    --output-csv F --output-md F --output-tex F
"""

import pandas as pd

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.paper import benchmark
from universal_diffusion.evaluation.paper.published import remarks
from universal_diffusion.systems import SYSTEMS

SOURCE = "ircadb"
MEANING = (
    "Dice in per cent. Measured rows: mean over the patients whose masks hold the organ, their number in brackets. "
    "Most of the public set's 20 patients are labelled for the liver only, so some organs rest on few. Measured on the "
    "CT's own grid; the published rows were measured at 1.5 mm."
)
AVERAGES = (
    "Avg: mean of the organ means, as the paper averages. All: over all patients and organs, which the liver dominates."
)


def benchmark_cells(cases: pd.DataFrame, figures: pd.DataFrame, study_seed: int) -> pd.DataFrame:
    """Published and measured cells of Table 3 (`benchmark`); organs are columns target@ircadb."""
    test = cases[(cases["source"] == SOURCE) & (cases["part"] == "test")]
    measured = benchmark.measured_cells(test, SYSTEMS, organs(figures), study_seed)
    published = benchmark.published_cells(figures)
    named = published["column"].where(published["column"] == benchmark.AVERAGE, published["column"] + f"@{SOURCE}")
    return pd.concat([published.assign(column=named), measured], ignore_index=True)


def organs(figures: pd.DataFrame) -> list[str]:
    """The seven organ columns, as target@ircadb."""
    return [f"{key}@{SOURCE}" for key in figures["column_key"].unique() if key != benchmark.AVERAGE]


def printed_table(cells: pd.DataFrame, figures: pd.DataFrame, cohort: str) -> tables.Printed:
    """The cells as the paper lays them out."""
    headings = dict(zip([*organs(figures), benchmark.AVERAGE], figures["column"].unique(), strict=True))
    texts, marks = benchmark.layout(cells, headings | {benchmark.ALL_CASES: "All"}, digits=2)
    caption = f"Table 3: Generalisability benchmark on 3D-IRCADb (Dice %). Measured rows: {cohort}."
    notes = (MEANING, AVERAGES, tables.MARKS_NOTE, *remarks(figures))
    return tables.Printed(texts, marks, caption, notes, "tab:generalisation")


@one_line_errors
def main() -> None:
    """Write Table 3."""
    benchmark.write_table(__doc__, 3, benchmark_cells, printed_table)


if __name__ == "__main__":
    main()
