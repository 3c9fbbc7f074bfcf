"""Importance sampling of steps: unbiased, proportional to the loss's second moment, and resumable."""

import pytest
import torch

from universal_diffusion.errors import InputError
from universal_diffusion.method.steps import SecondMomentSteps


def filled(timesteps: int = 20, history: int = 3) -> SecondMomentSteps:
    steps = SecondMomentSteps(timesteps, history, uniform_probability=0.01)
    for repeat in range(history):
        steps.record(torch.arange(timesteps), torch.linspace(0.1, 4, timesteps) * (1 + repeat))
    return steps


def test_draws_are_uniform_with_unit_weights_until_every_history_is_full():
    steps = SecondMomentSteps(5, 2, 0.0)
    steps.record(torch.tensor([0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 0]), torch.arange(11.0))
    assert not steps.warm
    _, weights = steps.draw(8, torch.Generator().manual_seed(0))
    assert torch.equal(weights, torch.ones(8))
    steps.record(torch.tensor([4]), torch.tensor([1.0]))
    assert steps.warm


def test_probabilities_follow_the_root_of_the_second_moment_of_the_latest_losses():
    steps = SecondMomentSteps(3, 2, 0.1)
    steps.record(torch.tensor([0, 0, 0, 1, 1, 2, 2]), torch.tensor([99.0, 3.0, 4.0, 1.0, 1.0, 0.0, 2.0]))
    moment = torch.tensor([12.5, 1.0, 2.0], dtype=torch.float64).sqrt()
    assert torch.allclose(steps.probabilities(), 0.9 * moment / moment.sum() + 0.1 / 3)


def test_the_weighted_loss_has_the_uniform_mean():
    steps, loss = filled(), torch.linspace(3, 0.5, 20, dtype=torch.float64) ** 2
    probabilities = steps.probabilities()
    expected = (probabilities * loss / (20 * probabilities)).sum()
    assert expected.item() == pytest.approx(loss.mean().item())
    drawn, weights = steps.draw(40_000, torch.Generator().manual_seed(1))
    weighted = weights * loss[drawn]
    assert weighted.mean().item() == pytest.approx(loss.mean().item(), abs=5 * weighted.std().item() / 200)
    assert torch.allclose(drawn.bincount(minlength=20) / 40_000, probabilities.float(), atol=0.015)


def test_draws_proportional_to_the_loss_have_the_least_variance():
    steps = SecondMomentSteps(20, 1, 0.0)
    loss = torch.linspace(0.5, 3, 20, dtype=torch.float64)
    steps.record(torch.arange(20), loss)
    drawn, weights = steps.draw(1000, torch.Generator().manual_seed(2))
    assert torch.allclose(weights * loss[drawn], loss.mean().expand(1000), rtol=1e-6)


def test_the_history_survives_a_checkpoint():
    steps, resumed = filled(), SecondMomentSteps(20, 3, 0.01)
    resumed.load_state_dict(steps.state_dict())
    steps.record(torch.tensor([7]), torch.tensor([9.0]))  # neither shares storage with the checkpoint
    resumed.record(torch.tensor([7]), torch.tensor([9.0]))
    first, second = (s.draw(50, torch.Generator().manual_seed(3)) for s in (steps, resumed))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_a_history_of_another_shape_is_refused():
    with pytest.raises(InputError, match="timesteps, history"):
        SecondMomentSteps(20, 4, 0.01).load_state_dict(filled().state_dict())


def test_losses_that_are_all_zero_leave_uniform_draws():
    steps = SecondMomentSteps(4, 1, 0.0)
    steps.record(torch.arange(4), torch.zeros(4))
    assert torch.allclose(steps.probabilities(), torch.full((4,), 0.25, dtype=torch.float64))


def test_a_loss_that_is_not_finite_is_refused():
    with pytest.raises(InputError, match="not finite"):
        filled().record(torch.tensor([1]), torch.tensor([float("nan")]))
