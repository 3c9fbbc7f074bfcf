"""Importance sampling of steps: unbiased, proportional to the loss's second moment, resumable, one in all processes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from universal_diffusion.errors import InputError
from universal_diffusion.method.diffusion import GaussianDiffusion
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


def denoised(process: GaussianDiffusion, weight: torch.Tensor, step: torch.Tensor, seed: int) -> torch.Tensor:
    """The hybrid loss (N,) at `step` of a denoiser with one weight, on data that depend on the row alone."""
    z0, noise = torch.randn(2, len(step), 2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    zt = process.q_sample(z0, step, noise)
    output = weight * torch.cat([zt, zt.tanh()], 1)
    return process.losses("mask", output, z0, zt, step, noise).hybrid


@settings(max_examples=20)
@given(history=st.integers(1, 4), uniform=st.sampled_from([0.001, 0.1, 1.0]), seed=st.integers(0, 99))
def test_the_weighted_hybrid_loss_and_its_gradient_have_the_uniform_expectation(history, uniform, seed):
    """Exactly: the sum over all steps of p_t * weight_t * (loss or gradient) against their plain mean."""
    process, weight = GaussianDiffusion.scheduled("cosine", 20), torch.tensor(0.8, dtype=torch.float64).requires_grad_()
    losses = torch.cat([denoised(process, weight, torch.tensor([t]), seed) for t in range(20)])
    steps = SecondMomentSteps(20, history, uniform)
    for repeat in range(history):
        steps.record(torch.arange(20), losses * (1 + repeat))
    probabilities = steps.probabilities()
    every, weights = steps.draw(4000, torch.Generator().manual_seed(seed))
    weight_of = torch.zeros(20, dtype=torch.float64)
    weight_of[every] = weights.double()
    seen = weight_of > 0  # a step of tiny probability may not have been drawn
    assert torch.allclose(weight_of[seen], 1 / (20 * probabilities[seen]), rtol=1e-6)
    expected = (probabilities / (20 * probabilities) * losses).sum()
    assert expected.item() == pytest.approx(losses.mean().item(), rel=1e-9)
    gradients = [torch.autograd.grad(x, weight, retain_graph=True)[0].item() for x in (expected, losses.mean())]
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-9)


def test_a_batch_at_drawn_steps_has_the_uniform_loss_to_five_standard_errors_and_less_spread():
    process, weight, count = GaussianDiffusion.scheduled("linear", 200), torch.tensor(0.8, dtype=torch.float64), 20_000
    steps = SecondMomentSteps(200, 4, 0.01)
    for seed in range(4):
        steps.record(torch.arange(200), denoised(process, weight, torch.arange(200), seed))
    drawn, weights = steps.draw(count, torch.Generator().manual_seed(1))
    important = weights * denoised(process, weight, drawn, 10)
    even = torch.randint(200, (count,), generator=torch.Generator().manual_seed(2))
    uniform = denoised(process, weight, even, 11)
    error = ((important.var() + uniform.var()) / count).sqrt().item()
    assert important.mean().item() == pytest.approx(uniform.mean().item(), abs=5 * error)
    assert important.var() < 0.5 * uniform.var()


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_that_gather_in_batch_order_hold_the_same_history_as_one(processes):
    """300 batches of 8 over 6 steps, so that a step comes several times in a batch and its oldest losses give way."""

    def loss(step: torch.Tensor, row: slice, batch: int) -> torch.Tensor:
        noise = torch.rand(8, generator=torch.Generator().manual_seed(batch))
        return (step + 1.0) * (0.5 + noise[row])

    alone, *several = (SecondMomentSteps(6, 3, 0.01) for _ in range(1 + processes))
    rows = [slice(p * 8 // processes, (p + 1) * 8 // processes) for p in range(processes)]
    for batch in range(300):
        step, weights = alone.draw(8, torch.Generator().manual_seed(batch))
        parts = []
        for sampler, row in zip(several, rows, strict=True):
            own_step, own_weights = sampler.draw(8, torch.Generator().manual_seed(batch))
            assert torch.equal(own_step, step)
            assert torch.equal(own_weights, weights)
            parts.append(loss(own_step[row], row, batch))
        for sampler in several:
            sampler.record(step, torch.cat(parts))
        alone.record(step, loss(step, slice(None), batch))
    assert alone.warm
    for sampler in several:
        for name, tensor in alone.state_dict().items():
            assert torch.equal(sampler.state_dict()[name], tensor)


def test_the_order_of_a_batch_matters_so_that_it_must_be_the_batchs_own():
    first, second = SecondMomentSteps(2, 1, 0.0), SecondMomentSteps(2, 1, 0.0)
    first.record(torch.tensor([0, 0, 1]), torch.tensor([1.0, 5.0, 2.0]))
    second.record(torch.tensor([0, 0, 1]), torch.tensor([5.0, 1.0, 2.0]))
    assert not torch.equal(first.probabilities(), second.probabilities())


@pytest.mark.parametrize(("history", "median"), [(10, 23_239), (2, 9_639)])
def test_uniform_draws_fill_every_history_as_a_coupon_collector_does(history, median):
    """With a Poisson number of draws the counts are independent: P(warm) = P(Poisson(draws / T) >= history)^T.

    The median of twenty simulated warm-ups has a standard error of about 4 %.
    """
    half = optimize.brentq(lambda mean: stats.poisson.sf(history - 1, mean) ** 1000 - 0.5, 1, 100)
    assert 1000 * half == pytest.approx(median, abs=1)
    needed = []
    for seed in range(20):
        steps, generator, count = SecondMomentSteps(1000, history, 0.1), torch.Generator().manual_seed(seed), 0
        while not steps.warm:
            drawn, weights = steps.draw(500, generator)
            assert (weights == 1).all()
            steps.record(drawn, torch.ones(500))
            count += 500
        needed.append(count)
    assert torch.tensor(needed).double().median().item() == pytest.approx(median, rel=0.15)


@settings(max_examples=50)
@given(
    st.lists(st.floats(0, 1e30), min_size=5, max_size=5),
    st.sampled_from([0.0, 0.001, 0.1, 1.0]),
)
def test_probabilities_are_positive_and_sum_to_one_whatever_the_losses(losses, uniform):
    steps = SecondMomentSteps(5, 1, uniform)
    steps.record(torch.arange(5), torch.tensor(losses, dtype=torch.float64))
    probabilities = steps.probabilities()
    assert probabilities.sum().item() == pytest.approx(1)
    assert (probabilities >= uniform / 5).all()
    _, weights = steps.draw(100, torch.Generator().manual_seed(0))
    assert weights.isfinite().all()
