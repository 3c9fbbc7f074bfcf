"""The step: which cases and targets it predicts, where, and that a case's bytes are its own."""

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import nibabel
import numpy as np
import pytest

from universal_diffusion import settings
from universal_diffusion.preparation.splits import SplitRow, write_splits
from universal_diffusion.segmentation import study
from universal_diffusion.volumes import Grid, Volume, write_volume

SAMPLING = settings.Segmentation(sampler="ddim", steps=2, eta=1.0, ensemble=2, overlap=0.25, batch=16)
CASES = (("ircadb", "1.17", "test"), ("msd03", "liver_2", "train"), ("msd03", "liver_4", "validation"))
KINDS = ("", "_mean", "_variance")
NATIVE = Grid((14, 12, 5), np.array([[-8.0, 0, 0, 50], [0, -8, 0, 40], [0, 0, 4, -10], [0, 0, 0, 1]]))
HARMONISED = Grid((18, 16, 3), np.array([[6.0, 0, 0, -54], [0, 6, 0, -48], [0, 0, 6, -9], [0, 0, 0, 1]]))


@pytest.fixture
def cohort(tmp_path) -> Path:
    rows = []
    for index, (source, case, part) in enumerate(CASES):
        annotated = ("liver", "left kidney") if source == "ircadb" else ("liver",)
        image = np.random.default_rng(index).random(HARMONISED.shape, np.float32)
        labels = np.zeros(HARMONISED.shape, np.uint32), np.zeros(NATIVE.shape, np.uint32)
        volume = Volume(source, case, annotated, case, image, labels[0], HARMONISED, labels[1], NATIVE)
        write_volume(tmp_path / "volumes" / source / f"{case}.h5", volume)
        rows.append(SplitRow(source, source, case, case, part, ""))
    write_splits(tmp_path / "splits.csv", rows)
    return tmp_path


def run(monkeypatch, cohort: Path, model: Path, output: Path, shard: str = "1-of-1") -> dict[str, bytes]:
    volumes = [str(cohort / "volumes" / source) for source in ("ircadb", "msd03")]
    flags = ["--model", str(model), "--volumes", *volumes, "--splits", str(cohort / "splits.csv")]
    flags += ["--settings", json.dumps(asdict(SAMPLING)), "--study-seed", "3", "--shard", shard]
    monkeypatch.setattr(sys, "argv", ["study", *flags, "--threads", "1", "--output", str(output)])
    study.main()
    return {str(path.relative_to(output)): path.read_bytes() for path in sorted(output.rglob("*.nii.gz"))}


def test_validation_and_test_cases_get_their_annotated_targets(monkeypatch, cohort, model, capsys):
    files = run(monkeypatch, cohort, model, cohort / "all")
    names = ("ircadb/1.17/left_kidney", "ircadb/1.17/liver", "msd03/liver_4/liver")
    assert sorted(files) == sorted(f"{name}{end}.nii.gz" for name in names for end in KINDS)
    mask = nibabel.load(cohort / "all" / "ircadb/1.17/liver.nii.gz")
    mean = nibabel.load(cohort / "all" / "ircadb/1.17/liver_mean.nii.gz")
    assert mask.shape == NATIVE.shape
    assert np.allclose(mask.affine, NATIVE.affine)
    assert np.abs((mean.get_fdata() >= 0.5) - mask.get_fdata()).mean() < 0.02  # but for rounding of the map
    assert "case 2/2: msd03 liver_4" in capsys.readouterr().err
    assert not list((cohort / "all").glob(".*"))  # of the unfinished work nothing is left


def test_shards_and_repetition_give_the_same_bytes(monkeypatch, cohort, model):
    whole = run(monkeypatch, cohort, model, cohort / "all")
    shards = [run(monkeypatch, cohort, model, cohort / f"shard{i}", f"{i}-of-2") for i in (1, 2)]
    assert not shards[0].keys() & shards[1].keys()
    assert whole == shards[0] | shards[1] == run(monkeypatch, cohort, model, cohort / "again")


def test_a_shard_that_was_cut_off_finds_its_slabs_again(monkeypatch, cohort, model, capsys):
    def cut_off(store, native, folder, *_, **__):
        if folder.name == "liver_4":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(study, "write_native", cut_off)
        with pytest.raises(KeyboardInterrupt):
            run(patched, cohort, model, cohort / "cut")
    shutil.rmtree(cohort / "cut")  # as Snakemake does with what a failed job leaves
    capsys.readouterr()
    assert run(monkeypatch, cohort, model, cohort / "cut") == run(monkeypatch, cohort, model, cohort / "whole")
    assert capsys.readouterr().err.count("goes on, ") == 2
    assert not list(cohort.glob(".unfinished*"))


def test_a_cases_seed_is_its_own():
    seeds = {study.case_seed(s, source, case) for s in (1, 2) for source in ("amos", "word") for case in ("1", "2")}
    assert len(seeds) == 8
    assert study.case_seed(1, "amos", "1") == study.case_seed(1, "amos", "1")


def test_a_wrong_model_ends_in_one_line(monkeypatch, cohort, capsys):
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, cohort, cohort / "nowhere", cohort / "all")
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
