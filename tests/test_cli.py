"""The command line: what it lists, what its help says, how it refuses."""

import errno
import subprocess
import sys
import time

import pytest

from universal_diffusion import cli
from universal_diffusion.errors import one_line_errors
from universal_diffusion.method.weights import write_card
from universal_diffusion.targets import all_targets

CARD = {
    "targets": ["liver", "liver tumor"],
    "cohort": "none",
    "prediction": "mask",
    "spacing_mm": [1, 1, 1],
    "hu_window": [0, 1],
    "patch": 8,
}


def refusal(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    assert caught.value.code == 2
    return capsys.readouterr().err


def help_of(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main([*arguments, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_targets_lists_the_29_without_torch():
    code = "import sys; from universal_diffusion.cli import main; main(['targets']); assert 'torch' not in sys.modules"
    started = time.perf_counter()
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert time.perf_counter() - started < 5  # half a second on an idle machine
    assert [line.split("  ")[1].strip() for line in lines] == [target.name for target in all_targets()]
    assert lines[24].endswith("tumour  in liver")


def test_targets_of_a_model(tmp_path, capsys):
    write_card(tmp_path, CARD)
    cli.main(["targets", "--model", str(tmp_path)])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["6", "25"]
    assert "is no model card" in refusal(capsys, "targets", "--model", str(tmp_path / "nowhere"))
    write_card(tmp_path, {"architecture": {"kind": "mask_autoencoder"}})
    assert "holds no segmentation model" in refusal(capsys, "targets", "--model", str(tmp_path))


def test_targets_with_prompt_and_codes(capsys):
    cli.main(["targets", "-v"])
    told = capsys.readouterr().out
    assert "prompt: A computerized tomography of a left kidney\n    SNOMED CT: 64033007 Kidney, 7771000 Left" in told
    assert told.count("SNOMED CT: ") == 29


def test_wrong_use_ends_in_status_2(capsys):
    assert "'0' is no whole number above 0" in refusal(capsys, "segment", "--steps", "0")
    assert "'tpu' is none of auto, cpu, gpu, cuda and cuda:1" in refusal(capsys, "segment", "--device", "tpu")
    assert "not allowed with argument --fast" in refusal(capsys, "segment", "--fast", "--best")
    assert "required" in refusal(capsys, "segment", "-i", "ct.nii")
    assert "COMMAND" in refusal(capsys)
    assert "holds no segmentation.json" in refusal(capsys, "view", "nowhere")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "a file that is written: cannot be read or written (No space",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "out"),
            "out: cannot be read or written (Read-only file system)",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "out"),
            "out: cannot be read or written (Permission denied)",
        ),
        (PermissionError(errno.EPERM, "Operation not permitted"), None),  # of a process, say
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "out"), None),
        (OSError("of a library"), None),
    ],
)
def test_what_the_disk_refuses_is_one_line_and_no_other_error_is(capsys, error, told):
    def main():
        raise error

    with pytest.raises(SystemExit if told else type(error)):
        one_line_errors(main)()
    said = capsys.readouterr().err
    assert said.startswith(f"error: {told}") if told else not said
    assert said.count("\n") == bool(told)


@pytest.mark.parametrize("command", [[], ["segment"], ["targets"], ["view"], ["check-dataset"]])
def test_help_fits_a_terminal(capsys, command):
    assert max(map(len, help_of(capsys, *command).splitlines())) <= 120


def test_the_help_of_segment_says_what_each_preset_costs(capsys):
    told = " ".join(help_of(capsys, "segment").split())
    assert "By default 2 steps and 5 samples per target" in told
    assert "1 step, 1 sample: 1/10 of the default's denoising" in told
    assert "5 steps, 10 samples, no gate: 5 times the default's denoising" in told


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.startswith("0.")
