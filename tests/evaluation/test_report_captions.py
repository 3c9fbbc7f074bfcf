"""Every artefact of `snakemake --report` has a caption that is there, a category and a label; no caption is unused."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RULES = ROOT / "workflow" / "rules"
REPORT = r"^( +)(?:\w+=)?report\(\n(.*?)\n\1\)"  # closed at its own indentation, as snakefmt writes it
REPORTED = [
    (rules.name, body)
    for rules in sorted(RULES.glob("*.smk"))
    for _, body in re.findall(REPORT, rules.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
]


def caption(body: str) -> Path:
    return (RULES / re.search(r'caption="([^"]+)"', body)[1]).resolve()


def test_every_reported_artefact_has_a_caption_a_category_and_a_label():
    assert REPORTED
    for rules, body in REPORTED:
        assert caption(body).read_text(encoding="utf-8").strip(), f"{rules}: {body}"
        assert re.search(r'category="[^"]+"', body), f"{rules}: {body}"
        assert re.search(r'labels=\{"[^"]+": \S', body), f"{rules}: {body}"


def test_every_artefact_of_the_rules_was_seen():
    written = sum(len(re.findall(r"\breport\(", path.read_text(encoding="utf-8"))) for path in RULES.glob("*.smk"))
    assert len(REPORTED) == written


def test_no_caption_is_unused():
    overview = ROOT / "workflow" / "report" / "study.rst"
    assert {overview, *(caption(body) for _, body in REPORTED)} == set(overview.parent.glob("*.rst"))
