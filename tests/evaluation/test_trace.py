"""Tracing a cell: all of them trace, and everything that was changed afterwards is found and named."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from universal_diffusion.cli import main
from universal_diffusion.errors import InputError
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.beyond.leakage_effect import effect_rows
from universal_diffusion.evaluation.beyond.targets_table import target_rows
from universal_diffusion.evaluation.paper import table2, table3
from universal_diffusion.evaluation.paper.published import read_published
from universal_diffusion.evaluation.patients import read_patients
from universal_diffusion.evaluation.sampling import sampling_rows
from universal_diffusion.evaluation.scoring.calibration import BINS, COVERAGES
from universal_diffusion.evaluation.scoring.cases import COLUMNS, of_system, read_cases, write_cases
from universal_diffusion.evaluation.tracing.cells import find
from universal_diffusion.evaluation.tracing.origins import ORIGINS
from universal_diffusion.evaluation.tracing.rebuilt import AGAIN
from universal_diffusion.evaluation.tracing.seal import seal
from universal_diffusion.evaluation.tracing.trace import OWN, SCORES, trace
from universal_diffusion.evaluation.uncertainty.cells import cells
from universal_diffusion.evaluation.uncertainty.rows import judged_of
from universal_diffusion.files import sha256, write_json
from universal_diffusion.systems import SYSTEMS, system_of

PUBLISHED = Path(__file__).parents[2] / "config" / "published.csv"
PLACES = [("ircadb", f"i{k}", "test", target) for k in range(3) for target in ("liver", "spleen")]
PLACES += [("msd09", f"s{k}", "validation", "spleen") for k in range(2)]
LIVER = ["--cell", "liver", "Universal Diffusion"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The results folder of a small study: every system's scores, what they were computed from, three tables."""
    folder = tmp_path_factory.mktemp("studies") / "results" / "small"
    rows, generator = [], np.random.default_rng(5)
    for system in SYSTEMS:
        inputs = []
        for source, case, part, target in PLACES:
            named = dict(system=system.family, variant=system.variant, dataset=source, source=source, case=case)
            dice = generator.uniform()
            scores = dict(dice=dice, dice_clip_universal=dice / 2, truth_ml=1.0, predicted_ml=1.0)
            rows.append(named | scores | {"part": part, "target": target, "outcome": "scored"})
            inputs.append((source, case, target, f"predictions/{system.key}/1-of-1/{source}/{case}/{target}.nii.gz"))
            inputs.append((source, case, "", f"volumes/{source}/1-of-1/{case}.h5"))
        for key in ("weights.safetensors", "card.json"):
            _write(folder / "models" / system.key / key, system.key)
        card = {"seed": 7, "weights_sha256": sha256(folder / "models" / system.key / "weights.safetensors")}
        write_json(folder / "models" / system.key / "card.json", card)
        for _, _, _, file in inputs:
            _write(folder / file, file)
        frame = pd.DataFrame(sorted(set(inputs)), columns=["source", "case", "target", "file"])
        tables.write_csv(
            folder / "scores" / "inputs" / f"{system.key}.csv",
            frame.assign(sha256=[sha256(folder / file) for file in frame["file"]]),
        )
    write_cases(folder / "scores" / "cases.csv", pd.DataFrame(rows).reindex(columns=COLUMNS))
    splits = pd.DataFrame([(s, s, c, f"p-{c}", part, "") for s, c, part, _ in PLACES]).drop_duplicates()
    tables.write_csv(
        folder / "splits.csv", splits.set_axis(["source", "dataset", "case", "group", "part", "reason"], axis=1)
    )
    _tables(folder)
    _record(folder)
    _seal(folder)
    return folder


def _seal(folder: Path) -> None:
    write_json(folder / "seal.json", seal(folder, [*folder.glob("tables/*.csv"), *folder.glob("claims*.csv")]))


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _tables(folder: Path) -> None:
    patients = read_patients(folder / "splits.csv")
    cases = patients.named(read_cases(folder / "scores" / "cases.csv"))
    for number, step in ((2, table2), (3, table3)):
        cells = step.benchmark_cells(cases, read_published(PUBLISHED, number), patients, 1)
        tables.write_csv(folder / "tables" / f"table{number}.csv", cells)
    tables.write_csv(folder / "tables" / "targets.csv", target_rows(cases, 1))


