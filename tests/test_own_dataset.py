"""An own dataset from its folder to training patches, through the command line, the steps and the real workflow."""

import json
import re
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml

from universal_diffusion import cli, settings
from universal_diffusion.datasets.own.description import read
from universal_diffusion.phantom.archives.nifti import nifti_gz
from universal_diffusion.phantom.patient import make_patient
from universal_diffusion.phantom.scanner import Protocol, scan
from universal_diffusion.preparation.patches import PatchSampler
from universal_diffusion.preparation.splits import read_splits, volumes_of
from universal_diffusion.settings import Patches, Preparation, Source
from universal_diffusion.targets import mask

ROOT = Path(__file__).parents[1]
CODES = {1: ["liver"], 2: ["liver tumor"], 3: ["right kidney", "left kidney"], 7: ["spleen"]}
DESCRIPTION = """\
title: CTs of my hospital
licence: not public
labels:
  1: liver
  2: [liver tumor, liver]
  3: kidneys
not_a_target: [7]
"""
PREPARATION = Preparation((10.0, 10.0, 12.0), (-175.0, 250.0), 32)


def write_dataset(folder: Path, patients: list[str], mirrored: bool = False) -> Path:
    """Phantom patients as NIfTI pairs with a description."""
    for name in patients:
        body = make_patient(1, name, frozenset({"liver tumor"}))
        taken = scan(body, Protocol(48, 420.0, 10.0, "abdomen", "portal"), 1)
        codes = np.zeros(taken.image.shape, np.uint8)
        for code, targets in CODES.items():
            for target in targets:
                codes[mask(taken.labels, target)] = code
        for part, array in (("images", taken.image), ("masks", codes)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            flip = slice(None, None, -1 if mirrored else 1)
            (folder / part / f"{name}.nii.gz").write_bytes(nifti_gz(np.ascontiguousarray(array[flip]), taken.affine))
    (folder / "dataset.yaml").write_text(DESCRIPTION)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two own datasets, which share a patient."""
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder / "my data", ["ann", "bob", "cat"])
    write_dataset(folder / "other", ["cat", "dan"])
    return folder


def run(step: str, *arguments: object) -> None:
    """A step's `main`, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [step, *map(str, arguments)])
        import_module(f"universal_diffusion.{step}").main()


def test_two_own_datasets_travel_from_their_folders_to_patches_and_table_1(data, tmp_path):
    sources = {"my_hospital": Source("local", "train", "my data"), "clinic": Source("local", "test", "other")}
    volumes = [tmp_path / "volumes" / name for name in sources]
    for (name, source), output in zip(sources.items(), volumes, strict=True):
        archives, native = tmp_path / "archives" / name, tmp_path / "native" / name
        given = ("--settings", json.dumps(asdict(source)), "--data-root", data)
        run("preparation.acquire", "--source", name, *given, "--output", archives)
        run("preparation.unpack", "--source", name, "--archives", archives, "--output", native)
        given = ("--settings", json.dumps(asdict(PREPARATION)), "--shard", "1-of-1")
        run("preparation.harmonise", "--source", name, "--native", native, *given, "--output", output)
    inventory, splits = tmp_path / "inventory.csv", tmp_path / "splits.csv"
    run("preparation.inventory", "--volumes", *volumes, "--output-csv", inventory)
    table = pd.read_csv(inventory)
    assert table.dataset.tolist() == ["clinic"] * 2 + ["my_hospital"] * 3
    assert set(table.annotated) == {"right kidney|left kidney|liver|liver tumor"}
    assert np.allclose(table.liver_ml, table.liver_native_ml, rtol=0.05)
    assert table.spleen_ml.isna().all()

    split_and_check(tmp_path, inventory, splits, volumes)
    training = volumes_of(volumes, read_splits(splits), {"train"})
    batch = PatchSampler(training, Patches(2, 0.7), 32, 1).draw(0, 8)
    assert {origin.source for origin in batch.origins} == {"my_hospital"}
    assert set(batch.target_ids) <= {2, 3, 6, 25}

    outputs = [f for kind in ("csv", "md", "tex") for f in (f"--output-{kind}", tmp_path / f"table1.{kind}")]
    given = ("--inventory", inventory, "--splits", splits, "--published", ROOT / "config/published.csv")
    own = [tmp_path / "native" / name for name in sources]
    run("evaluation.paper.table1", *given, "--own", *own, "--cohort", "phantoms", *outputs)
    rows = pd.read_csv(tmp_path / "table1.csv").set_index("dataset")
    mine = rows.loc["my_hospital"]
    assert (mine.title, mine.licence, mine.cases, mine.structures) == ("CTs of my hospital", "not public", 3, 4)
    assert np.isnan(mine.public_cases)
    assert (mine.train, mine.validation, mine.test, mine.excluded) == (1, 1, 0, 1)
    assert rows.loc["clinic", "test"] == 2
    assert "own dataset" in mine.reason


def split_and_check(folder: Path, inventory: Path, splits: Path, volumes: list[Path]) -> None:
    """The split by its own command line; the shared patient is found by its voxels and never trained on."""
    run("preparation.repeats", "--volumes", *volumes, "--output", folder / "repeats.csv")
    given = ["--inventory", inventory, "--repeats", folder / "repeats.csv", "--tests", "clinic", "--leakage", "drop"]
    given += ["--validation-fraction", 0.3, "--study-seed", 1]
    run("preparation.split", *given, "--output-splits", splits, "--output-leakage", folder / "leakage.csv")
    parts = {(row.source, row.case): row.part for row in read_splits(splits)}
    assert parts["clinic", "cat"] == parts["clinic", "dan"] == "test"
    assert parts["my_hospital", "cat"] == "excluded"
    assert {parts["my_hospital", "ann"], parts["my_hospital", "bob"]} == {"train", "validation"}


@pytest.fixture(scope="module")
def project(project_copy, data):
    """The project with a small study of own datasets, `own.yaml`."""
    project = project_copy()
    sources = {"my_hospital": {"origin": "local", "role": "train", "path": "my data"}}
    (project.folder / "own.yaml").write_text(yaml.safe_dump(configuration(data, sources)))
    return project


def configuration(data: Path, sources: dict) -> dict:
    """The embedded study with own datasets in place of the phantom's."""
    changed = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    del changed["phantom"]
    clinic = {"clinic": {"origin": "local", "role": "test", "path": "other"}}
    return changed | {"study": "own", "data_root": str(data), "sources": sources | clinic}


def planned(project, *targets: str) -> dict[str, int]:
    dry = project.snakemake("-n", "--configfile", "own.yaml", *(["--", *targets] if targets else []))
    assert dry.returncode == 0, dry.stdout + dry.stderr
    return {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", dry.stdout + dry.stderr, re.MULTILINE)}


def test_the_workflow_plans_a_study_of_own_datasets_and_notices_a_change(project, data):
    whole = planned(project)
    assert (whole["acquire"], whole["unpack"], whole["segment"], whole["own_table"]) == (2, 2, 4, 2)
    native = "results/own/native/my_hospital"
    made = project.snakemake("--cores", "1", "--configfile", "own.yaml", "--", native)
    assert made.returncode == 0, made.stderr
    assert (project.folder / native / "images/ann.nii.gz").resolve() == data / "my data/images/ann.nii.gz"
    assert planned(project, native) == {}
    for name in ("dataset.yaml", "masks/bob.nii.gz"):
        path = data / "my data" / name
        before = path.read_bytes()
        path.write_bytes(before + b"\n")
        assert planned(project, native)["acquire"] == 1, name
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("source", "description", "told"),
    [
        (
            {"my_hospital": {}},
            "labels: {1: livr}",
            r"my data/dataset\.yaml, labels, 1: names 'livr', .* nearest: liver",
        ),
        ({"my_hospital": {}}, "label: {1: liver}", r"my data/dataset\.yaml, 'label': is not .*; did you mean labels\?"),
        ({"My_Hospital": {}}, DESCRIPTION, r"sources\.My_Hospital: is no name for a source; take a letter"),
        ({"msd": {}}, DESCRIPTION, r"sources\.msd: is the name of a dataset of the catalogue; take another"),
        (
            {"my_hospital": {"path": "masks"}},
            None,
            r"not in the .*, and .*masks holds no dataset\.yaml; take one of msd",
        ),
        ({"my_hospital": {"origin": "download"}}, None, r"sources\.my_hospital: is not in the dataset catalogue; take"),
        ({"my_hospital": {"path": None}}, None, r"sources\.my_hospital\.path: is missing"),
    ],
)
def test_the_workflow_refuses_a_wrong_own_dataset_with_one_line(monkeypatch, data, source, description, told):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = data / "my data/dataset.yaml"
    path.write_text(description or DESCRIPTION)
    given = {name: {"origin": "local", "role": "train", "path": "my data"} | keys for name, keys in source.items()}
    names = {"workflow": SimpleNamespace(basedir=str(ROOT)), "config": configuration(data, given)}
    with pytest.raises(SystemExit) as caught:
        exec(compile((ROOT / "workflow/rules/common.smk").read_text(), "common.smk", "exec"), names)
    path.write_text(DESCRIPTION)
    assert re.fullmatch(rf"error: .*{told}.*", str(caught.value))


def test_snakemake_itself_ends_with_that_one_line(project, data):
    path = data / "my data/dataset.yaml"
    path.write_text("label: {1: liver}")
    run = project.snakemake("-n", "--configfile", "own.yaml")
    path.write_text(DESCRIPTION)
    assert run.returncode != 0
    told = [line for line in run.stderr.splitlines() if not line.startswith("Using workflow specific profile")]
    assert len(told) == 1
    assert re.fullmatch(r"error: .*dataset\.yaml, 'label': is not a known key; did you mean labels\?.*", told[0])


def test_check_dataset_tells_cases_volumes_and_sides(data, capsys):
    cli.main(["check-dataset", str(data / "my data")])
    told = capsys.readouterr().out
    assert told.startswith("CTs of my hospital: 3 readable cases\n")
    assert re.search(r"^ann: 48 x 48 x \d+ voxels of 8\.75 x 8\.75 x 10\.00 mm; right kidney \d+", told, re.MULTILINE)
    assert re.search(r"^liver +3 +3 +\d", told, re.MULTILINE)
    assert "0 problems, 0 warnings: ready; " in told


def test_check_dataset_lists_all_that_is_wrong_and_ends_in_status_1(tmp_path, capsys):
    folder = write_dataset(tmp_path / "set", ["eva", "fay"], mirrored=True)
    (folder / "dataset.yaml").write_text("labels: {1: liver, 2: [liver tumor, liver], 7: spleen}\nnot_a_target: [3]")
    for part in ("images", "masks"):
        (folder / part / "eva2.nii.gz").write_bytes((folder / part / "eva.nii.gz").read_bytes())
    cli.main(["check-dataset", str(folder)])
    told = capsys.readouterr().out
    assert told.count("the liver lies to the left of the spleen") == 3
    assert "warning: eva, eva2 are the same scan" in told
    (folder / "dataset.yaml").write_text("labels: {1: liver, 2: [liver tumor, liver]}\nnot_a_target: [7]")
    (folder / "masks/eva2.nii.gz").unlink()
    (folder / "images/x.nii").write_bytes(b"")
    with pytest.raises(SystemExit) as caught:
        cli.main(["check-dataset", str(folder)])
    assert caught.value.code == 1
    told = capsys.readouterr().out
    assert re.findall(r"problem: .*?(\w+\.nii\.gz): (\w+ \w+)", told) == [
        ("eva2.nii.gz", "has no"),
        ("eva.nii.gz", "holds label"),
        ("fay.nii.gz", "holds label"),
    ]
    assert "match neither pattern: images/x.nii (1 NIfTI file)" in told
    with pytest.raises(SystemExit):
        cli.main(["check-dataset", str(tmp_path / "nowhere")])
    assert "1 problem, 0 warnings: correct" in capsys.readouterr().out


def test_check_dataset_finds_a_cropped_copy_as_the_study_does(tmp_path, capsys):
    folder = write_dataset(tmp_path / "set", ["eva", "fay"])
    for part in ("images", "masks"):
        image = nibabel.load(folder / part / "eva.nii.gz")
        nibabel.save(image.slicer[:, :, 3:], folder / part / "eva2.nii.gz")
    cli.main(["check-dataset", str(folder)])
    told = capsys.readouterr().out
    assert "warning: eva, eva2 are the same scan; some are cropped or have other HU" in told
    assert told.count("the same scan") == 1


def blocks(language: str) -> list[str]:
    """The code blocks of the guide in one language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / "docs/own-dataset.md").read_text(), re.MULTILINE | re.DOTALL
    )


def test_the_guide_shows_a_description_and_a_source_that_hold(tmp_path):
    description, source = blocks("yaml")
    (tmp_path / "dataset.yaml").write_text(description)
    assert read(tmp_path).entry("my_hospital").annotated[-2:] == ("kidney cyst", "liver tumor")
    settings.read(settings.Source, yaml.safe_load(source)["sources"]["my_hospital"])


def test_the_guide_runs_word_for_word(project_copy):
    (commands,) = blocks("sh")
    folder = project_copy().folder
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
    run = subprocess.run(["bash", "-euc", commands], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Four synthetic livers: 4 readable cases" in run.stdout
    assert "warning: not used, as they match neither pattern: Task03_Liver/imagesTs" in run.stdout
    assert re.search(r"^acquire +1$", run.stdout + run.stderr, re.MULTILINE)
