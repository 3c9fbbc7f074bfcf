"""Tables 1-3 and the table of all targets."""

import numpy as np
import pandas as pd
import pytest

from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.beyond import targets_table
from universal_diffusion.evaluation.paper import table1, table2, table3
from universal_diffusion.evaluation.paper.benchmark import MEASURED, PUBLISHED
from universal_diffusion.evaluation.paper.published import read_published

COHORT = "eight imagined patients & 100 % of them_all"


def test_rank_marks_best_and_second_with_ties_and_never_a_lone_figure():
    values = pd.DataFrame({"a": [0.3, 0.5, 0.5, 0.1], "b": [0.2, np.nan, np.nan, np.nan]})
    marks = tables.rank(values)
    assert marks["a"].tolist() == ["second", "best", "best", ""]
    assert (marks["b"] == "").all()


def printed_rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_table_2_keeps_published_and_measured_rows_apart_and_agrees_with_the_cases(cases, published):
    figures = read_published(published, 2)
    cells = table2.benchmark_cells(cases, figures, 1)
    liver = cells[(cells["row"] == "mask_clip") & (cells["column"] == "liver tumor@msd03")].set_index("origin")
    ours = cases[
        (cases["variant"] == "mask_clip") & (cases["target"] == "liver tumor") & (cases["part"] == "validation")
    ]
    assert liver.loc[PUBLISHED, "value"] == pytest.approx(0.569)
    assert liver.loc[MEASURED, "value"] == pytest.approx(ours["dice"].mean())
    assert (liver.loc[MEASURED, "low"] < liver.loc[MEASURED, "value"]) & (liver.loc[MEASURED, "n"] == 8)
    text = tables.markdown(table2.printed_table(cells, figures, COHORT))
    rows = printed_rows(text)
    assert text.startswith("Table 2")
    assert COHORT in text.splitlines()[0]
    assert [row[1] for row in rows[2:]] == ["published"] * 4 + ["measured here"] * 4
    assert rows[5][4] == "**56.9**"
    assert "(8)" in rows[9][4]
    assert "68.6" in text
    assert "in bold, although" in text


def test_table_3_ranks_published_systems_among_themselves(cases, published):
    figures = read_published(published, 3)
    cells = table3.benchmark_cells(cases, figures, 1)
    rows = printed_rows(tables.markdown(table3.printed_table(cells, figures, COHORT)))
    ours = next(row for row in rows if row[0].startswith("Universal Diffusion"))
    assert (ours[3], ours[8], ours[9]) == ("<u>93.97</u>", "<u>81.63</u>", "<u>86.98</u>")
    assert [row[0] for row in rows[2:] if row[1] == "measured here"][-2:] == ["SegResNet", "Prior mask"]
    average = cells[(cells["row"] == "mask_clip") & (cells["column"] == "average")].iloc[0]
    test = cases[(cases["variant"] == "mask_clip") & (cases["part"] == "test")]
    assert average["value"] == pytest.approx(test.groupby("target")["dice"].mean().mean())


def test_a_system_without_cases_leaves_dashes(cases, published):
    figures = read_published(published, 3)
    nothing = cases[cases["part"] == "validation"]
    rows = printed_rows(
        tables.markdown(table3.printed_table(table3.benchmark_cells(nothing, figures, 1), figures, COHORT))
    )
    assert set(rows[-1][2:]) == {tables.NOTHING}


def test_latex_is_booktabs_with_marks_and_escapes(cases, published):
    figures = read_published(published, 2)
    text = tables.latex(table2.printed_table(table2.benchmark_cells(cases, figures, 1), figures, COHORT))
    assert r"\toprule" in text
    assert r"\bottomrule" in text
    assert r"\textbf{56.9}" in text
    assert r"imagined patients \& 100 \% of them\_all" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1


def test_table_1_counts_cases_structures_and_parts(published):
    inventory = pd.DataFrame(
        {
            "source": ["msd03", "msd09", "msd03", "ircadb"],
            "dataset": ["msd", "msd", "msd", "ircadb"],
            "case": ["a", "b", "c", "d"],
            "annotated": ["liver|liver tumor", "spleen", "liver|liver tumor", "liver"],
        }
    )
    parts = pd.Series(
        {("msd03", "a"): "train", ("msd09", "b"): "validation", ("msd03", "c"): "excluded", ("ircadb", "d"): "test"}
    )
    rows = table1.dataset_rows(inventory, parts, read_published(published, 1)).set_index("dataset")
    msd = rows.loc["msd"]
    assert (msd["paper_cases"], msd["public_cases"], msd["cases"], msd["structures"]) == (945, 945, 3, 3)
    assert (msd["train"], msd["validation"], msd["test"], msd["excluded"]) == (1, 1, 0, 1)
    assert rows.loc["amos", "public_cases"] == 300
    assert "masks of the 200 test CTs" in rows.loc["amos", "reason"]
    assert rows.loc["kits23", "licence"] == "CC BY-NC-SA 4.0"
    assert list(rows.index)[-1] == "ircadb"
    assert pd.isna(rows.loc["ircadb", "paper_cases"])
    text = tables.markdown(table1.printed_table(rows.reset_index(), COHORT))
    assert "| Sum of the paper's rows | 2882 |" in text
    (kits,) = (row for row in printed_rows(text) if row[0] == "KiTS 2023")
    assert kits[printed_rows(text)[0].index("Licence")] == "CC BY-NC-SA 4.0"


def test_table_1_says_in_how_many_patients_of_the_test_set_a_structure_is_annotated():
    names = ["liver|liver tumor", "liver", "spleen"]
    inventory = pd.DataFrame({"dataset": ["ircadb", "ircadb", "msd"], "annotated": names})
    assert "annotated: liver 2, liver tumor 1; the others" in table1.patients_by_organ(inventory)
    assert "annotated: none" in table1.patients_by_organ(inventory[inventory["dataset"] == "msd"])


def test_all_29_targets_stand_in_the_table_with_a_reason_for_every_gap(cases):
    cases.loc[cases["target"] == "stomach", ["dice", "truth_ml", "outcome"]] = [np.nan, 0.0, "both_empty"]
    alarm = (cases["target"] == "stomach") & (cases["case"] == "case_0") & (cases["variant"] == "mask_clip")
    cases.loc[alarm, ["dice", "outcome"]] = [0.0, "false_positive"]
    rows = targets_table.target_rows(cases, 1)
    assert rows.groupby("system")["target"].nunique().eq(29).all()
    gaps = rows[rows["n"] == 0]
    assert (gaps["reason"] != "").all()
    assert (rows[rows["n"] > 0]["reason"] == "").all()
    stomach = rows[rows["target"] == "stomach"].set_index("system")
    assert stomach.loc["noise_clip", "reason"].startswith("absent from all 8 annotated cases")
    assert (stomach.loc["mask_clip", "dice"], stomach.loc["mask_clip", "false_alarm_rate"]) == (0, pytest.approx(1 / 8))
    printed = {row[0]: row for row in printed_rows(tables.markdown(targets_table.printed_table(rows, COHORT)))}
    assert printed["stomach"][-2] == "1 of 8"
    assert printed["bladder"][-1] == "annotated in no validation or test case"
