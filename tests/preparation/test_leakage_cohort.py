"""From native archives to the split: the repeats that the embedded cohort contains are found, and nothing else."""

import csv
import json
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import pytest

from universal_diffusion.phantom.write import write
from universal_diffusion.settings import Phantom, Preparation

CASES = {"msd03": 5, "msd07": 3, "msd09": 3, "kits23": 1, "pancreas_ct": 1, "abdomenct1k": 6, "ircadb": 2}
TINY = Phantom(matrix=48, slice_spacing_mm=(22, 24), cases=CASES)
# No coarser: a body of 48 voxels that lost its spacing is 48 mm wide.
COARSE = json.dumps(asdict(Preparation(spacing_mm=(5, 5, 8), hu_window=(-175, 250), patch=16)))
FOUND = {  # (source, case): matched source and case, how they differ, part
    ("ircadb", "3Dircadb1.1"): ("msd03", "liver_0", "identical", "test"),
    ("msd03", "liver_0"): ("ircadb", "3Dircadb1.1", "identical", "excluded"),
    ("ircadb", "3Dircadb1.2"): ("abdomenct1k", "Subtask2_train_0002", "identical", "test"),
    ("msd03", "liver_1"): ("ircadb", "3Dircadb1.2", "identical", "excluded"),
    ("abdomenct1k", "Subtask2_train_0002"): ("ircadb", "3Dircadb1.2", "identical", "excluded"),
    ("pancreas_ct", "PANCREAS_0001"): ("abdomenct1k", "Subtask1_train_0002", "offset +24 HU", None),
    ("abdomenct1k", "Subtask1_train_0002"): ("pancreas_ct", "PANCREAS_0001", "offset -24 HU", None),
    ("kits23", "case_00000"): ("abdomenct1k", "Subtask2_train_0003", "cropped", None),
    ("abdomenct1k", "Subtask2_train_0003"): ("kits23", "case_00000", "cropped", None),
    ("msd07", "pancreas_001"): ("abdomenct1k", "Subtask1_train_0001", "identical", None),
    ("abdomenct1k", "Subtask1_train_0001"): ("abdomenct1k", "Subtask2_train_0001", "identical", None),
    ("abdomenct1k", "Subtask2_train_0001"): ("abdomenct1k", "Subtask1_train_0001", "identical", None),
    ("msd07", "pancreas_004"): ("abdomenct1k", "Subtask1_train_0003", "identical", None),
    ("abdomenct1k", "Subtask1_train_0003"): ("msd07", "pancreas_004", "identical", None),
}


def run(step: str, *flags: object) -> None:
    """Run a step of the preparation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [step, *map(str, flags)])
        import_module(f"universal_diffusion.preparation.{step}").main()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    """A folder with the tables of the cohort's cases and copies, made from its archives."""
    root = tmp_path_factory.mktemp("leakage")
    for source in CASES:
        archives, native = root / "archives" / source, root / "native" / source
        write(source, TINY, 3, archives)
        run("unpack", "--source", source, "--archives", archives, "--output", native)
        flags = ("--source", source, "--native", native, "--settings", COARSE, "--shard", "1-of-1")
        run("harmonise", *flags, "--output", root / "volumes" / source)
    volumes = [root / "volumes" / source for source in CASES]
    run("inventory", "--volumes", *volumes, "--output-csv", root / "inventory.csv")
    run("repeats", "--volumes", *volumes, "--output", root / "repeats.csv")
    return root


def split(cohort: Path, leakage: str) -> dict[str, dict[tuple[str, str], dict[str, str]]]:
    """The rows of splits.csv and leakage.csv by (source, case)."""
    flags = ("--tests", "ircadb", "--validation-fraction", 0.3, "--study-seed", 1, "--leakage", leakage)
    tables = ("--inventory", cohort / "inventory.csv", "--repeats", cohort / "repeats.csv")
    outputs = {"splits": cohort / f"splits_{leakage}.csv", "leakage": cohort / f"leakage_{leakage}.csv"}
    run("split", *tables, *flags, "--output-splits", outputs["splits"], "--output-leakage", outputs["leakage"])
    return {name: {(row["source"], row["case"]): row for row in rows(path)} for name, path in outputs.items()}


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_repeat_of_the_cohort_is_found_and_no_other(cohort):
    audit = split(cohort, "drop")["leakage"]
    told = {key: (row["matched_source"], row["matched_case"], row["evidence"]) for key, row in audit.items()}
    assert told == {key: expected[:3] for key, expected in FOUND.items()}
    assert {key: row["part"] for key, row in audit.items() if FOUND[key][3]} == {
        key: part for key, (*_, part) in FOUND.items() if part
    }
    assert all((row["dropped"] == "True") == (row["part"] == "excluded") for row in audit.values())


def test_patients_stay_on_one_side_and_test_patients_out_of_training(cohort):
    splits = split(cohort, "drop")["splits"]
    sides = {}
    for row in splits.values():
        sides.setdefault(row["group"], set()).add(row["part"])
    assert all(len(parts - {"excluded"}) == 1 for parts in sides.values())
    assert sum(parts == {"test", "excluded"} for parts in sides.values()) == CASES["ircadb"]
    first, second = splits["msd07", "pancreas_007"], splits["msd09", "spleen_10"]
    assert first["group"] != second["group"]  # one body in two scans: nothing in the voxels says so


def test_kept_leakage_is_trained_on_and_still_told(cohort):
    dropped, kept = split(cohort, "drop"), split(cohort, "keep")
    changed = {key for key, row in kept["splits"].items() if row["part"] != dropped["splits"][key]["part"]}
    assert changed == {key for key, expected in FOUND.items() if expected[3] == "excluded"}
    assert {kept["splits"][key]["part"] for key in changed} == {"train"}
    assert kept["leakage"].keys() == dropped["leakage"].keys()
    assert {row["dropped"] for row in kept["leakage"].values()} == {"False"}
    assert all(kept["leakage"][key]["reason"].endswith(", kept") for key in changed)