def _record(folder: Path, configuration: dict | None = None) -> None:
    _write(folder / "archives" / "ircadb" / "a.zip", "a")
    _write(folder / "archives" / "msd09" / "a.zip", "a")
    file = {"name": "a.zip", "sha256": sha256(folder / "archives" / "ircadb" / "a.zip"), "bytes": 1}
    configuration = configuration or {}
    hashed = [*folder.glob("models/*/*"), *folder.glob("scores/*"), *folder.glob("scores/*/*"), folder / "splits.csv"]
    artefacts = {f"results/small/{path.relative_to(folder)}": sha256(path) for path in hashed if path.is_file()}
    record = {
        "study": "small",
        "cohort": "nobody",
        "seed": 1,
        "configuration": configuration,
        "configuration_sha256": sha256_text(json.dumps(configuration, sort_keys=True)),
        "source_code": {"commit": "c0ffee", "dirty": False},
        "versions": {"python": "3.11"},
        "archives": {source: {"origin": "phantom", "note": "", "files": [file]} for source in ("ircadb", "msd09")},
        "artefacts": artefacts | {"config/published.csv": sha256(PUBLISHED)},
    }
    write_json(folder / "provenance.json", record)


@pytest.fixture
def study(made, tmp_path) -> Path:
    """A copy of the study, at another place, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "elsewhere"))


@pytest.mark.parametrize("name", ["table2", "table3"])
def test_every_cell_of_the_papers_tables_traces(made, name):
    path = made / "tables" / f"{name}.csv"
    for row in pd.read_csv(path).itertuples():
        traced = trace(path, [row.origin, row.row, row.column])
        assert traced.sound, (row, traced.checks)
        assert (traced.cell["row"], traced.cell["column"]) == (row.row, row.column)
        scored = [lines for title, lines in traced.sections.items() if title.startswith("Score rows")]
        assert row.origin == "published" or row.scans == len({line.split(", part")[0] for line in scored[0]})


def test_every_dice_of_the_papers_model_in_all_targets_traces(made):
    rows = pd.read_csv(made / "tables" / "targets.csv")
    for row in rows[(rows["n"] > 0) & (rows["system"] == "mask_clip")].itertuples():
        assert trace(made / "tables" / "targets.csv", [row.target, row.system]).sound


def changed(study: Path, capsys, *arguments: str) -> str:
    """The last line of a trace that finds something changed."""
    with pytest.raises(SystemExit) as ended:
        main(["trace", str(study / "tables" / "table3.csv"), *(arguments or LIVER)])
    assert ended.value.code == 1
    return capsys.readouterr().out.splitlines()[-1].partition("; changed: ")[2]


def test_a_flipped_byte_of_a_prediction_is_named(study, capsys):
    path = study / "predictions/mask_clip/1-of-1/ircadb/i1/liver.nii.gz"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    assert changed(study, capsys) == path.relative_to(study).as_posix()


def test_an_edited_cell_is_named(study, capsys):
    path = study / "tables" / "table3.csv"
    table = pd.read_csv(path)
    here = (table["row"] == "mask_clip") & (table["column"] == "liver@ircadb") & (table["origin"] == "measured here")
    table.loc[here, "value"] += 0.01
    tables.write_csv(path, table)
    assert changed(study, capsys) == "tables/table3.csv, tables/table3.csv: value"


def test_an_edited_ceiling_is_named(study, capsys):
    rows = pd.DataFrame([(4, "msd09", "s0", "spleen", 0.9, 10), (4, "msd09", "s1", "spleen", 0.7, 30)])
    rows.columns = ["factor", "source", "case", "target", "dice", "truth_voxels"]
    tables.write_csv(study / "models" / "mask_autoencoder" / "ceiling.csv", rows)
    row = dict(target="spleen", factor=4, n=2, dice_mean=0.8, dice_min=0.7, truth_voxels=40)
    path = study / "tables" / "autoencoder_ceiling.csv"
    arguments = ["trace", str(path), "--cell", "spleen", "4", "dice_mean"]
    tables.write_csv(path, pd.DataFrame([row]))
    main(arguments)
    assert "dice_mean: 0.8, recomputed" in capsys.readouterr().out
    tables.write_csv(path, pd.DataFrame([row | {"dice_mean": 0.9}]))
    with pytest.raises(SystemExit):
        main(arguments)
    assert capsys.readouterr().out.endswith("; changed: tables/autoencoder_ceiling.csv: dice_mean\n")


OTHERS = {
    "tables/table1.csv": {"dataset": "msd", "cases": "3"},
    "tables/uncertainty.csv": {"origin": "measured here", "row": "mask_clip", "column": "ece", "value": "0.1"},
    "tables/sampling.csv": {"mode": "gate", "ensemble": "2", "steps": "1", "dice": "0.4"},
    "tables/sampling_seconds.csv": {"mode": "gate", "ensemble": "2", "steps": "1", "dice": "0.4"},
    "claims.csv": {"claim": "better", "measured": "3.5"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_cell_whose_rows_are_not_here_is_not_recomputed_and_its_seal_tells_an_edit(study, capsys, name):
    tables.write_csv(study / name, pd.DataFrame([OTHERS[name]]))
    tables.write_csv(study / "claims_rows.csv", CLAIMED)
    _seal(study)
    key, value = list(OTHERS[name].values())[-2:]
    main(["trace", str(study / name), "--cell", key])
    told = capsys.readouterr().out
    assert f"verified        {name}: sha256" in told
    assert told.splitlines()[-1].endswith("1 not recomputed; nothing changed")
    tables.write_csv(study / name, pd.DataFrame([OTHERS[name] | {list(OTHERS[name])[-1]: value + "9"}]))
    with pytest.raises(SystemExit) as ended:
        main(["trace", str(study / name), "--cell", key])
    assert ended.value.code == 1
    assert capsys.readouterr().out.endswith(f"; changed: {name}\n")


def edited(path: Path, *names: str) -> list[str]:
    """What a trace finds changed once the first number of the cell's row is another; before, it finds nothing."""
    assert trace(path, names).sound
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    row, column = find(path, names).row, find(path, names).column
    table.loc[(table == pd.Series(row)).all(axis=1), column] = "7.5"
    table.to_csv(path, index=False)
    return [check.what for check in trace(path, names).checks if check.status == "CHANGED"]


