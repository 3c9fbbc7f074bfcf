"""Folders and files that appear whole: what a killed process leaves beside them goes with the next one, no other."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from universal_diffusion.files import whole_file
from universal_diffusion.preparation.folders import whole_folder

HOST = socket.gethostname()


def killed(folder: Path, made: str) -> None:
    """A process is killed half-way through the file or folder `made`."""
    script = f"""
import os, signal
from pathlib import Path
from universal_diffusion.files import whole_file
from universal_diffusion.preparation.folders import whole_folder
with {made}(Path({str(folder)!r}) / "native [1]-x") as partial:
    (partial / "slice" if partial.is_dir() else partial).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9


@pytest.mark.parametrize("make", [whole_folder, whole_file])
def test_what_a_killed_process_left_goes_with_the_next(tmp_path, make):
    for _ in range(2):
        killed(tmp_path, make.__name__)
        assert len(list(tmp_path.iterdir())) == 1
    with make(tmp_path / "native [1]-x") as partial:
        assert [path.name for path in tmp_path.iterdir() if path != partial] == []
        partial.write_text("whole") if make is whole_file else None
    assert [path.name for path in tmp_path.iterdir()] == ["native [1]-x"]


@pytest.mark.parametrize("make", [whole_folder, whole_file])
def test_nothing_of_a_living_process_of_another_machine_or_of_another_name_is_removed(tmp_path, make):
    kept = [
        f".partial-{HOST}-{os.getppid()}-native",
        ".partial-another.node-999999999-native",
        f".partial-{HOST}-999999999-other-native-x",
        f".partial-{HOST}-x-native",
    ]
    for name in kept:
        (tmp_path / name).mkdir()
    (tmp_path / f".partial-{HOST}-{os.getpid()}-native").mkdir()  # of a dead process that had our number
    with make(tmp_path / "native") as partial:
        partial.write_text("whole") if make is whole_file else None
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "native"])
