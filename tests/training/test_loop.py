"""The training loop: resuming gives the same bytes, accumulation the same gradients, wrong losses stop it."""

import json
import math
import os
import random
import resource
import shutil
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from universal_diffusion.errors import InputError
from universal_diffusion.settings import Training
from universal_diffusion.training import checkpoints
from universal_diffusion.training.averages import AveragedWeights
from universal_diffusion.training.checkpoints import CHECKPOINT
from universal_diffusion.training.loop import finish, learning_rate, train
from universal_diffusion.training.progress import LOG

SETTINGS = Training(
    steps=12,
    batch=4,
    learning_rate=0.05,
    warmup=3,
    decay="cosine",
    weight_decay=0.01,
    ema_decay=0.9,
    gradient_clip=1.0,
    validate_every=5,
    checkpoint_minutes=0.0,
    precision="32-true",
)


def weights(module: nn.Module) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in module.state_dict().values())


def interrupt():
    raise KeyboardInterrupt


def cut(task, folder, identity=None, settings=SETTINGS):
    """Train until the task raises KeyboardInterrupt."""
    with pytest.raises(KeyboardInterrupt):
        train(task, settings, folder, identity or {}, device="cpu")


@pytest.fixture
def expected(regression, tmp_path) -> bytes:
    """The weights of an uninterrupted training."""
    return weights(train(regression(), SETTINGS, tmp_path / "expected", {}, device="cpu"))


@pytest.mark.parametrize("cut_at", [1, 6, 11])
def test_interrupted_run_resumes_to_the_same_bytes(tmp_path, regression, expected, cut_at):
    cut(regression({cut_at: interrupt}), tmp_path)
    resumed = regression()
    assert weights(train(resumed, SETTINGS, tmp_path, {}, device="cpu")) == expected
    assert resumed.seen == SETTINGS.steps
    assert pd.read_csv(tmp_path / LOG)["step"].tolist() == list(range(SETTINGS.steps))
    finish(tmp_path)
    assert not (tmp_path / CHECKPOINT).exists()


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_reduced_precision_resumes_to_the_same_bytes(tmp_path, regression, precision):
    """With float16 the first scaled gradients overflow: these steps are skipped, and the scale is in the checkpoint."""
    settings = replace(SETTINGS, precision=precision)
    whole = train(regression(scale=100.0), settings, tmp_path / "whole", {}, device="cpu")
    cut(regression({6: interrupt}, scale=100.0), tmp_path / "cut", settings=settings)
    resumed = train(regression(scale=100.0), settings, tmp_path / "cut", {}, device="cpu")
    assert weights(resumed) == weights(whole)
    facts, _ = checkpoints._read(tmp_path / "cut" / CHECKPOINT)
    assert (facts["scaler"].get("scale", 2.0**16) < 2.0**16) == (precision == "16-mixed")
    assert abs(whole.weight.item() - 2) < 1.5


@pytest.mark.parametrize("micro_batch", [1, 3, 4, 100])
def test_accumulated_gradients_are_those_of_the_batch(tmp_path, regression, expected, micro_batch):
    settings = replace(SETTINGS, micro_batch=micro_batch)
    trained = weights(train(regression(), settings, tmp_path, {}, device="cpu"))
    np.testing.assert_allclose(np.frombuffer(trained, np.float32), np.frombuffer(expected, np.float32), rtol=1e-5)


class Large:
    """Runs out of memory above `most` patches at once."""

    def __init__(self, task, most: int, error: Exception | None = None):
        self.task, self.most, self.error = task, most, error or torch.OutOfMemoryError()

    def __getattr__(self, name):
        return getattr(self.task, name)

    def loss(self, module, step, rows):
        if rows.stop - rows.start > self.most:
            module(torch.ones(1, 1)).sum().backward()  # what is left of a part must not count
            raise self.error
        return self.task.loss(module, step, rows)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(), RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")])
def test_what_does_not_fit_is_computed_in_smaller_parts(tmp_path, regression, capsys, error):
    settings = replace(SETTINGS, micro_batch=1)
    expected = weights(train(regression(), settings, tmp_path / "small", {}, device="cpu"))
    assert weights(train(Large(regression(), 1, error), SETTINGS, tmp_path / "large", {}, device="cpu")) == expected
    told = capsys.readouterr().err
    assert told.count("do not fit") == 2
    assert "2 patches at once do not fit into the memory of the cpu; going on with training.micro_batch: 1" in told