def test_an_edited_cell_of_the_sampling_tables_is_named(study):
    rows = [
        (mode, 2, steps, "ircadb", case, "liver", 0.1 * steps, 8, 1.5, 0.25 * steps)
        for mode in ("no gate", "gate")
        for steps in (1, 2)
        for case in ("i0", "i1")
    ]
    rows = pd.DataFrame(rows, columns=[*sampling_rows.FOUND, "seconds"])
    paths = study / "scores/sampling.csv", study / "scores/sampling_seconds.csv"
    sampling_rows.write_rows(rows, *paths)
    for name, table in (
        ("sampling", sampling_rows.read_found(paths[0])),
        ("sampling_seconds", sampling_rows.read_timed(*paths)),
    ):
        path = study / f"tables/{name}.csv"
        tables.write_csv(path, sampling_rows.summary(table))
        assert edited(path, "mode=gate", "steps=2") == [f"tables/{name}.csv: dice"]
        sections = trace(path, ["mode=gate", "steps=2"]).sections
        assert [len(sections[f"scores/{name}.csv"]), sections[f"scores/{name}.csv"][0][:9]] == [2, "mode=gate"]


def test_an_edited_cell_of_the_uncertainty_table_is_named(study):
    patients, scores = read_patients(study / "splits.csv"), read_cases(study / "scores/cases.csv")
    generator = np.random.default_rng(2)
    scores["uncertainty"] = scores["ece"] = scores["brier"] = generator.uniform(size=len(scores))
    write_cases(study / "scores/cases.csv", scores)
    masks = pd.DataFrame(PLACES, columns=["source", "case", "part", "target"])
    bins = masks.merge(pd.DataFrame({"bin": range(BINS)}), how="cross").assign(voxels=4, probability_sum=2, truth_sum=1)
    kept = masks.merge(pd.DataFrame({"coverage": COVERAGES}), how="cross").assign(dice=0.5)
    places = [study / f"scores/{kind}/mask_clip.csv" for kind in ("reliability", "coverage")]
    tables.write_csv(places[0], bins)
    tables.write_csv(places[1], kept)
    judged = judged_of(system_of("mask_clip"), read_cases(study / "scores/cases.csv"), patients, *places)
    _record(study)
    path = study / "tables/uncertainty.csv"
    tables.write_csv(path, cells([judged], 1))
    names = ["mask_clip", "column=ece@liver"]
    assert edited(path, *names) == ["tables/uncertainty.csv: value"]
    (title,) = [key for key in trace(path, names).sections if key.startswith("Score rows")]
    assert title == "Score rows of mask_clip (3 of scores/cases.csv, measure ece)"
    assert len(trace(path, names).sections["scores/reliability/mask_clip.csv"]) == 3 * BINS


