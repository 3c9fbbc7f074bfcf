"""The command line: what it lists, what it passes on, how it refuses."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from universal_diffusion import cli
from universal_diffusion.targets import all_targets


def refusal(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_targets_lists_the_29_without_torch():
    code = "import sys; from universal_diffusion.cli import main; main(['targets']); assert 'torch' not in sys.modules"
    started = time.perf_counter()
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert time.perf_counter() - started < 5  # half a second on an idle machine
    assert [line.split("  ")[1].strip() for line in lines] == [target.name for target in all_targets()]
    assert lines[24].endswith("tumour  in liver")


def test_targets_of_a_model(tmp_path, capsys):
    (tmp_path / "card.json").write_text(json.dumps({"targets": ["liver", "liver tumor"]}))
    cli.main(["targets", "--model", str(tmp_path)])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["6", "25"]
    assert "is no model card" in refusal(capsys, "targets", "--model", str(tmp_path / "nowhere"))


def test_segment_passes_on_what_was_asked_and_prints_a_table(monkeypatch, capsys):
    from universal_diffusion.segmentation import new_ct

    asked = {}

    def segment_ct(ct, model, output, targets, sampling, seed, device, threads):
        asked.update(locals())
        return new_ct.Result({"liver": 1489.04, "kidney tumor": 0.0}, output / "segmentation.json", "63 phantoms")

    monkeypatch.setattr(new_ct, "segment_ct", segment_ct)
    flags = "--steps 20 --ensemble 3 --seed 7 --device cpu --threads 2"
    cli.main(
        ["segment", "-i", "ct.nii", "-o", "out", "--model", "m", "--targets", "liver", "kidney tumor", *flags.split()]
    )
    assert asked["targets"] == ("liver", "kidney tumor")
    assert (asked["sampling"].steps, asked["sampling"].ensemble) == (20, 3)
    assert (asked["seed"], asked["device"], asked["threads"], asked["ct"]) == (7, "cpu", 2, Path("ct.nii"))
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["liver", "1489.0", "ml"]
    assert "63 phantoms" in table[2]
    assert "segmentation.json" in table[3]


def test_wrong_use_ends_in_status_2(capsys, tmp_path):
    assert "is no model card" in refusal(capsys, "segment", "-i", "ct.nii", "-o", "out", "--model", str(tmp_path))
    assert "'0' is no whole number above 0" in refusal(capsys, "segment", "--steps", "0")
    assert "required" in refusal(capsys, "segment", "-i", "ct.nii")
    assert "COMMAND" in refusal(capsys)


@pytest.mark.parametrize("arguments", [["--help"], ["segment", "--help"], ["targets", "--help"], ["--version"]])
def test_help_is_there(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 0
    assert capsys.readouterr().out
