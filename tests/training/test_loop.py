"""The training loop: resuming gives the same bytes, wrong checkpoints and losses stop it, averages are averages."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from universal_diffusion.errors import InputError
from universal_diffusion.settings import Training
from universal_diffusion.training import loop
from universal_diffusion.training.loop import CHECKPOINT, learning_rate, train
from universal_diffusion.training.patches import generator

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


class Regression:
    """Fits y = 2x; fails at `fails_at`, and counts its steps as state."""

    def __init__(self, fails_at: int | None = None, loss_scale: float = 1.0):
        torch.manual_seed(0)
        self.module, self.fails_at, self.loss_scale = nn.Linear(1, 1), fails_at, loss_scale
        self.seen = torch.zeros(1)

    def loss(self, module, step):
        if step == self.fails_at:
            raise KeyboardInterrupt
        self.seen += 1
        x = torch.randn(4, 1, generator=generator(1, "regression", step))
        return (module(x) - 2 * x).square().mean() * self.loss_scale, {"seen": self.seen.item()}

    def validate(self, module):
        return {"validation_error": abs(module.weight.item() - 2)}

    def state(self):
        return {"seen": self.seen}

    def load_state(self, state):
        self.seen.copy_(state["seen"])


def weights(module: nn.Module) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in module.state_dict().values())


@pytest.mark.parametrize("fails_at", [1, 6, 11])
def test_interrupted_run_resumes_to_the_same_bytes(tmp_path, fails_at):
    whole = Regression()
    expected = weights(train(whole, SETTINGS, tmp_path / "whole", {}, device="cpu"))
    with pytest.raises(KeyboardInterrupt):
        train(Regression(fails_at), SETTINGS, tmp_path / "broken", {}, device="cpu")
    resumed = Regression()
    assert weights(train(resumed, SETTINGS, tmp_path / "broken", {}, device="cpu")) == expected
    assert resumed.seen == whole.seen == SETTINGS.steps
    rows = (tmp_path / "broken" / "log.csv").read_text().splitlines()
    assert len(rows) == 1 + SETTINGS.steps


def test_checkpoint_of_another_configuration_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(Regression(5), SETTINGS, tmp_path, {"channels": [1]}, device="cpu")
    with pytest.raises(InputError, match=r"another configuration \(channels changed\)"):
        train(Regression(), SETTINGS, tmp_path, {"channels": [2]}, device="cpu")


def test_truncated_checkpoint_is_named(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(Regression(5), SETTINGS, tmp_path, {}, device="cpu")
    content = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=CHECKPOINT):
        train(Regression(), SETTINGS, tmp_path, {}, device="cpu")


def test_non_finite_loss_stops(tmp_path):
    with pytest.raises(InputError, match="the loss is nan at step 0"):
        train(Regression(loss_scale=float("nan")), SETTINGS, tmp_path, {}, device="cpu")


def test_training_approaches_the_solution(tmp_path):
    task = Regression()
    before = abs(task.module.weight.item() - 2)
    trained = train(task, SETTINGS, tmp_path, {}, device="cpu")
    assert abs(trained.weight.item() - 2) < before


def test_learning_rate_rises_and_falls():
    rates = [learning_rate(SETTINGS, step) for step in range(SETTINGS.steps)]
    assert rates[0] == pytest.approx(SETTINGS.learning_rate / 3)
    assert rates[6] == pytest.approx(SETTINGS.learning_rate / 2)  # half-way through a cosine
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] < 0.05 * SETTINGS.learning_rate
    assert learning_rate(replace(SETTINGS, decay="none"), 11) == SETTINGS.learning_rate


def test_average_of_constant_weights_is_the_weights():
    module = nn.Linear(2, 2)
    average = {name: torch.zeros_like(tensor) for name, tensor in module.state_dict().items()}
    for step in range(400):
        loop._update_average(average, module, 0.9, step)
    torch.testing.assert_close(average["weight"], module.weight.detach())
