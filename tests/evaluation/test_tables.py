"""Tables 1-3 and the table of all targets, and what errors planted in their inputs do to them."""

import sys

import numpy as np
import pandas as pd
import pytest

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.beyond import targets_table
from universal_diffusion.evaluation.paper import table1, table2, table3
from universal_diffusion.evaluation.paper.benchmark import MEASURED, PUBLISHED
from universal_diffusion.evaluation.paper.published import read_published
from universal_diffusion.evaluation.patients import Patients, patients_of
from universal_diffusion.evaluation.scoring.cases import of_system, write_cases
from universal_diffusion.preparation.splits import SplitRow, write_splits
from universal_diffusion.systems import system_of

COHORT = "eight imagined patients & 100 % of them_all"


def splits_of(cases: pd.DataFrame, *others: SplitRow) -> list[SplitRow]:
    """Splits in which every scored case is a patient of its own, and `others` before them."""
    rows = cases.drop_duplicates(["source", "case"]).itertuples()
    return [
        *others,
        *(SplitRow(row.source, row.dataset, row.case, f"{row.case}@{row.source}", row.part, "") for row in rows),
    ]


def named(cases: pd.DataFrame, *others: SplitRow) -> tuple[pd.DataFrame, Patients]:
    patients = patients_of(splits_of(cases, *others))
    return patients.named(cases), patients


def cell(cells: pd.DataFrame, row: str, column: str, origin: str = MEASURED) -> pd.Series:
    (found,) = (
        each
        for _, each in cells[cells["origin"] == origin].iterrows()
        if (each["row"], each["column"]) == (row, column)
    )
    return found


def test_rank_marks_best_and_second_with_ties_and_never_a_zero_or_a_lone_figure():
    values = pd.DataFrame(
        {"a": [0.3, 0.5, 0.5, 0.1], "b": [0.2, np.nan, np.nan, np.nan], "c": [0.0, 0.0, 0.4, 0.0], "d": [0.1] * 4}
    )
    marks = tables.rank(values)
    assert marks["a"].tolist() == ["second", "best", "best", ""]
    assert (marks[["b", "d"]] == "").all(axis=None)
    assert marks["c"].tolist() == ["", "", "best", ""]


def printed_rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_table_2_keeps_published_and_measured_rows_apart_and_agrees_with_the_cases(cases, published):
    figures = read_published(published, 2)
    scores, patients = named(cases)
    cells = table2.benchmark_cells(scores, figures, patients, 1)
    ours = cases[
        (cases["variant"] == "mask_clip") & (cases["target"] == "liver tumor") & (cases["part"] == "validation")
    ]
    assert cell(cells, "mask_clip", "liver tumor@msd03", PUBLISHED)["value"] == pytest.approx(0.569)
    measured = cell(cells, "mask_clip", "liver tumor@msd03")
    assert measured["value"] == pytest.approx(ours["dice"].mean())
    assert (measured["low"] < measured["value"] < measured["high"]) & (measured["n"] == measured["scans"] == 8)
    text = tables.markdown(*table2.printed_tables(cells, figures, COHORT))
    rows = printed_rows(text)
    assert text.startswith("Table 2")
    assert COHORT in text.splitlines()[0]
    assert [row[1] for row in rows[2:10]] == ["published"] * 4 + ["measured here"] * 4
    assert rows[5][4] == "**56.9**"
    assert "(8)" in rows[9][4]
    assert "68.6" in text
    assert "in bold, although" in text
    assert f"[{100 * measured['low']:.1f}, {100 * measured['high']:.1f}] (8)" in text


def test_the_mean_of_target_means_is_not_the_mean_over_cases(cases, published):
    """The liver in eight patients and every other organ in two: planted, a mean over the wrong axis would show."""
    figures = read_published(published, 3)
    few = cases[(cases["target"] == "liver") | (cases["case"].isin(["case_0", "case_1"]))].copy()
    few.loc[few["target"] == "liver", "dice"] = 0.9
    few.loc[few["target"] != "liver", "dice"] = 0.3
    scores, patients = named(few)
    cells = table3.benchmark_cells(scores, figures, patients, 1)
    mine = of_system(scores[scores["part"] == "test"], system_of("mask_clip")).pivot(
        index="patient", columns="target", values="dice"
    )
    average, every = cell(cells, "mask_clip", "average"), cell(cells, "mask_clip", "all cases")
    assert average["value"] == pytest.approx((0.9 + 6 * 0.3) / 7) == pytest.approx(mine.mean(axis=0).mean())
    assert every["value"] == pytest.approx((8 * 0.9 + 12 * 0.3) / 20)
    assert mine.mean(axis=1).mean() not in (pytest.approx(average["value"]), pytest.approx(every["value"]))
    assert average["n"] == every["n"] == 8


