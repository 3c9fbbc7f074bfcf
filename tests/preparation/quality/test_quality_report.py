"""The quality report as the steps write it: pages, figures, picture sheets, and the same bytes again."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from universal_diffusion.preparation.pictures import AXIAL, CORONAL, fullest_slice, outline, picture, sheet
from universal_diffusion.preparation.quality.findings import Finding, finding
from universal_diffusion.preparation.quality.report import count_findings, structure_findings
from universal_diffusion.preparation.quality.sheets import CASES, SHEETS, pictured, sheets, tile
from universal_diffusion.preparation.quality.structures import Structure
from universal_diffusion.targets import bits, mask
from universal_diffusion.volumes import write_volume

SETTINGS = json.dumps({"spacing_mm": [4.0, 4.0, 5.0], "hu_window": [-175, 250], "patch": 64})
HEADER = "dataset,title,paper_cases,public_cases,cases,paper_structures,public_structures,structures,reason\n"
COUNTS = (
    HEADER + 'amos,AMOS (CT),500,300,2,15,15,7,"500 CTs are public, 300 labelled; this study runs on 2 cases"\n'
    "ircadb,3D-IRCADb,,20,1,,14,2,the paper prints no counts\n"
)
STRUCTURES = (
    "case,folder,state,targets,reason,files\n"
    "3Dircadb1.1,liver,annotated,liver,,62\n"
    "3Dircadb1.1,spleen,empty,spleen,,62\n"
    "3Dircadb1.1,bone,no target,,no target,62\n"
    "3Dircadb1.1,pituitary,unknown,,,62\n"
)


def run(step: str, *arguments: object, hash_seed: str = "0") -> None:
    command = [sys.executable, "-m", f"universal_diffusion.preparation.{step}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": hash_seed})
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def written(clean, tmp_path_factory) -> Path:
    """A folder with what the report reads: a clean and a mirrored case of AMOS, a patient of 3D-IRCADb."""
    folder = tmp_path_factory.mktemp("quality")
    turned = {name: getattr(clean, name)[::-1] for name in ("image", "labels", "native_labels")}
    patient = replace(clean, source="ircadb", case="3Dircadb1.1", annotated=("liver",))
    for volume in (clean, replace(clean, case="m", **turned), patient):
        write_volume(folder / "volumes" / volume.source / "1-of-1" / f"{volume.case}.h5", volume)
    (folder / "table1.csv").write_text(COUNTS)
    (folder / "structures.csv").write_text(STRUCTURES)
    run("inventory", "--volumes", *volumes_of(folder), "--output-csv", folder / "inventory.csv")
    report(folder, folder / "quality", "0")
    return folder


def volumes_of(folder: Path) -> list[Path]:
    return sorted((folder / "volumes").glob("*/1-of-1"))


def report(folder: Path, output: Path, hash_seed: str) -> None:
    measured = ["--volumes", *volumes_of(folder), "--settings", SETTINGS, "--output", output / "measures"]
    run("quality.measure", *measured, hash_seed=hash_seed)
    inputs = {"inventory": "inventory.csv", "counts": "table1.csv", "structures": "structures.csv"}
    flags = [part for flag, name in inputs.items() for part in (f"--{flag}", folder / name)]
    flags += ["--measures", output / "measures", "--volumes", *volumes_of(folder), "--settings", SETTINGS]
    run("quality.report", *flags, "--cohort", "three imagined patients", "--output", output, hash_seed=hash_seed)


def test_every_dataset_has_a_page_a_figure_and_a_sheet(written):
    quality = written / "quality"
    names = {str(path.relative_to(quality)) for path in quality.rglob("*.*")}
    assert names >= {"findings.csv", *(f"{name}.{kind}" for name in ("amos", "ircadb") for kind in ("md", "png"))}
    assert {name for name in names if name.startswith("sheets")} == {"sheets/amos-1.png", "sheets/ircadb-1.png"}
    assert all((quality / name).read_bytes().startswith(b"\x89PNG") for name in names if name.endswith("png"))


def test_findings_are_rows_with_what_to_do(written):
    rows = pd.read_csv(written / "quality" / "findings.csv", keep_default_na=False)
    assert list(rows.columns) == ["source", "case", "target", "kind", "severity", "value", "expected", "action"]
    keys = list(zip(rows["source"], rows["case"], rows["kind"], strict=True))
    assert ("amos", "m", "mirrored") in keys
    assert ("ircadb", "3Dircadb1.1", "unknown structure") in keys
    assert ("ircadb", "3Dircadb1.1", "empty structure") in keys
    assert ("amos", "p") not in [key[:2] for key in keys]
    assert (rows["action"] != "").all()


def test_the_page_counts_against_the_paper_and_names_the_problem(written):
    page = (written / "quality" / "amos.md").read_text()
    assert "| Cases | 500 | 300 | 2 |" in page
    assert "500 CTs are public, 300 labelled" in page
    assert "| warning | mirrored | 1 | m (spleen 100 mm to the right" in page
    assert "three imagined patients" in page
    patient = (written / "quality" / "ircadb.md").read_text()
    assert "| liver | 1 | 3Dircadb1.1 | – | 0 |" in patient
    assert "| spleen | 0 | – | 3Dircadb1.1 | 0 |" in patient
    assert "| pituitary | UNKNOWN" in patient
    assert "| bone | no target |" in patient


def test_another_run_gives_the_same_bytes(written, tmp_path):
    report(written, tmp_path / "again", "7")
    files = [path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*.*")]
    assert len(files) == 9 + 3  # tables with a hash beside them
    for name in files:
        assert (tmp_path / "again" / name).read_bytes() == (written / "quality" / name).read_bytes(), name


def test_sources_with_other_counts_than_published_are_named():
    inventory = pd.DataFrame({"source": ["btcv"] * 31 + ["chaos"] * 20, "dataset": ["btcv"] * 31 + ["chaos"] * 20})
    rows = {"dataset": ["btcv", "chaos"], "title": ["BTCV", "CHAOS"], "paper_cases": ["30", ""], "reason": ["", ""]}
    hits = list(count_findings(inventory, pd.DataFrame(rows).set_index("dataset")))
    assert [(hit.source, hit.kind, hit.expected) for hit in hits] == [
        ("btcv", "too many cases", "30 in the public release"),
        ("btcv", "cases", "30 in the paper's Table 1"),
    ]


def test_an_unknown_folder_is_an_error():
    (hit,) = structure_findings([Structure("3Dircadb1.20", "pituitary", "unknown", "", "", 3)])
    assert (hit.severity, hit.value) == ("error", "folder pituitary")


@given(st.integers(0, 300), st.integers(0, 120))
def test_grave_cases_are_pictured_first_and_the_others_evenly(others, grave):
    cases = [("amos", f"{number:03d}") for number in range(others + grave)]
    worst = {key: [finding(*key, "liver", "volume", "", "")] for key in cases[:grave]}
    noted = {key: [finding(*key, "", "spacing", "", "")] for key in cases[grave:]}
    shown = pictured(cases, worst | noted)
    assert len(shown) == len(set(shown)) == min(len(cases), CASES * SHEETS)
    assert shown[: min(grave, CASES * SHEETS)] == cases[:grave][: CASES * SHEETS]
    if grave == 0 and others:
        assert shown[0] == cases[0]
        gaps = np.diff([cases.index(key) for key in shown])
        assert not gaps.size or gaps.max() - gaps.min() <= 1


def test_a_picture_hangs_the_patients_right_on_the_left_and_the_head_on_top(clean):
    axial = picture(clean, AXIAL, 42)
    liver = np.argwhere(mask(axial.labels, "liver")).mean(axis=0)
    spine = np.argwhere((axial.image == axial.image.max()) & (axial.labels == 0)).mean(axis=0)
    assert liver[1] < axial.image.shape[1] / 2
    assert spine[0] > axial.image.shape[0] / 2
    coronal = picture(clean, CORONAL, fullest_slice(clean.image, clean.labels, CORONAL))
    assert coronal.aspect == pytest.approx(5 / 4)
    liver, bladder = (np.argwhere(mask(coronal.labels, name)).mean(axis=0)[0] for name in ("liver", "bladder"))
    assert liver < bladder
    assert axial.image.shape == (64 + 4, 84 + 4)  # the body of 260 x 340 mm and 10 mm of air, in steps of 4 mm


def test_an_outline_runs_around_the_pixels():
    inside = np.zeros((5, 6), bool)
    inside[1:4, 2:5] = True
    inside[2, 3] = False
    path = outline(inside)
    segments = {tuple(map(tuple, segment)) for segment in path.vertices.reshape(-1, 2, 2).tolist()}
    assert len(segments) == 4 * 3 + 4
    assert ((1.5, 0.5), (1.5, 1.5)) in segments
    assert ((2.5, 1.5), (3.5, 1.5)) in segments
    whole = outline(np.ones((2, 2), bool)).vertices
    assert (whole.min(), whole.max(), len(whole)) == (-0.5, 1.5, 16)


def test_a_tile_shows_the_target_at_fault(clean):
    at_fault = [finding("amos", "p", "bladder", "volume", "", "")]
    shown = tile(clean, at_fault)
    assert shown.remark == "volume bladder"
    assert mask(shown.pictures[0].labels, "bladder").any()
    assert not mask(tile(clean, []).pictures[0].labels, "bladder").any()


def test_many_cases_go_on_sheets_of_24(clean):
    one = tile(clean, [])
    titles = [figure.texts[-1].get_text() for figure in sheets([replace(one)] * 25, "AMOS")]
    assert titles == ["AMOS (sheet 1 of 2)", "AMOS (sheet 2 of 2)"]


def test_the_legend_names_what_is_shown(clean):
    figure = sheet([tile(clean, [])], "AMOS", across=1, picture_inch=2.5)
    union = np.bitwise_or.reduce([np.bitwise_or.reduce(one.labels, axis=None) for one in tile(clean, []).pictures])
    (legend,) = figure.legends
    assert [union & bits([text.get_text()]) != 0 for text in legend.get_texts()] == [True] * len(legend.get_texts())
    assert "liver" in [text.get_text() for text in legend.get_texts()]


def test_a_finding_has_the_severity_of_its_kind():
    assert finding("amos", "p", "", "mirrored", "a", "b") == Finding(
        "amos", "p", "", "mirrored", "warning", "a", "b", finding("amos", "q", "", "mirrored", "", "").action
    )
