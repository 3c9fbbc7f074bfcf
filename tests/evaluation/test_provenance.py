"""Provenance: complete, equal between runs, and silent about the machine."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from universal_diffusion import settings
from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.tracing import provenance
from universal_diffusion.files import sha256

CONFIGURATION = Path(__file__).parents[2] / "config" / "config.yaml"


@pytest.fixture
def study() -> settings.Study:
    """The embedded study."""
    return settings.read(settings.Study, yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8")))


def run(folder: Path, study: settings.Study, monkeypatch) -> dict:
    monkeypatch.chdir(folder)
    origin = folder / "archives" / "word" / "origin.json"
    origin.parent.mkdir(parents=True, exist_ok=True)
    origin.write_text(
        json.dumps({"origin": "phantom", "note": "n", "files": [{"name": "a", "sha256": "b", "bytes": 1}]})
    )
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / "weights").write_text("w")
    flags = ["--artefacts", "models", "archives/word/origin.json", "--origins", "archives/word/origin.json"]
    flags += ["--study", json.dumps(asdict(study)), "--output", "provenance.json", "--output-machine", "machine.json"]
    monkeypatch.setattr(sys, "argv", ["provenance", *flags])
    provenance.main()
    return json.loads((folder / "provenance.json").read_text(encoding="utf-8"))


def test_two_runs_in_two_places_tell_the_same_and_nothing_of_the_machine(study, tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first, second = (run(tmp_path / name, study, monkeypatch) for name in ("one", "two"))
    assert first == second
    text = json.dumps(first)
    assert str(tmp_path) not in text
    assert os.uname().nodename not in text
    assert first["artefacts"]["models/weights"] == sha256(tmp_path / "one" / "models" / "weights")
    assert first["archives"]["word"]["files"][0]["sha256"] == "b"
    assert first["cohort"] == study.cohort
    assert first["versions"]["torch"]
    machine = json.loads((tmp_path / "one" / "machine.json").read_text(encoding="utf-8"))
    assert machine["cores"] == os.cpu_count()


def test_the_configuration_hash_ignores_where_data_lies_and_nothing_else(study):
    assert provenance.configuration_hash(replace(study, data_root="elsewhere")) == provenance.configuration_hash(study)
    assert provenance.configuration_hash(replace(study, seed=study.seed + 1)) != provenance.configuration_hash(study)


def test_commit_and_dirt(tmp_path):
    assert provenance.commit(tmp_path) == {"commit": None, "dirty": None}
    for command in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "m"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    clean = provenance.commit(tmp_path)
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "new").write_text("x")
    assert provenance.commit(tmp_path) == clean | {"dirty": True}


def test_a_missing_artefact_is_named(tmp_path):
    with pytest.raises(InputError, match=r"table9\.csv: is no artefact"):
        provenance.artefact_hashes([tmp_path / "table9.csv"])