def test_a_resumed_run_takes_the_parts_that_fitted(tmp_path, regression, capsys):
    expected = weights(train(Large(regression(), 2), SETTINGS, tmp_path / "whole", {}, device="cpu"))
    cut(Large(regression({5: interrupt}), 2), tmp_path / "cut")
    capsys.readouterr()
    assert weights(train(regression(), SETTINGS, tmp_path / "cut", {}, device="cpu")) == expected
    assert "do not fit" not in capsys.readouterr().err
    other = replace(SETTINGS, micro_batch=3)  # what is configured since then counts
    train(regression(), other, tmp_path / "cut", {}, device="cpu")


def test_a_patch_that_does_not_fit_is_told(tmp_path, regression):
    with pytest.raises(InputError, match=r"training.micro_batch: is 1, and one patch does not fit into the memory"):
        train(Large(regression(), 0), SETTINGS, tmp_path, {}, device="cpu")


def test_another_error_is_no_reason_for_smaller_parts(tmp_path, regression):
    wrong = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="an illegal memory access"):
        train(Large(regression(), 1, wrong), SETTINGS, tmp_path, {}, device="cpu")


def test_memory_that_does_not_hold_the_optimiser_is_told(tmp_path, regression):
    def full(*_):
        raise torch.OutOfMemoryError

    hook = register_optimizer_step_pre_hook(full)
    try:
        with pytest.raises(InputError, match=r"memory of cpu: does not hold the optimiser's state .* smaller network"):
            train(regression(), SETTINGS, tmp_path, {}, device="cpu")
    finally:
        hook.remove()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_ends_the_run_with_its_state_kept(tmp_path, regression, expected, capsys, number):
    before = signal.getsignal(number)
    settings = replace(SETTINGS, checkpoint_minutes=60)
    with pytest.raises(SystemExit) as ended:
        train(regression({4: lambda: os.kill(os.getpid(), number)}), settings, tmp_path, {}, device="cpu")
    assert ended.value.code == 128 + number
    assert signal.getsignal(number) == before
    assert f"stopped by {number.name} after 5 steps; the same command goes on from" in capsys.readouterr().err
    resumed = regression({step: interrupt for step in range(5)})
    assert weights(train(resumed, settings, tmp_path, {}, device="cpu")) == expected


def test_a_loss_that_is_not_finite_names_its_cases_and_keeps_the_state_before(tmp_path, regression, expected):
    settings = replace(SETTINGS, checkpoint_minutes=60)
    broken = regression({6: lambda: torch.tensor([0, 0, math.nan, 0])})
    with pytest.raises(InputError, match=r"the loss is nan at step 6 for patches of amos/6_1; .* delete this file"):
        train(broken, settings, tmp_path, {}, device="cpu")
    assert broken.seen == 6
    assert weights(train(regression(), settings, tmp_path, {}, device="cpu")) == expected


def test_a_gradient_that_is_not_finite_stops_too(tmp_path, regression):
    task = regression()
    task.module.weight.register_hook(lambda gradient: gradient / 0)
    with pytest.raises(InputError, match=r"the gradient is (inf|nan) at step 0 for patches of amos/0_0, amos/0_1;"):
        train(task, SETTINGS, tmp_path, {}, device="cpu")


def test_gradients_that_no_scale_saves_stop_float16_too(tmp_path, regression):
    """The scaler halves from 2 ** 16 at every step left out; below 1, smaller scaling is no remedy."""
    task = regression()
    task.module.weight.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(InputError, match=r"the gradient is nan at step 17 "):
        train(task, replace(SETTINGS, precision="16-mixed", steps=40), tmp_path, {}, device="cpu")