def test_an_edited_cell_of_the_leakage_table_is_named(study):
    copied = pd.read_csv(study / "splits.csv", dtype=str, keep_default_na=False)
    copied.loc[len(copied)] = ["msd03", "msd03", "x", "p-i0", "excluded", ""]
    tables.write_csv(study / "splits.csv", copied)
    clip = system_of("mask_clip")
    dropped = of_system(read_cases(study / "scores/cases.csv"), clip)
    shutil.copytree(study / "models/mask_clip", study / "counterpart/models/mask_clip")
    sides = {"": dropped, "counterpart/": dropped.assign(dice=dropped["dice"] / 2)}
    for branch, scores in sides.items():
        write_cases(study / f"{branch}scores/parts/mask_clip.csv", scores)
    inputs = pd.read_csv(study / "scores/inputs/mask_clip.csv")
    inputs["file"] = inputs["file"].where(inputs["target"].notna(), "../" + inputs["file"])
    tables.write_csv(study / "counterpart/scores/inputs/mask_clip.csv", inputs)
    for file in inputs["file"].unique():
        _write(study / "counterpart" / file, file.removeprefix("../"))
    _record(study, {"leakage": "drop"})
    path = study / "tables/leakage_effect.csv"
    tables.write_csv(path, effect_rows(*sides.values(), read_patients(study / "splits.csv"), 1))
    names = ["patients=leaked", "liver", "difference"]
    assert edited(path, *names) == ["tables/leakage_effect.csv: difference"]
    looked = {check.what for check in trace(path, names).checks}
    prediction = "predictions/mask_clip/1-of-1/ircadb/i0/liver.nii.gz"
    assert looked >= {prediction, f"counterpart/{prediction}", "counterpart/models/mask_clip/weights.safetensors"}
    assert f"counterpart/{prediction.replace('i0', 'i1')}" not in looked
    prediction = study / "counterpart" / prediction
    prediction.write_text("other")
    changed_ = [check.what for check in trace(path, names).checks if check.status == "CHANGED"]
    assert f"counterpart/{prediction.relative_to(study / 'counterpart')}" in changed_


def test_every_table_of_a_study_traces_and_the_page_says_to_what(project_root):
    """No rule may write a table that `trace` does not take, and none may be missing from the documentation."""
    rules = "".join(path.read_text() for path in sorted((project_root / "workflow/rules").glob("*.smk")))
    written = set(re.findall(r'"<results>/((?:tables/.+|claims)\.csv)"', rules))
    written = {name.replace("{source}", "<source>") for name in written}
    listed = re.findall(r"^\| `(.+?\.csv)` \|", (project_root / "docs/trace.md").read_text(), re.MULTILINE)
    assert set(listed) == written == {*SCORES, *ORIGINS, f"{OWN}<source>.csv"}
    assert set(AGAIN) == set(ORIGINS)
    assert len(listed) == len(set(listed))


CLAIMED = pd.DataFrame(
    [
        ("better", "universal_diffusion", "mask_clip", "ircadb", "i0", "liver", "scores/cases.csv", "dice"),
        ("other", "universal_diffusion", "mask_clip", "ircadb", "i1", "liver", "scores/cases.csv", "dice"),
    ],
    columns=["claim", "system", "variant", "source", "case", "target", "table", "column"],
)


def test_a_claim_traces_to_the_score_rows_that_it_names_and_to_their_predictions(study):
    tables.write_csv(study / "claims.csv", pd.DataFrame([OTHERS["claims.csv"]]))
    tables.write_csv(study / "claims_rows.csv", CLAIMED)
    traced = trace(study / "claims.csv", ["better"])
    (line,) = traced.sections["Score rows of mask_clip (1 of scores/cases.csv, measure dice)"]
    assert "case=i0" in line
    assert "target=liver" in line
    files = {check.what for check in traced.checks if check.what.startswith("predictions")}
    assert files == {"predictions/mask_clip/1-of-1/ircadb/i0/liver.nii.gz"}