def test_table_3_ranks_published_systems_among_themselves_and_measures_under_both_protocols(cases, published):
    figures = read_published(published, 3)
    cases["dice_clip_universal"] = cases["dice"] / 2
    scores, patients = named(cases)
    cells = table3.benchmark_cells(scores, figures, patients, 1)
    remarks = table3.copies(scores, patients)
    rows = printed_rows(tables.markdown(*table3.printed_tables(cells, figures, COHORT, remarks)))
    ours = next(row for row in rows if row[0].startswith("Universal Diffusion"))
    assert (ours[3], ours[8], ours[9]) == ("<u>93.97</u>", "<u>81.63</u>", "<u>86.98</u>")
    assert [row[0] for row in rows if row[1] == "measured here"][4:6] == ["SegResNet", "Prior mask"]
    assert set(cells["origin"]) == {PUBLISHED, MEASURED, table3.UNIVERSAL}
    native, universal = (cell(cells, "segresnet", "liver@ircadb", origin) for origin in table3.MEASURES)
    assert universal["value"] == pytest.approx(native["value"] / 2)
    assert (native["measure"], universal["measure"]) == ("dice", "dice_clip_universal")
    assert remarks == ["No training archive of this study holds a copy of any of the 8 test patients."]


@pytest.mark.parametrize(("part", "told"), [("excluded", "left out of training"), ("train", "trained on")])
def test_table_3_is_measured_a_second_time_without_the_patients_whose_copies_stand_in_archives(
    cases, published, part, told
):
    figures = read_published(published, 3)
    leaked = (cases["source"] == "ircadb") & (cases["case"] == "case_3")
    cases.loc[leaked, ["dice", "dice_clip_universal"]] = 1.0
    scores, patients = named(cases, SplitRow("msd03", "msd", "liver_99", "case_3@ircadb", part, ""))
    cells = table3.benchmark_cells(scores, figures, patients, 1)
    for origin in table3.MEASURES:
        everyone, others = (
            cell(cells, "mask_clip", "liver@ircadb", origin + cohort) for cohort in ("", table3.NO_COPY)
        )
        assert (everyone["n"], others["n"]) == (8, 7)
        assert everyone["value"] == pytest.approx((7 * others["value"] + 1) / 8)
    remarks = table3.copies(scores, patients)
    assert remarks == [f"1 of 8 test patients have a copy in a training archive: case_3 ({told}); 7 have none."]
    printed = table3.printed_tables(cells, figures, COHORT, remarks)
    assert len(printed) == 3
    assert all(remarks[0] in each.notes for each in printed)


def test_a_test_patient_of_whom_a_copy_was_trained_on_is_left_out_where_systems_are_compared(cases):
    scores, patients = named(cases, SplitRow("msd03", "msd", "liver_99", "case_3@ircadb", "train", ""))
    left = patients.untrained(cases)
    pd.testing.assert_frame_equal(left, scores[(scores["source"] != "ircadb") | (scores["case"] != "case_3")])
    assert len(left) < len(scores)


def test_a_validation_patient_that_is_trained_on_stops_the_tables(cases):
    copy = SplitRow("btcv", "btcv", "img1", "case_0@msd03", "train", "")
    with pytest.raises(InputError, match="msd03/case_0 for validation and a copy of it for training"):
        named(cases, copy)


def test_a_scored_case_of_another_part_or_of_no_splits_stops_the_tables(cases):
    patients = patients_of(splits_of(cases))
    with pytest.raises(InputError, match="ircadb/case_0: is scored as validation but in the part test"):
        patients.named(cases.assign(part="validation"))
    with pytest.raises(InputError, match="msd03/new: is scored as validation but not in the splits"):
        patients.named(cases[cases["source"] == "msd03"].assign(case="new"))


def test_an_unannotated_target_is_no_zero_and_an_annotated_absent_one_is_scored_by_its_false_positives(
    cases, published
):
    """Rows exist for annotated targets only: were the others filled with zeros, the mean and n would show it."""
    figures = read_published(published, 3)
    unannotated = (cases["target"] == "stomach") & cases["case"].isin(["case_0", "case_1"])
    absent = (cases["target"] == "stomach") & (cases["case"] == "case_2")
    cases.loc[absent, ["dice", "truth_ml", "outcome"]] = [0.0, 0.0, "false_positive"]
    scores, patients = named(cases[~unannotated])
    stomach = cell(table3.benchmark_cells(scores, figures, patients, 1), "mask_clip", "stomach@ircadb")
    mine = cases[(cases["target"] == "stomach") & (cases["variant"] == "mask_clip")].set_index("case")["dice"]
    assert (stomach["n"], stomach["value"]) == (6, pytest.approx(mine[2:].sum() / 6))


