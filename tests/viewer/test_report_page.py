"""The study's page: what it takes from artefacts, and how it stands in headless Chromium at desktop and phone width."""

import itertools
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.report.contents import SECTIONS
from universal_diffusion.evaluation.report.page import page
from universal_diffusion.evaluation.report.printed import read_printed
from universal_diffusion.evaluation.scoring.cases import COLUMNS, UNCERTAINTY, write_cases

ITEMS = [item for section in SECTIONS for item in section.items]
TEXT = st.text(st.sampled_from("ab 1.5|%–<&>\"'"), min_size=1).map(str.strip).filter(bool)
NAUGHTY = "<script>alert(1)</script>"
WIDE = pd.DataFrame({f"a heading of column {n}": [f"{n} [{n}.1, {n}.9]", NAUGHTY] for n in range(25)})


def printed_table(frame: pd.DataFrame, marks: pd.DataFrame | None = None) -> tables.Printed:
    marks = tables.unmarked(frame) if marks is None else marks
    return tables.Printed(frame, marks, "A caption. Measured on: two balls.", ("a note", NAUGHTY), "tab:x")


@pytest.fixture
def results(tmp_path) -> Path:
    """A study's folder with every artefact that the page shows, small."""
    folder = tmp_path / "results/small"
    for item in ITEMS:
        path = folder / item.file
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            path.write_text(tables.markdown(printed_table(WIDE)), encoding="utf-8")
        elif path.suffix == ".csv":
            pd.DataFrame({column: [NAUGHTY, ""] for column, _ in item.columns}).to_csv(path, index=False)
        else:
            Image.fromarray(np.full((900, 1400, 3), 90, np.uint8)).save(path)
    scored = [("amos", "one", 0.9, "liver"), ("amos", "one", 0.1, "spleen"), ("word", "a b#1", 0.3, "liver")]
    rows = [
        dict.fromkeys(COLUMNS, 0.5) | dict.fromkeys(UNCERTAINTY, 0.1) | names
        for names in (
            {
                **{"system": "universal_diffusion", "variant": "mask_clip", "dataset": source, "source": source},
                **{"case": case, "part": "validation", "target": target, "outcome": "scored", "dice": dice},
            }
            for source, case, dice, target in scored
        )
    ]
    (folder / "scores").mkdir()
    write_cases(folder / "scores/cases.csv", pd.DataFrame(rows))
    (folder / "splits.csv").write_text(
        "source,dataset,case,group,part,reason\namos,amos,one,p1,validation,\nword,word,a b#1,p2,validation,\n"
    )
    measured = {"origin": ["measured here"] * 2, "label": ["Mask, CLIP", NAUGHTY], "column": ["average"] * 2}
    pd.DataFrame({**measured, "value": [0.5, 0.75], "n": [5, 5]}).to_csv(folder / "tables/table3.csv", index=False)
    targets = {"target": ["liver", "spleen"], "system": ["mask_clip"] * 2, "dice": [0.9, 0.01], "n": [2, 1]}
    pd.DataFrame(targets).to_csv(folder / "tables/targets.csv", index=False)
    verdicts = ["supported", "not testable on this cohort", "not testable on this cohort"]
    pd.DataFrame({"verdict": verdicts, "reason": ["", "few", "few"]}).to_csv(folder / "claims.csv", index=False)
    (folder / "benchmarks/segment").mkdir(parents=True)
    (folder / "benchmarks/segment/1-of-1.tsv").write_text("s\tmax_rss\n12.5\t900.0\n")
    (folder / "benchmarks/claims.tsv").write_text("s\tmax_rss\n2.5\tNA\n")
    archives = {"amos": {"origin": "phantom", "files": [{"name": f"{n}.zip"} for n in range(7)], "note": NAUGHTY}}
    record = {"study": "small", "source_code": {"commit": "abc", "dirty": True}, "archives": archives}
    (folder / "provenance.json").write_text(json.dumps(record))
    machine = {"cores": 2, "processor": "x", "memory_gib": 4, "gpus": [], "system": "Linux"}
    (folder / "machine.json").write_text(json.dumps(machine))
    (folder / "cases").mkdir()
    for name in ("amos-one", "word-a b#1"):
        (folder / f"cases/{name}.html").write_text("<!doctype html>")
    return folder


def made(results: Path) -> str:
    return page(results, results / "cases", "two balls")


