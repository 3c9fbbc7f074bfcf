"""Real trainings that are killed or asked to end, again and again, and always end in the same bytes."""

import os
import runpy
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from universal_diffusion.training import denoiser

KILLS = 20
STEPS = 24
PAIR_STEPS = 12
PAIR = {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}
ONE = """
import os
os.environ.update({})
from universal_diffusion.training import denoiser
denoiser.main()
"""
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
    fork(study.denoiser(tmp_path / "whole", steps=STEPS, validate_every=STEPS // 2)).join()
    lasts = time.monotonic() - began
    moments, kills, ends = np.random.default_rng(0), 0, 0
    while kills < KILLS or not ends:
        output = tmp_path / str(ends)
        process = fork(study.denoiser(output, steps=STEPS, validate_every=STEPS // 2))
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


class Pair:
    """Two processes that share a training, started by Fabric (the second by the first) or as torchrun starts them."""

    def __init__(self, fork, command: list[str], scripts: Path, launcher: str):
        self._events = Path(command[command.index("--output") + 1]) / "tensorboard"
        self._before = len(list(self._events.glob("*")))
        environments = [{}]
        if launcher == "torchrun":
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                shared = PAIR | {"MASTER_PORT": str(free.getsockname()[1]), "TORCHELASTIC_RUN_ID": "a test"}
            environments = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
        self._processes = []
        for rank, environment in enumerate(environments):
            script = scripts / f"{launcher}_{rank}.py"
            script.write_text(ONE.format(environment))
            self._processes.append(fork([str(script), *command[1:]], runpy.run_path, str(script), None, "__main__"))

    def training(self) -> bool:
        """Wait for the first step, or the end; whether it is the first."""
        while self._processes[0].is_alive() and len(list(self._events.glob("*"))) == self._before:
            time.sleep(0.01)
        return self._processes[0].is_alive()

    def numbers(self) -> list[int]:
        """Of both processes."""
        first = self._processes[0].pid
        started = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, started), *(process.pid for process in self._processes[1:])]

    def end(self) -> int:
        """The status of the first, when all have ended."""
        for process in self._processes:
            process.join(180)
        return self._processes[0].exitcode


@pytest.fixture(scope="module")
def pair(study, tmp_path_factory, fork):
    """What two processes leave that nothing interrupts; a function that starts two; seconds that their steps take."""
    folder = tmp_path_factory.mktemp("pair")

    def start(name: str, launcher: str, **training) -> Pair:
        devices = 2 if launcher == "fabric" else 1
        return Pair(
            fork, study.denoiser(folder / name, steps=PAIR_STEPS, devices=devices, **training), folder, launcher
        )

    whole = start("whole", "torchrun")
    assert whole.training()
    began = time.monotonic()
    assert whole.end() == 0
    return folder / "whole", start, time.monotonic() - began


@pytest.mark.parametrize(("launcher", "kills"), [("fabric", 0), ("torchrun", 3)])
def test_two_processes_go_on_to_the_same_bytes(pair, launcher, kills):
    """SIGTERM to one of them, which both obey at the same step; then both are killed at random moments.

    Fabric's second process imports everything anew, for seconds, so the kills are left to torchrun's.
    """
    expected, start, lasts = pair
    output, moments = expected.with_name(launcher), np.random.default_rng(0)
    asked = start(launcher, launcher, checkpoint_minutes=60)
    assert asked.training()
    os.kill(asked.numbers()[1], signal.SIGTERM)
    assert asked.end() == 128 + signal.SIGTERM
    assert (output / "last.safetensors").exists()
    for _ in range(kills):
        killed = start(launcher, launcher)
        assert killed.training()
        numbers = killed.numbers()
        time.sleep(moments.uniform(0, lasts / 2))
        for number in numbers:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        killed.end()
    assert start(launcher, launcher).end() == 0
    assert weights(output) == weights(expected)
    assert log(output).equals(log(expected))
    assert not list(output.glob(".partial-*"))
