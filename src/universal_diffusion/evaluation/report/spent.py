"""What the study took, rule by rule, from Snakemake's benchmark files."""

from pathlib import Path

import pandas as pd

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.report.printed import Cell, Table


def spent(folder: Path) -> Table:
    """The sum, then jobs, seconds and the largest memory of every rule, the longest first.

    Raises InputError when the folder holds no benchmark of a rule.
    """
    files = sorted(path for path in folder.rglob("*.tsv") if not path.name.startswith("benchmark_"))
    if not files:
        raise InputError(folder, "holds no benchmark of a rule", "run the study with Snakemake")
    measured = pd.concat(
        [pd.read_csv(file, sep="\t").assign(rule=file.relative_to(folder).with_suffix("").parts[0]) for file in files]
    )
    measured["max_rss"] = pd.to_numeric(measured["max_rss"], errors="coerce")  # "NA" of a job that ended at once
    rules = measured.groupby("rule").agg(jobs=("s", "size"), seconds=("s", "sum"), memory=("max_rss", "max"))
    ordered = rules.sort_values(["seconds", "jobs"], ascending=False, kind="stable")
    total = pd.DataFrame(
        {"jobs": rules["jobs"].sum(), "seconds": rules["seconds"].sum(), "memory": rules["memory"].max()}, index=["all"]
    )
    return Table(
        "Seconds of all jobs of a rule together; several run at once, so that the study took less. Memory: the largest "
        "of them. Such figures differ from run to run.",
        ("rule", "jobs", "seconds", "memory, MB"),
        tuple(
            (Cell(str(row.Index)), Cell(str(row.jobs)), Cell(f"{row.seconds:,.0f}"), Cell(_megabytes(row.memory)))
            for row in pd.concat([total, ordered]).itertuples()
        ),
        (),
    )


def _megabytes(memory: float) -> str:
    return "–" if pd.isna(memory) else f"{memory:,.0f}"
