"""Cases may be called what they like: tables of the study with names that look like numbers, truths or nothing."""

import sys
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from universal_diffusion.csv_tables import read_csv
from universal_diffusion.evaluation.scoring.cases import COLUMNS, MEASURES, read_cases, write_cases
from universal_diffusion.preparation.leakage import read_repeats
from universal_diffusion.preparation.quality.report import _measured
from universal_diffusion.preparation.splits import read_splits
from universal_diffusion.volumes import Grid, Volume, write_volume

NAMES = ["NA", "null", "nan", "001", "1e5", "True", "O'Brien, J", "a b", "x\ny", '"']


def run(step: str, *flags: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [step, *map(str, flags)])
        import_module(f"universal_diffusion.preparation.{step}").main()


def test_cases_of_any_name_travel_through_inventory_repeats_split_leakage_and_quality(tmp_path):
    grid, empty = Grid((2, 2, 2), np.eye(4)), np.zeros((2, 2, 2), np.uint32)
    for source in ("nan", "true"):
        for number, name in enumerate(NAMES):
            print_ = f"print {number}"  # of both sources: each case is a copy
            volume = Volume(source, name, ("liver",), print_, empty.astype(np.float32), empty, grid, empty, grid)
            write_volume(tmp_path / source / f"{name}.h5", volume)
    inventory, copies = tmp_path / "inventory.csv", tmp_path / "repeats.csv"
    splits, audit = tmp_path / "splits.csv", tmp_path / "leakage.csv"
    run("inventory", "--volumes", tmp_path / "nan", tmp_path / "true", "--output-csv", inventory)
    run("repeats", "--volumes", tmp_path / "nan", tmp_path / "true", "--output", copies)
    given = ("--validation-fraction", 0.1, "--leakage", "drop", "--study-seed", 1, "--tests", "true")
    tables = ("--inventory", inventory, "--repeats", copies)
    run("split", *tables, *given, "--output-splits", splits, "--output-leakage", audit)
    assert sorted(row.case for row in read_splits(splits) if row.part == "excluded") == sorted(NAMES)
    assert sorted(read_repeats(copies)["other_case"]) == sorted(NAMES)
    leaked = read_csv(audit, str)
    assert sorted(leaked[leaked["source"] == "nan"]["case"]) == sorted(NAMES)
    cases = read_csv(inventory)
    (tmp_path / "measures").mkdir()
    measures = cases[["source", "case"]].assign(median_hu=np.nan, cut=True)
    measures.to_csv(tmp_path / "measures/targets.csv", index=False)
    measured = _measured([tmp_path / "measures"], "targets.csv", cases)
    assert sorted(measured["case"]) == sorted(2 * NAMES)
    assert measured["median_hu"].isna().all()
    assert measured["cut"].all()


def test_scores_of_cases_of_any_name_are_read_as_written(tmp_path):
    rows = pd.DataFrame({"case": NAMES}).assign(**dict.fromkeys(MEASURES, 0.5), system="segresnet", variant="")
    rows = rows.assign(dataset="null", source="null", part="test", target="liver", outcome="scored")[COLUMNS]
    rows.loc[0, "dice"] = np.nan
    write_cases(tmp_path / "cases.csv", rows)
    found = read_cases(tmp_path / "cases.csv")
    assert found["case"].tolist() == sorted(NAMES)
    assert set(found["source"]) == {"null"}
    assert set(found["variant"]) == {""}
    assert found.loc[found["case"] == "NA", "dice"].isna().all()
    assert found["dice"].notna().sum() == len(NAMES) - 1


def test_empty_cells_are_missing_numbers_and_empty_text(tmp_path):
    (tmp_path / "t.csv").write_text("case,note,ml\n1,,2.5\nNA,null,\n")
    table = read_csv(tmp_path / "t.csv", {"note": str})
    assert table["case"].tolist() == ["1", "NA"]
    assert table["note"].tolist() == ["", "null"]
    assert table["ml"].tolist()[0] == 2.5
    assert np.isnan(table["ml"][1])
    assert read_csv(tmp_path / "t.csv", str).to_numpy().tolist() == [["1", "", "2.5"], ["NA", "null", ""]]
