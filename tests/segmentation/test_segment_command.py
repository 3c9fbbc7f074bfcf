"""`universal-diffusion segment` as a person uses it: one CT, many, again, interrupted, and refused."""

import fcntl
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest

from universal_diffusion import cli
from universal_diffusion.files import sha256, write_json
from universal_diffusion.method.weights import load_card, write_card
from universal_diffusion.segmentation.cases import case_names
from universal_diffusion.segmentation.command import UNFINISHED

AFFINE = np.diag([-5.0, 5.0, 6.0, 1])
QUICK = ("--fast", "--device", "cpu", "--threads", "1", "--targets", "spleen", "liver")


def save_ct(path: Path, depth: int = 6, scale: int = 1) -> Path:
    x, y, _ = np.indices((40, 36, depth))
    body = ((x - 20) / 17) ** 2 + ((y - 18) / 15) ** 2 < 1
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.where(body, 40, -1000).astype(np.int16) // scale, AFFINE), path)
    return path


@pytest.fixture(scope="module")
def ct(tmp_path_factory) -> Path:
    return save_ct(tmp_path_factory.mktemp("ct") / "ct.nii.gz")


def segment(model: Path, given: Path, output: Path, *more: str) -> int:
    """The exit status of the command."""
    try:
        cli.main(["segment", "-i", str(given), "-o", str(output), "--model", str(model), *QUICK, *more])
    except SystemExit as end:
        return end.code
    return 0


def written(folder: Path) -> dict[str, str]:
    """Hashes of all files of a result but its report, which holds timings."""
    return {path.name: sha256(path) for path in folder.iterdir() if path.name != "segmentation.json"}


def test_one_ct_gives_a_table_and_all_files(ct, model, tmp_path, capsys):
    assert segment(model, ct, tmp_path, "-v") == 0
    told = capsys.readouterr()
    report = json.loads((tmp_path / "segmentation.json").read_text())
    header, spleen, liver, cohort, where = told.out.splitlines()
    assert header.split() == ["target", "ml", "±", "sd", "mean", "HU", "uncertainty"]
    assert liver.split()[:2] == ["liver", f"{report['targets']['liver']['volume_ml']:.1f}"]
    assert spleen.startswith("spleen")
    assert cohort == "model trained on: random numbers; for research only, no medical device"
    assert str(tmp_path) in where
    assert "gate, share of windows kept: liver" in told.err
    assert "seconds: export" in told.err
    slugs = [f"{name}{end}.nii.gz" for name in ("liver", "spleen") for end in ("", "_mean", "_variance", "_entropy")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*slugs, "overview.png", "segmentation.json"])


def test_what_is_there_is_not_made_again(ct, model, tmp_path, capsys):
    assert segment(model, ct, tmp_path, "--no-maps") == 0
    first = capsys.readouterr().out
    stamp = (tmp_path / "segmentation.json").stat().st_mtime_ns
    assert segment(model, ct, tmp_path, "--no-maps") == 0
    told = capsys.readouterr()
    assert told.out == first
    assert "holds this very result already" in told.err
    assert (tmp_path / "segmentation.json").stat().st_mtime_ns == stamp
    whole = (tmp_path / "liver.nii.gz").read_bytes()
    (tmp_path / "liver.nii.gz").write_bytes(whole[:-9])
    assert segment(model, ct, tmp_path, "--no-maps") == 0  # a mask is cut off
    assert (tmp_path / "liver.nii.gz").read_bytes() == whole
    for more in (["--overwrite"], ["--seed", "1"]):
        stamp = (tmp_path / "segmentation.json").stat().st_mtime_ns
        assert segment(model, ct, tmp_path, "--no-maps", *more) == 0
        assert (tmp_path / "segmentation.json").stat().st_mtime_ns > stamp
    assert segment(model, ct, tmp_path, "--multilabel", "--no-maps") == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "segmentation.nii.gz",
        "segmentation_labels.txt",
        "segmentation_labels.ctbl",
        "overview.png",
        "segmentation.json",
    }
    assert segment(model, ct, tmp_path, "--multilabel", "--separate", "--no-maps") == 0
    assert {"segmentation.nii.gz", "liver.nii.gz"} <= {path.name for path in tmp_path.iterdir()}
    assert segment(model, ct, tmp_path, "--no-maps") == 0  # fewer files are another result
    assert {path.name for path in tmp_path.iterdir()} == {
        "liver.nii.gz",
        "spleen.nii.gz",
        "overview.png",
        "segmentation.json",
    }


