"""The table of all targets, restricted to one source."""

import sys

import pandas as pd

from universal_diffusion.evaluation.beyond import targets_table
from universal_diffusion.evaluation.scoring.cases import read_cases, write_cases
from universal_diffusion.preparation.splits import SplitRow, write_splits


def test_a_table_of_one_source_counts_its_cases_only(cases, tmp_path, monkeypatch):
    path, splits, csv, md, tex = (tmp_path / name for name in ("cases.csv", "splits.csv", "t.csv", "t.md", "t.tex"))
    write_cases(path, cases)
    scored = cases.drop_duplicates(["source", "case"]).itertuples()
    rows = [SplitRow(row.source, row.dataset, row.case, row.source + row.case, row.part, "") for row in scored]
    write_splits(splits, rows)
    flags = ["--cases", path, "--splits", splits, "--source", "ircadb", "--cohort", "a toy", "--study-seed", 1]
    flags += ["--output-csv", csv, "--output-md", md, "--output-tex", tex]
    monkeypatch.setattr(sys, "argv", ["targets_table", *map(str, flags)])
    targets_table.main()
    rows = pd.read_csv(csv).query("system == 'mask_clip'").set_index("target")
    assert rows.loc["liver", "n"] == 8
    assert rows.loc["liver tumor", "n"] == 0
    stored = read_cases(path).query("source == 'ircadb' and target == 'liver' and variant == 'mask_clip'")
    assert abs(rows.loc["liver", "dice"] - stored["dice"].mean()) < 1e-5
    assert md.read_text().startswith("All 29 targets in ircadb (Dice %), measured here: a toy.")