def test_a_study_without_a_seal_says_that_edits_may_be_missed(study, capsys):
    (study / "seal.json").unlink()
    main(["trace", str(study / "tables" / "table3.csv"), *LIVER])
    assert "not here        seal.json: nothing says whether this table was edited" in capsys.readouterr().out


def test_the_other_cells_of_the_same_names_are_listed(made):
    traced = trace(made / "tables" / "table3.csv", ["Avg", "Universal Diffusion"])
    assert (traced.cell["column"], traced.cell["origin"]) == ("average", "measured here")
    told = traced.sections["Other cells of these names"]
    assert {line.split(":")[0] for line in told} >= {"published", "measured here, clip-universal"}


def test_a_path_from_elsewhere_and_a_read_only_folder_do(study, monkeypatch):
    monkeypatch.chdir(study / "tables")
    for path in sorted(study.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert trace(Path("table3.csv"), LIVER[1:]).sound


@pytest.mark.parametrize("name", ["machine.json", "models/mask_clip/log.csv"])
def test_a_damaged_record_is_told_in_one_line(study, name):
    (study / name).write_text("[")
    with pytest.raises(InputError) as raised:
        trace(study / "tables" / "table3.csv", LIVER[1:])
    assert "\n" not in str(raised.value)


def test_an_edited_case_row_is_named_with_the_values_that_no_longer_follow(study, capsys):
    path = study / "scores" / "cases.csv"
    cases = read_cases(path)
    here = (cases["variant"] == "mask_clip") & (cases["case"] == "i0") & (cases["target"] == "liver")
    cases.loc[here, "dice"] = 1.0
    write_cases(path, cases)
    assert changed(study, capsys).startswith("scores/cases.csv, tables/table3.csv: value")


def test_swapped_weights_are_named_and_disagree_with_their_card(study, capsys):
    shutil.copy(study / "models/mask_learnt/weights.safetensors", study / "models/mask_clip/weights.safetensors")
    told = "models/mask_clip/weights.safetensors, models/mask_clip/card.json: weights_sha256"
    assert changed(study, capsys) == told


def test_a_deleted_prediction_is_said_but_no_error(study, capsys):
    (study / "predictions/mask_clip/1-of-1/ircadb/i1/liver.nii.gz").unlink()
    main(["trace", str(study / "tables" / "table3.csv"), *LIVER])
    told = capsys.readouterr().out
    assert "not here        predictions/mask_clip/1-of-1/ircadb/i1/liver.nii.gz" in told
    assert told.splitlines()[-1].endswith("1 not here; nothing changed")


def test_json_says_the_same(made, capsys):
    main(["trace", str(made / "tables" / "table3.csv"), *LIVER, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["sound"]
    assert {check["status"] for check in told["checks"]} == {"verified"}


@pytest.mark.parametrize(
    ("names", "told"),
    [(["livre", "mask_clip"], "nearest: liver"), (["liver"], "6 cells"), (["liver", "nobody"], "has no 'nobody'")],
)
def test_names_of_no_cell_or_of_several_are_told_in_one_line(made, names, told):
    with pytest.raises(InputError, match=told) as raised:
        trace(made / "tables" / "table3.csv", names)
    assert "\n" not in str(raised.value)


def test_a_table_of_no_study_and_a_damaged_one_are_told(study, tmp_path):
    _write(tmp_path / "t.csv", "a\n1\n")
    with pytest.raises(InputError, match="not a table of a study"):
        trace(tmp_path / "t.csv", ["a"])
    (study / "tables" / "table3.csv").write_text('a,b\n"1')
    with pytest.raises(InputError, match="is no table"):
        trace(study / "tables" / "table3.csv", ["a"])


def test_the_documented_example_has_the_sections_that_the_command_prints(made, capsys):
    page = (Path(__file__).parents[2] / "docs" / "trace.md").read_text(encoding="utf-8")
    main(["trace", str(made / "tables" / "table3.csv"), *LIVER])
    titles = [line.split(" (")[0] for line in capsys.readouterr().out.splitlines() if line[:1].isupper()]
    assert titles
    assert all(f"\n{title}" in page for title in titles)
