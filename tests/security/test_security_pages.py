"""Pages that hold strings of strangers run no script of theirs: proved in Chromium, and by the pages' source."""

import json

import pandas as pd
import pytest

from universal_diffusion.evaluation.report.page import page
from universal_diffusion.viewer.page import write_page

NAUGHTY = (
    "</script><img src=x onerror='window.hurt=1'><script>window.hurt=1</script>\"'>${hurt}<svg onload=window.hurt=1>"
)
TAGS = ("<img src=x", "<svg onload", "<script>window.hurt")


@pytest.fixture
def naughty_result(result):
    """A result in which everything that a stranger can write is naughty, the name of the CT too."""
    report = json.loads((result / "segmentation.json").read_text())
    name = NAUGHTY.replace("/", "∕") + ".nii.gz"
    (result / "ct.nii.gz").rename(result / name)
    report["ct"]["path"] = name
    report["ct"]["notes"] = [f"series {NAUGHTY} chosen of 2"]
    report["model"] = {"path": f"models/{NAUGHTY.replace('/', '∕')}", "card": {"cohort": NAUGHTY}}
    report["version"] = report["sampling"]["sampler"] = NAUGHTY
    (result / "segmentation.json").write_text(json.dumps(report))
    return result


def test_the_viewer_runs_nothing_of_what_it_shows(browser, naughty_result):
    written = write_page(naughty_result)
    assert not any(tag in written.read_text(encoding="utf-8") for tag in TAGS)
    browser.open(written)
    assert browser.value("window.hurt") is None
    assert browser.value("document.querySelectorAll('img, svg').length") == 0
    assert NAUGHTY in browser.value("document.getElementById('made').textContent")  # shown as it is
    assert all(url.startswith(("file:", "data:", "blob:")) for url in browser.requests)


def test_the_report_runs_nothing_of_what_it_shows(browser, results):
    """Cohort, study, archives' notes, machine, and every cell of every table that is a text."""
    for path in [*results.rglob("*.csv")]:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column in ("reason", "note", "finding", "label", "quote", "claim"):
            if column in frame:
                frame[column] = NAUGHTY
        frame.to_csv(path, index=False)
    for path in results.rglob("*.md"):
        path.write_text(
            path.read_text(encoding="utf-8").replace("A caption.", f"A caption {NAUGHTY}."), encoding="utf-8"
        )
    record = json.loads((results / "provenance.json").read_text())
    record |= {"study": NAUGHTY}
    for archive in record["archives"].values():
        archive |= {"note": NAUGHTY, "files": [{"name": NAUGHTY}]}
    (results / "provenance.json").write_text(json.dumps(record))
    machine = json.loads((results / "machine.json").read_text()) | {"processor": NAUGHTY, "system": NAUGHTY}
    (results / "machine.json").write_text(json.dumps(machine))
    html = page(results, results / "cases", NAUGHTY)
    assert not any(tag in html for tag in TAGS)
    (results / "report.html").write_text(html, encoding="utf-8")
    browser.call("Page.navigate", url=(results / "report.html").as_uri())
    while browser.value("document.readyState") != "complete":
        pass
    assert browser.value("window.hurt") is None
    assert NAUGHTY in browser.value("document.body.textContent")
    assert browser.value("[...document.images].every((one) => one.src.startsWith('data:'))")


def test_what_a_page_may_load_is_said_in_it(results, result):
    """So that even a string that slipped through could reach no other machine."""
    for html in (page(results, results / "cases", "c"), write_page(result).read_text(encoding="utf-8")):
        assert "Content-Security-Policy" in html
        assert "default-src 'none'" in html
