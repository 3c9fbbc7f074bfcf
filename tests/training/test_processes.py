"""Two processes train what one does: the same draws, the same gradients, the same step history."""

import os
import subprocess
import sys

import pandas as pd
import pytest
import torch

from universal_diffusion.errors import InputError
from universal_diffusion.method.weights import load_tensors
from universal_diffusion.settings import Training
from universal_diffusion.training import denoiser
from universal_diffusion.training.processes import launch

KEPT = """
from universal_diffusion.training import denoiser
denoiser.finish = lambda directory: None
denoiser.main()
"""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SETTINGS = Training(4, 6, 0.1, 0, "none", 0.0, 0.9, 1.0, 2, 1.0, "32-true")


@pytest.fixture(scope="module")
def alone(study, run_step, tmp_path_factory):
    """What one process leaves."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(denoiser, "finish", lambda directory: None)
        run_step(denoiser, study.denoiser(folder, steps=6))
    return folder


def test_two_processes_train_what_one_does(study, tmp_path, alone):
    """Weights are told by losses: Adam makes full steps of the rounding of gradients that vanish.

    That Fabric's launcher makes the same bytes of two processes as torchrun's environment, `test_kill.py` shows.
    """
    (tmp_path / "kept.py").write_text(KEPT)
    command = [sys.executable, *TORCHRUN, tmp_path / "kept.py", *study.denoiser(tmp_path, steps=6)[1:]]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    logs = [pd.read_csv(at / "log.csv").drop(columns=["seconds", "wait_seconds"]) for at in (tmp_path, alone)]
    pd.testing.assert_frame_equal(*logs, rtol=1e-3)
    both, one = (load_tensors(at / "last.safetensors") for at in (tmp_path, alone))
    assert torch.equal(both["task/counts"], one["task/counts"])
    torch.testing.assert_close(both["task/losses"], one["task/losses"], rtol=1e-3, atol=1e-6)


def test_a_batch_that_processes_cannot_share_is_refused(monkeypatch):
    given = {"LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "x"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=r"training.batch: is 6, which 8 processes cannot share evenly"):
        launch(SETTINGS, "cpu")
