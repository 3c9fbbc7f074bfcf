"""The workflow for real, on an embedded study made as small as it goes: what it leaves, and what a change reruns."""

import csv
import json
import re
from pathlib import Path

import pytest
import yaml

from universal_diffusion.csv_tables import read_csv
from universal_diffusion.evaluation.tracing.origins import ORIGINS
from universal_diffusion.evaluation.tracing.trace import SCORES, trace

pytestmark = pytest.mark.study

SYSTEMS = ("noise_learnt", "noise_clip", "mask_learnt", "mask_clip", "prior_mask", "segresnet")
ARTEFACTS = [
    *("splits.csv", "leakage.csv", "inventory.csv", "scores/cases.csv"),
    *(
        "claims.csv",
        "claims.md",
        "claims.tex",
        "claims_rows.csv",
        "report.html",
        "provenance.json",
        "machine.json",
        "seal.json",
    ),
    *(f"tables/table{number}.{kind}" for number in (1, 2, 3) for kind in ("csv", "md", "tex")),
    *(
        f"tables/{name}.{kind}"
        for name in ("targets", "comparisons", "uncertainty", "gate", "networks", "cost", "autoencoder_ceiling")
        for kind in ("csv", "md", "tex")
    ),
    *(f"models/{factor}mask_autoencoder/ceiling.csv" for factor in ("", "coarser_")),
    *(f"figures/figure{number}.{kind}" for number in (1, 2) for kind in ("png", "svg")),
    *("figures/phantom.png", "figures/overlays.png", "quality/findings.csv", "quality/ircadb_structures.csv"),
    *(
        f"figures/{name}.{kind}"
        for name in (
            "training",
            "latent_cost",
            "ceilings",
            "distributions",
            "worst",
            "reliability",
            "coverage",
            "sampling",
            "sampling_seconds",
        )
        for kind in ("png", "svg")
    ),
    *(f"tables/{name}.{kind}" for name in ("sampling", "sampling_seconds") for kind in ("csv", "md", "tex")),
    *(
        f"models/{model}/{name}"
        for model in (*SYSTEMS, "mask_autoencoder", "coarser_mask_autoencoder", "image_autoencoder")
        for name in ("card.json", "README.md")
    ),
]


SCORED_BY = {  # columns that tell a row of a table of scores from the others
    "tables/targets.csv": ("target", "system"),
    "tables/comparisons.csv": ("cohort", "measure", "first", "second"),
}
VALUE = {"tables/comparisons.csv": ["p_holm"], "tables/targets.csv": ["n"]}


@pytest.fixture(scope="module")
def study(smallest_study):
    study = smallest_study()
    run = study.run()
    assert run.returncode == 0, run.stderr[-4000:]
    return study


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_run_leaves_every_artefact(study, artefact):
    assert (study.results / artefact).stat().st_size > 0


def test_scores_hold_every_system_and_the_test_cohort(study):
    rows = study.rows("scores/cases.csv")
    assert list(rows[0])[:8] == ["system", "variant", "dataset", "source", "case", "part", "target", "outcome"]
    parts = {(row["dataset"], row["case"]): row["part"] for row in study.rows("splits.csv")}
    assert {parts[row["dataset"], row["case"]] for row in rows} <= {"validation", "test"}
    test_cases = {case for (_, case), part in parts.items() if part == "test"}
    scored = {(row["variant"] or row["system"], row["case"]) for row in rows if row["dataset"] == "ircadb"}
    assert scored >= {(system, case) for system in SYSTEMS for case in test_cases}


def test_targets_table_has_all_29(study, project_root):
    targets = {row["name"] for row in _read(project_root / "src/universal_diffusion/targets.csv")}
    assert {row["target"] for row in study.rows("tables/targets.csv")} == targets


def test_every_scored_case_has_a_page_with_truth_and_prediction(study):
    scored = {f"{row['source']}-{row['case']}.html" for row in study.rows("scores/cases.csv")}
    pages = {path.name: path.read_text() for path in (study.results / "cases").glob("*.html")}
    assert set(pages) == scored
    ours = [row for row in study.rows("scores/cases.csv") if row["variant"] == "mask_clip"]  # whose answer a page shows
    assert ours
    for row in ours:
        page = pages[f"{row['source']}-{row['case']}.html"]
        facts = json.loads(re.search(r'id="facts">(.*?)</script>', page)[1])
        (shown,) = (one for one in facts["targets"] if one["name"] == row["target"])
        assert shown["truth"]["found"] == (float(row["truth_ml"]) > 0)
        assert shown["found"] == (float(row["predicted_ml"]) > 0)
        dice = f"{100 * float(row['dice']):.1f}" if row["dice"] else "–"
        assert shown["figures"][0] == dice
        assert bool(shown["remark"]) == (row["outcome"] != "scored")