@given(st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1, max_size=4), st.data())
def test_a_printed_table_is_read_back(tmp_path_factory, cells, data):
    frame = pd.DataFrame(cells, columns=["x", "y"])
    marks = frame.map(lambda _: data.draw(st.sampled_from(["", "best", "second"])))
    path = tmp_path_factory.mktemp("printed") / "t.md"
    both = [printed_table(frame, marks), replace(printed_table(frame), notes=(), caption="Another.")]
    path.write_text(tables.markdown(*both), encoding="utf-8")
    first, second = read_printed(path)
    assert [[cell.text for cell in row] for row in first.rows] == cells
    assert [[cell.mark for cell in row] for row in first.rows] == marks.to_numpy().tolist()
    assert (first.caption, first.headings, first.notes) == (both[0].caption, ("x", "y"), both[0].notes)
    assert (second.caption, second.notes) == ("Another.", ())


def test_what_was_found_is_told_from_the_tables(results):
    text = re.sub(r"\s+", " ", made(results))
    assert "2 validation and 0 test patients" in text
    assert "75.0 %; Mask, CLIP 50.0 %" in text  # the best first
    assert "best on the liver (90.0 %, n = 2) and stays below 10 % on 1: spleen" in text
    assert "1 supported, 0 not supported, 2 not testable" in text
    assert "few (2)" in text
    assert text.index("word a b#1") < text.index("amos one")  # the worst case first
    assert "<td>all</td><td>2</td><td>15</td><td>900</td>" in text
    assert "0.zip, 1.zip, 2.zip, 3.zip and 3 more" in text
    assert "commit <code>abc</code>, with changes that are in no commit" in text


def test_only_long_tables_and_tall_pictures_lie_in_frames(results):
    assert "rows; scroll" not in made(results)
    columns = next(item.columns for item in ITEMS if item.file == "quality/findings.csv")
    rows = pd.DataFrame({column: ["True"] * 33 for column, _ in columns})
    rows.to_csv(results / "quality/findings.csv", index=False)
    Image.fromarray(np.full((900, 300, 3), 90, np.uint8)).save(results / "figures/overlays.png")
    text = made(results)
    assert text.count("33 rows; scroll within the frame") == 1
    assert text.count('class="tall"') == 1
    assert text.count("<td>yes</td>") == 33 * len(columns)


def test_every_artefact_says_on_what_cohort_it_stands(results):
    text = made(results)
    assert text.count('<p class="from">Cohort: two balls.') == len(ITEMS)
    for item in ITEMS:
        assert f"<code>{item.file}</code>" in text


def test_equal_studies_give_equal_bytes(results):
    assert made(results) == made(results)


def test_no_string_of_the_data_becomes_markup(results):
    assert NAUGHTY not in made(results)
    assert "<script" not in made(results)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.file)
def test_a_missing_artefact_is_named_in_one_line(results, item):
    (results / item.file).unlink()
    with pytest.raises(InputError, match=re.escape(item.file)) as caught:
        made(results)
    assert "\n" not in str(caught.value)


def test_a_missing_case_page_is_named(results):
    (results / "cases/amos-one.html").unlink()
    with pytest.raises(InputError, match=r"amos-one\.html.*case_pages"):
        made(results)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_browser(browser, results, width):
    (results / "report.html").write_text(made(results), encoding="utf-8")
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    browser.call("Page.navigate", url=(results / "report.html").as_uri())
    deadline = time.monotonic() + 60
    while not browser.value("document.readyState === 'complete' && document.images.length > 0"):
        assert time.monotonic() < deadline, "the page is still loading"
        time.sleep(0.05)
    assert browser.value("document.documentElement.scrollWidth") <= width
    drawn = "Promise.all([...document.images].map((one) => one.decode()))"
    assert browser.value(f"{drawn}.then(() => [...document.images].every((one) => one.naturalWidth > 0))")
    assert browser.value("[...document.images].every((one) => one.alt.length > 10)")
    assert browser.value("document.images.length") == sum(item.file.endswith(".png") for item in ITEMS)
    inside = "[...document.querySelectorAll('a[href^=\"#\"]')].every((one) => document.querySelector(one.hash))"
    assert browser.value(inside)
    links = browser.value("[...document.querySelectorAll('a:not([href^=\"#\"])')].map((one) => one.href)")
    assert sorted(links) == sorted(path.as_uri() for path in (results / "cases").iterdir())
    assert all(url.startswith(("file:", "data:")) for url in browser.requests)
    levels = browser.value("[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))")
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