def test_memory_that_does_not_hold_a_validation_keeps_what_was_trained(tmp_path, regression, expected, monkeypatch):
    settings = replace(SETTINGS, checkpoint_minutes=60)
    task = regression()

    def full(_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(task, "validate", full)
    with pytest.raises(InputError, match=r"memory of cpu: does not hold .* validation after 5 steps"):
        train(task, settings, tmp_path, {}, device="cpu")
    task = regression()
    assert weights(train(task, settings, tmp_path, {}, device="cpu")) == expected
    assert pd.read_csv(tmp_path / LOG)["step"].tolist() == list(range(SETTINGS.steps))


def test_a_full_disk_is_told_and_leaves_the_checkpoint_before(tmp_path, regression):
    cut(regression({5: interrupt}), tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) - 1, limits[1]))
    try:
        with pytest.raises(InputError, match=r"last.safetensors: cannot be written \(.*File too large\); make room"):
            train(regression(), SETTINGS, tmp_path, {}, device="cpu")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.glob("*last*")] == [CHECKPOINT]
    assert (tmp_path / CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize("mask", [0o022, 0o027])
def test_who_may_read_a_checkpoint_is_what_the_user_set(tmp_path, regression, mask):
    before = os.umask(mask)
    try:
        cut(regression({5: interrupt}), tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / CHECKPOINT).stat().st_mode & 0o777 == 0o666 & ~mask


def test_checkpoint_of_another_configuration_is_refused_with_what_changed(tmp_path, regression):
    settings = replace(SETTINGS, learning_rate=0.001)
    cut(regression({5: interrupt}), tmp_path, {"network": {"channels": [1], "blocks": 2}}, settings)
    changed = replace(settings, learning_rate=0.002, checkpoint_minutes=7, micro_batch=2)
    changes = r"network.channels: \[1\] -> \[1, 2\], training.learning_rate: 0.001 -> 0.002"
    with pytest.raises(InputError, match=rf"another configuration \({changes}\); change that back"):
        train(regression(), changed, tmp_path, {"network": {"channels": [1, 2], "blocks": 2}}, device="cpu")


def test_how_a_training_runs_may_change(tmp_path, regression):
    cut(regression({5: interrupt}), tmp_path)
    changed = replace(SETTINGS, checkpoint_minutes=7, micro_batch=2)
    train(regression(dict.fromkeys(range(5), interrupt)), changed, tmp_path, {}, device="cpu")


def test_truncated_checkpoint_is_named(tmp_path, regression):
    cut(regression({5: interrupt}), tmp_path)
    content = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=f"{CHECKPOINT}: is no whole checkpoint"):
        train(regression(), SETTINGS, tmp_path, {}, device="cpu")


def test_a_checkpoint_that_is_cut_off_leaves_the_one_before(tmp_path, regression, expected, monkeypatch):
    cut(regression({5: interrupt}), tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()

    def cut_off(file):
        if os.readlink(f"/proc/self/fd/{file}").endswith(CHECKPOINT):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", cut_off)
        cut(regression(), tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    stale = tmp_path / f".partial-1-{CHECKPOINT}"  # as a kill leaves it
    stale.write_bytes(before[:9])
    assert weights(train(regression(), SETTINGS, tmp_path, {}, device="cpu")) == expected
    assert not stale.exists()


def test_training_neither_reads_nor_changes_global_random_state(tmp_path, regression, expected):
    task = regression()
    torch.manual_seed(11)
    np.random.seed(12)  # noqa: NPY002
    random.seed(13)
    before = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002
    assert weights(train(task, SETTINGS, tmp_path, {}, device="cpu")) == expected
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (repr(np.random.get_state()), random.getstate()) == before[1:]  # noqa: NPY002


def test_training_approaches_the_solution(tmp_path, regression):
    settings = replace(SETTINGS, steps=60, decay="none", weight_decay=0.0)
    assert abs(train(regression(), settings, tmp_path, {}, device="cpu").weight.item() - 2) < 0.2
    logged = json.loads(pd.read_csv(tmp_path / LOG).to_json(orient="records"))
    assert {"step", "loss", "row", "seconds", "wait_seconds", "validation_error"} == set(logged[0])
    assert [row["step"] for row in logged if row["validation_error"] is not None] == list(range(4, 60, 5))


def test_learning_rate_rises_and_falls():
    rates = [learning_rate(SETTINGS, step) for step in range(SETTINGS.steps)]
    assert rates[0] == pytest.approx(SETTINGS.learning_rate / 3)
    assert rates[6] == pytest.approx(SETTINGS.learning_rate / 2)  # half-way through a cosine
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] < 0.05 * SETTINGS.learning_rate
    assert learning_rate(replace(SETTINGS, decay="none"), 11) == SETTINGS.learning_rate


def test_averages_follow_their_recurrence():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = AveragedWeights(module, 0.9)
    expected = module[0].weight.detach().double().clone()
    for step in range(100):
        with torch.no_grad():
            module[0].weight.add_(1.0)
            module[1].num_batches_tracked.add_(1)
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * module[0].weight.detach().double()
    torch.testing.assert_close(average.module[0].weight.double(), expected, rtol=1e-5, atol=1e-5)
    assert average.module[1].num_batches_tracked == 100
    assert not average.module.training


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_a_compiled_network_trains_alike_under_the_same_names(tmp_path, regression, expected):
    settings = replace(SETTINGS, compile=True, validate_every=100)
    trained = train(regression(), settings, tmp_path, {}, device="cpu")
    assert list(trained.state_dict()) == ["weight", "bias"]
    compiled = np.frombuffer(weights(trained), np.float32)
    np.testing.assert_allclose(compiled, np.frombuffer(expected, np.float32), rtol=1e-4)
