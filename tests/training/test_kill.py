"""Real trainings that are killed or asked to end, again and again, and always end in the same bytes."""

import os
import runpy
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from universal_diffusion.training import denoiser

KILLS = 20
STEPS = 40
GROUP = """
import multiprocessing, os
from universal_diffusion.training import denoiser
multiprocessing.set_start_method("fork", force=True)  # of the workers that read ahead, as where nothing is set
os.setpgrp()
denoiser.main()
"""


@pytest.fixture(scope="module")
def fork():
    """Starts a function in a process forked from one that has imported what trainings import, and nothing else."""
    context = torch.multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["universal_diffusion.training.denoiser"])

    def start(command: list[str], target=denoiser.main, *arguments):
        process = context.Process(target=target, args=arguments)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", command)
            process.start()
        return process

    return start


def weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


def log(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "log.csv", dtype=str).drop(columns=["seconds", "wait_seconds"])


def test_killed_at_twenty_random_moments_it_ends_in_the_same_bytes(study, tmp_path, fork):
    """Moments of a process's whole life: reading, stepping, writing a checkpoint after every step, ending."""
    fork(study.denoiser(tmp_path / "warm", steps=1)).join()
    began = time.monotonic()
    fork(study.denoiser(tmp_path / "whole", steps=STEPS)).join()
    lasts = time.monotonic() - began
    moments, kills, ends = np.random.default_rng(0), 0, 0
    while kills < KILLS or not ends:
        output = tmp_path / str(ends)
        process = fork(study.denoiser(output, steps=STEPS))
        if kills < KILLS:
            process.join(moments.uniform(0, lasts / 2))
            process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        kills += process.exitcode == -signal.SIGKILL
        if process.exitcode == 0:
            assert weights(output) == weights(tmp_path / "whole")
            assert log(output).equals(log(tmp_path / "whole"))
            assert not list(output.glob(".partial-*"))
            ends += 1


def test_a_signal_to_a_whole_job_ends_it_with_its_state_kept(study, tmp_path, fork):
    """As SLURM warns and then ends a job: the workers that read ahead are signalled too."""
    (tmp_path / "group.py").write_text(GROUP)
    endings = []
    for name, number in (("whole", 0), ("cut", signal.SIGUSR1), ("cut", signal.SIGTERM), ("cut", 0)):
        command = study.denoiser(tmp_path / name, steps=8, checkpoint_minutes=60)
        command[command.index("--threads") + 1] = "2"
        events = tmp_path / name / "tensorboard"
        before = len(list(events.glob("*")))
        process = fork(command, runpy.run_path, str(tmp_path / "group.py"))
        if number:
            while process.is_alive() and len(list(events.glob("*"))) == before:  # until it has begun its steps
                time.sleep(0.01)
            os.killpg(process.pid, number)
        process.join()
        endings.append(process.exitcode)
    assert endings == [0, 128 + signal.SIGUSR1, 128 + signal.SIGTERM, 0]
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