def test_remains_of_a_run_killed_at_its_very_end_are_removed(ct, model, tmp_path, capsys):
    assert segment(model, ct, tmp_path, "--no-maps") == 0
    whole = written(tmp_path)
    identity = json.loads((tmp_path / "segmentation.json").read_text())["identity"]
    write_json(tmp_path / ".writing.json", ["liver.nii.gz"])
    write_json(tmp_path / UNFINISHED / "identity.json", {"identity": identity, "targets": ["spleen", "liver"]})
    assert segment(model, ct, tmp_path, "--no-maps") == 0
    assert "holds this very result already" in capsys.readouterr().err
    assert written(tmp_path) == whole
    write_json(tmp_path / UNFINISHED / "identity.json", {"identity": identity | {"seed": 9}, "targets": ["liver"]})
    assert segment(model, ct, tmp_path, "--no-maps") == 0
    assert (tmp_path / UNFINISHED).exists()  # work of another run


def test_a_second_run_on_one_folder_is_refused(ct, model, tmp_path, capsys):
    cts = save_ct(tmp_path / "cts" / "a.nii").parent
    save_ct(cts / "b.nii")
    for given, locked, code in ((ct, "one", 2), (cts, "many", 2), (cts, "many/b", 1)):
        out = tmp_path / locked
        out.mkdir(exist_ok=True)
        with open(out / ".lock", "w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert segment(model, given, tmp_path / locked.split("/")[0], "--no-maps") == code
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert errors == [f"error: {out}: another run is at work in it; wait for its end, or give another folder"]
        assert [path.name for path in out.iterdir()] == [".lock"]
    assert (tmp_path / "many" / "a" / "segmentation.json").exists()
    assert segment(model, ct, tmp_path / "one", "--no-maps") == 0  # what a killed run leaves locks nothing
    assert not (tmp_path / "one" / ".lock").exists()


def test_a_folder_of_cts_goes_on_after_one_that_fails(model, tmp_path, capsys):
    for name in ("a.nii.gz", "b.nii.gz", "c/ct.nii"):
        save_ct(tmp_path / "cts" / name, scale=1000 if name.startswith("b") else 1)
    assert segment(model, tmp_path / "cts", tmp_path / "out", "--no-maps") == 1
    told = capsys.readouterr()
    assert "[1/3] a" in told.err
    (error,) = [line for line in told.err.splitlines() if line.startswith("error: ")]
    assert "b.nii.gz: has values from" in error
    summary = [line.split() for line in told.out.splitlines()[-5:]]
    assert [(row[0], row[-1]) for row in summary[1:4]] == [("a", "done"), ("b", "FAILED"), ("c", "done")]
    assert " ".join(summary[4]) == f"2 of 3 CTs are in {tmp_path / 'out'}"
    save_ct(tmp_path / "cts" / "b.nii.gz")
    assert segment(model, tmp_path / "cts", tmp_path / "out", "--no-maps") == 0
    summary = [line.split() for line in capsys.readouterr().out.splitlines()[-4:-1]]
    assert [" ".join(row[2:]) for row in summary] == ["was there", "done", "was there"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "b", "c"}
    first, second = (written(tmp_path / "out" / case) for case in "ab")
    assert first.pop("overview.png") != second.pop("overview.png")  # it names the CT
    assert first == second


def test_names_of_cases():
    assert case_names(["a.nii.gz", "b.mha", "dicom"]) == ["a", "b", "dicom"]
    assert case_names(["a.nii.gz", "a.zip", "b.zip"]) == ["a.nii.gz", "a.zip", "b"]


def test_quiet_says_nothing(ct, model, tmp_path, capfd):
    write_json(tmp_path / UNFINISHED / "identity.json", {"identity": "of another run"})
    assert segment(model, ct, tmp_path, "-q") == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--targets", "livr"], "target 'livr': is none of the 29; nearest: liver"),
        (["--targets", "prostate"], "was not annotated in what the model"),
        (["--steps", "101"], "101 sampling steps: expected 1 to 100"),
        (["--warm-start", "50", "--no-gate"], "--warm-start: needs the gate's estimates"),
        (["--warm-start", "50", "--no-gate"], "and --no-gate does without; leave out one of the two"),
        (["-o", "ct.nii/out"], "cannot be read or written (Not a directory)"),
        (["--device", "cuda:77"], "torch sees no GPU"),
        (["-i", "nowhere.nii"], "nowhere.nii: does not exist"),
        (["-o", "ct.nii"], "is a file, expected a folder"),
        (["--model", "nowhere"], "is no model card"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(ct, model, tmp_path, monkeypatch, capsys, more, problem):
    monkeypatch.chdir(save_ct(tmp_path / "ct.nii").parent)
    assert segment(model, ct, tmp_path / "out", *more) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert problem in line


def test_a_wrong_ct_is_told_before_the_model_is_loaded(model, tmp_path, capsys):
    """A model whose card is sound and whose weights are gone: what is told is the CT."""
    broken = shutil.copytree(model, tmp_path / "broken")
    (broken / "weights.safetensors").unlink()
    assert segment(broken, save_ct(tmp_path / "ct.nii", scale=1000), tmp_path / "out") == 2
    assert "has values from" in capsys.readouterr().err
    assert segment(broken, save_ct(tmp_path / "ct.nii"), tmp_path / "out") == 2
    assert "weights" in capsys.readouterr().err


def test_a_batch_can_be_given_and_stands_in_the_report(ct, model, tmp_path):
    assert segment(model, ct, tmp_path, "--no-maps", "--batch", "3") == 0
    report = json.loads((tmp_path / "segmentation.json").read_text())
    assert (report["batch"], report["sampling"]["batch"]) == (3, 3)


def test_a_warm_start_without_a_gate_names_the_cause(ct, model, tmp_path, capsys):
    command = ["segment", "-i", str(ct), "-o", str(tmp_path / "out"), "--device", "cpu", "--warm-start", "50"]
    of_noise = shutil.copytree(model, tmp_path / "noise")
    write_card(of_noise, load_card(of_noise) | {"prediction": "noise"})
    for more, cause in (
        (["--model", str(model), "--best"], "--best has no gate; leave out one of the two (for as many samples behind"),
        (["--model", str(of_noise)], f"{of_noise} predicts the noise, which has no gate; leave it out"),
    ):
        with pytest.raises(SystemExit):
            cli.main([*command, *more])
        assert f"error: --warm-start: needs the gate's estimates, and {cause}" in capsys.readouterr().err


def _listen_to_ctrl_c():
    """Tests that a shell runs in its background are deaf to it, and so are their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupted_runs_go_on_to_the_same_bytes(model, tmp_path, capsys):
    deep, through, stopped = save_ct(tmp_path / "deep.nii.gz", depth=150), tmp_path / "through", tmp_path / "stopped"
    more = ("--steps", "2", "--no-maps")
    assert segment(model, deep, through, *more) == 0
    assert "goes on, " not in capsys.readouterr().err
    command = [sys.executable, "-m", "universal_diffusion.cli", "segment", "-i", deep, "-o", stopped, "--model", model]
    for number, stop in enumerate((signal.SIGKILL, signal.SIGINT), 1):
        with subprocess.Popen(
            [*command, *QUICK, *more], stderr=subprocess.PIPE, text=True, preexec_fn=_listen_to_ctrl_c
        ) as process:
            while len(list((stopped / UNFINISHED).glob("slab_*"))) < number:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.01)
            process.send_signal(stop)
            told = process.stderr.read()
        assert process.returncode == (130 if stop == signal.SIGINT else -stop)
        assert not (stopped / "segmentation.json").exists()
    assert "goes on, 1 of 3 slabs are finished" in told
    assert told.splitlines()[-1] == "interrupted: the same command goes on from the last finished slab"
    assert "Traceback" not in told
    assert segment(model, deep, stopped, *more) == 0
    assert "goes on, " in capsys.readouterr().err
    assert written(stopped) == written(through)
    assert not (stopped / UNFINISHED).exists()