def test_a_duplicated_patient_changes_no_figure_of_table_2(cases, published):
    figures = read_published(published, 2)
    again = cases[(cases["source"] == "msd03") & (cases["case"] == "case_0")].assign(case="copy")
    copy = SplitRow("msd03", "msd", "copy", "case_0@msd03", "validation", "")
    patients = patients_of([copy, *splits_of(cases)])
    once, twice = (
        table2.benchmark_cells(patients.named(table), figures, patients, 1)
        for table in (cases, pd.concat([cases, again]))
    )
    shown = [column for column in once if column != "scans"]
    pd.testing.assert_frame_equal(once[shown], twice[shown])
    assert (cell(once, "mask_clip", "liver@msd03")["scans"], cell(twice, "mask_clip", "liver@msd03")["scans"]) == (8, 9)


def test_a_system_without_cases_leaves_dashes(cases, published):
    figures = read_published(published, 3)
    nothing, patients = named(cases[cases["part"] == "validation"])
    cells = table3.benchmark_cells(nothing, figures, patients, 1)
    rows = printed_rows(tables.markdown(*table3.printed_tables(cells, figures, COHORT, ())))
    assert set(rows[-1][2:]) == {tables.NOTHING}


def test_the_step_writes_csv_markdown_and_latex_the_same_twice(cases, published, tmp_path, monkeypatch):
    write_cases(tmp_path / "cases.csv", cases)
    write_splits(tmp_path / "splits.csv", splits_of(cases))
    flags = ["--cases", tmp_path / "cases.csv", "--splits", tmp_path / "splits.csv", "--published", published]
    flags += ["--cohort", COHORT, "--study-seed", 1]
    written = []
    for name in "ab":
        outputs = [value for kind in tables.KINDS for value in (f"--output-{kind}", tmp_path / f"{name}.{kind}")]
        monkeypatch.setattr(sys, "argv", [str(value) for value in ["table3", *flags, *outputs]])
        table3.main()
        written.append([(tmp_path / f"{name}.{kind}").read_bytes() for kind in tables.KINDS])
    assert written[0] == written[1]
    assert b"measured here, clip-universal" in written[0][0]


def test_table_1_counts_cases_structures_and_parts(published):
    inventory = pd.DataFrame(
        {
            "source": ["msd03", "msd09", "msd03", "ircadb"],
            "dataset": ["msd", "msd", "msd", "ircadb"],
            "case": ["a", "b", "c", "d"],
            "annotated": ["liver|liver tumor", "spleen", "liver|liver tumor", "liver"],
        }
    )
    splits = [
        SplitRow("msd03", "msd", "a", "p1", "train", ""),
        SplitRow("msd09", "msd", "b", "p2", "validation", ""),
        SplitRow("msd03", "msd", "c", "p1", "excluded", ""),
        SplitRow("ircadb", "ircadb", "d", "p3", "test", ""),
    ]
    rows = table1.dataset_rows(inventory, splits, read_published(published, 1)).set_index("dataset")
    msd = rows.loc["msd"]
    assert (msd["paper_cases"], msd["public_cases"], msd["cases"], msd["structures"]) == (945, 945, 3, 3)
    assert msd["patients"] == 2
    assert (msd["train"], msd["validation"], msd["test"], msd["excluded"]) == (1, 1, 0, 1)
    assert rows.loc["amos", "public_cases"] == 300
    assert "masks of the 200 test CTs" in rows.loc["amos", "reason"]
    assert rows.loc["kits23", "licence"] == "CC BY-NC-SA 4.0"
    assert msd["reason"] == "this study runs on 3 cases; its cases hold 3 structures"
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
    cases.loc[alarm, ["dice", "outcome", "false_positive_ml"]] = [0.0, "false_positive", 7.5]
    scores, _ = named(cases)
    rows = targets_table.target_rows(scores, 1)
    assert rows.groupby("system")["target"].nunique().eq(29).all()
    gaps = rows[rows["n"] == 0]
    assert (gaps["reason"] != "").all()
    assert (rows[rows["n"] > 0]["reason"] == "").all()
    stomach = rows[rows["target"] == "stomach"].set_index("system")
    assert stomach.loc["noise_clip", "reason"].startswith("absent from all 8 annotated cases")
    assert (stomach.loc["mask_clip", "dice"], stomach.loc["mask_clip", "false_alarm_rate"]) == (0, pytest.approx(1 / 8))
    every, details = targets_table.printed_tables(rows, COHORT)
    printed = {row[0]: row for row in printed_rows(tables.markdown(every))}
    assert printed["bladder"][-1] == "annotated in no validation or test case"
    printed = {row[0]: row for row in printed_rows(tables.markdown(details))}
    assert printed["stomach"][-2:] == ["1 of 8, 7.5 ml", "7"]
    assert printed["spleen"][-4:] == ["16", "0", "–", "0"]
