"""Commands that get GPUs of their own: no two of them one, and none that waits for a dead one."""

import os
import subprocess
import sys
import time

import pytest

from universal_diffusion.errors import InputError
from universal_diffusion.gpus import claim, present

SAY = "import os, sys, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(float(sys.argv[1]))"


@pytest.fixture
def start(tmp_path):
    """Starts a command that says which GPUs it has, of "0,1", and keeps them for some seconds."""
    started = []

    def run(count: int, seconds: float) -> subprocess.Popen:
        command = [sys.executable, "-m", "universal_diffusion.gpus", count, sys.executable, "-c", SAY, seconds]
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "0,1"}
        process = subprocess.Popen(
            list(map(str, command)), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen) -> str:
    return process.stdout.readline().decode().strip()


def test_two_commands_have_two_gpus_and_a_third_waits_for_the_first_to_end(start):
    first, second = start(1, 60), start(1, 60)
    assert {said(first), said(second)} == {"0", "1"}
    third = start(2, 0)
    time.sleep(0.5)
    assert third.poll() is None
    for process in (first, second):
        process.kill()  # a lock goes with its process, whatever ends it
    assert said(third) == "0,1"


def test_gpus_that_are_not_there_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert present() == ["2", "5"]
    with pytest.raises(InputError, match="gpu: 3 are asked for, this machine has 2"):
        claim(3, present(), tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(InputError, match="shows no GPU on this machine"):
        present()