@pytest.mark.parametrize("name", [*SCORES, *ORIGINS])
def test_a_cell_of_every_table_is_made_again_from_its_rows(study, name):
    if name == "tables/leakage_effect.csv":
        pytest.skip("not part of a study: tests/evaluation/test_trace.py makes one")
    table = read_csv(study.results / name, str)
    row = table.iloc[2 * len(table) // 3]
    keys = ORIGINS[name].keys if name in ORIGINS else SCORED_BY.get(name, ("origin", "row", "column"))
    traced = trace(study.results / name, [f"{key}={row[key]}" for key in keys] + VALUE.get(name, []))
    assert traced.sound, [check for check in traced.checks if check.status == "CHANGED"]
    made = {check.what: check.told for check in traced.checks}
    assert made[f"{name}: {traced.column}"].endswith("recomputed")


@pytest.mark.parametrize("table", ["table1", "table2", "table3"])
def test_tables_name_their_cohort(study, table):
    assert "eight synthetic scans" in (study.results / f"tables/{table}.md").read_text()


def test_second_run_does_nothing(study):
    assert study.planned() == {}


def test_touching_a_module_reruns_nothing(study):
    (study.project.folder / "src/universal_diffusion/evaluation/tables.py").touch()
    assert study.planned() == {}


def test_deleting_a_table_rebuilds_that_table_alone(study):
    table = study.results / "tables/table3.csv"
    before = table.read_bytes()
    table.unlink()
    assert study.planned() == {"table3": 1, "report_page": 1, "seal": 1, "all": 1, "total": 4}
    assert study.run().returncode == 0
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    ("module", "reruns"),
    [
        ("evaluation/paper/table1.py", {"table1", "quality", "claims", "report_page", "seal"}),
        (
            "evaluation/tables.py",
            {
                "table1",
                "table2",
                "table3",
                "targets_table",
                "claims",
                "report_page",
                "seal",
                "provenance",
                "case_pages",
                "ceiling",
                "comparisons",
                "cost",
                "networks",
                "figure1",
                "figure2",
                "training_curves",
                "latent_cost",
                "ceilings",
                "distributions",
                "worst",
                "uncertainty_table",
                "reliability",
                "coverage",
                "sampling_sweep",
                "gate_table",
                "model_card",
                "autoencoder_card",
                "quality",
            },
        ),
        ("phantom/montage.py", {"phantom_montage"}),
    ],
)
def test_editing_a_module_reruns_the_rules_that_use_it(study, module, reruns):
    path = study.project.folder / "src/universal_diffusion" / module
    before = path.read_text()
    path.write_text(before + "# an edit\n")
    try:
        assert set(study.planned()) == reruns | {"all", "total"}
    finally:
        path.write_text(before)


def test_changed_setting_reruns_its_users(study):
    path = study.project.folder / "smallest.yaml"
    before = path.read_text()
    configuration = yaml.safe_load(before)
    configuration["segmentation"]["steps"] = 2
    path.write_text(yaml.safe_dump(configuration))
    try:
        planned = study.planned()
        assert planned["segment"] == 4
        assert "denoiser" not in planned
        assert "predict_baseline" not in planned
    finally:
        path.write_text(before)


def test_report_is_packed(study):
    run = study.run("--report", "results/smallest/report.zip")
    assert run.returncode == 0, run.stderr[-4000:]
    assert (study.results / "report.zip").stat().st_size > 100_000


def test_a_second_study_elsewhere_under_another_hash_seed_gives_the_same_bytes(study, smallest_study):
    """As far as the scores of three systems, which together take every way of training, sampling and predicting."""
    other = smallest_study()
    systems = ("mask_clip", "noise_learnt", "segresnet")
    run = other.run("--", *(f"results/smallest/scores/parts/{name}.csv" for name in systems), PYTHONHASHSEED="7")
    assert run.returncode == 0, run.stderr[-4000:]
    made = [path.relative_to(other.results) for kind in ("h5", "safetensors", "csv") for path in _results(other, kind)]
    assert {path.name for path in made} >= {"splits.csv", "weights.safetensors", *(f"{name}.csv" for name in systems)}
    assert [path for path in made if (study.results / path).read_bytes() != (other.results / path).read_bytes()] == []


def _results(study, kind: str) -> list[Path]:
    """Files of a kind that the seed decides: all but the trainings' logs, which tell the time too."""
    return sorted(path for path in study.results.rglob(f"*.{kind}") if path.name != "log.csv")


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
