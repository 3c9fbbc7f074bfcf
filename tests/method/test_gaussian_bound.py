"""The training losses on Gaussian data, where the best denoiser, every posterior and the whole bound are known exactly.

z0 ~ N(MEAN, SPREAD^2), zt = sqrt(signal) z0 + sqrt(1 - signal) noise. At every step the losses are quadratic in (z0,
noise), so three Gauss-Hermite nodes in each integrate them exactly: no sampling, no tolerance for it.
"""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from universal_diffusion.method.diffusion import GaussianDiffusion, Losses

MEAN, SPREAD = 0.7, 0.4
COUNTS = [1000, 50, 20, 5, 1]
SCHEDULES = ["cosine", "linear"]
PREDICTIONS = ["mask", "noise"]


class Truth:
    """What Bayes' rule says of every step of a process, in NumPy and from its alpha-bar alone; each (T,) float64."""

    def __init__(self, process: GaussianDiffusion):
        self.signal = process.alphas_cumprod.numpy()
        before = np.concatenate([[1.0], self.signal[:-1]])
        kept = self.signal / before  # zt = sqrt(kept) z_{t-1} + sqrt(1 - kept) noise
        total = self.signal * SPREAD**2 + 1 - self.signal  # Var(zt)
        before_total = before * SPREAD**2 + 1 - before
        self.slope = SPREAD**2 * np.sqrt(self.signal) / total  # E[z0 | zt] = slope * zt + shift
        self.shift = MEAN * (1 - self.slope * np.sqrt(self.signal))
        self.doubt = SPREAD**2 * (1 - self.signal) / total  # Var(z0 | zt)
        self.reverse_slope = np.sqrt(kept) * before_total / total  # E[z_{t-1} | zt]
        self.reverse_shift = MEAN * (np.sqrt(before) - self.reverse_slope * np.sqrt(self.signal))
        self.reverse_variance = before_total * (1 - kept) / total  # Var(z_{t-1} | zt)
        self.posterior_variance = (1 - kept) * (1 - before) / (1 - self.signal)  # Var(z_{t-1} | zt, z0)


def spaced(schedule: str, count: int) -> GaussianDiffusion:
    return GaussianDiffusion.scheduled(schedule, 1000).respace(count)


def v_of(process: GaussianDiffusion, variance: np.ndarray) -> Tensor:
    """The network's v that means this variance; 0 where v has no say (a lone step: its range is one point)."""
    low, high = process.posterior_log_variance, process.betas.log()
    v = 2 * (torch.from_numpy(variance).log() - low) / (high - low) - 1
    return v.nan_to_num(0.0, posinf=0.0, neginf=0.0)


def expected(process: GaussianDiffusion, prediction: str, slope: Tensor, shift: Tensor, v: Tensor) -> Losses:
    """E over data and noise of each loss at each step, (T,), of the denoiser slope * zt + shift with variance v."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    a, b = (torch.from_numpy(x.ravel()) for x in np.meshgrid(nodes, nodes))
    weight = torch.from_numpy(np.outer(weights, weights).ravel() / weights.sum() ** 2)
    steps = torch.arange(process.timesteps)
    step = steps.repeat_interleave(9)
    z0, noise = ((x.repeat(len(steps))).view(-1, 1, 1, 1) for x in (MEAN + SPREAD * a, b))
    zt = process.q_sample(z0, step, noise)
    value = process.at(slope, step, zt) * zt + process.at(shift, step, zt)
    if prediction == "noise":
        value = process.to_noise(value, zt, step)
    output = torch.cat([value, process.at(v, step, zt)], 1)
    losses = process.losses(prediction, output, z0, zt, step, noise)
    return Losses(*((loss.view(-1, 9) * weight).sum(1) for loss in losses))


def best(process: GaussianDiffusion) -> tuple[Tensor, Tensor]:
    truth = Truth(process)
    return torch.from_numpy(truth.slope), torch.from_numpy(truth.shift)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("count", COUNTS)
def test_the_mean_of_eq_9_with_the_best_estimate_is_that_of_the_true_reverse_step(schedule, count):
    """And its variance is the posterior's plus what is not known of z0."""
    process = spaced(schedule, count)
    truth, steps = Truth(process), torch.arange(count)
    for zt in (-2.0, 0.3, 5.0):
        latent = torch.full((count, 1, 1, 1), zt, dtype=torch.float64)
        estimate = torch.from_numpy(truth.slope * zt + truth.shift).view(-1, 1, 1, 1)
        mean = process.posterior(estimate, latent, steps).mean.flatten().numpy()
        assert np.allclose(mean, truth.reverse_slope * zt + truth.reverse_shift, rtol=1e-9, atol=1e-9)
    of_z0 = process.posterior(latent * 0 + 1, latent * 0, steps).mean.flatten().numpy()
    assert np.allclose(process.posterior_variance.numpy() + of_z0**2 * truth.doubt, truth.reverse_variance, rtol=1e-7)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("count", COUNTS)
def test_the_squared_error_is_least_at_the_conditional_expectation(schedule, prediction, count):
    """L_MSE (eq. 10) has no slope there, and what is left of it is the variance of z0 (or of the noise) given zt."""
    process = spaced(schedule, count)
    slope, shift = (x.requires_grad_() for x in best(process))
    mse = expected(process, prediction, slope, shift, torch.zeros(count, dtype=torch.float64)).mse
    truth = Truth(process)
    of_noise = truth.signal / (1 - truth.signal)
    left = truth.doubt * (of_noise if prediction == "noise" else 1)
    assert np.allclose(mse.detach().numpy(), left, rtol=1e-6)
    for gradient in torch.autograd.grad(mse.sum(), (slope, shift)):
        assert gradient.abs().max() < 1e-7


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("count", COUNTS)
def test_the_bound_is_least_at_the_variance_of_the_true_reverse_step(schedule, prediction, count):
    process = spaced(schedule, count)
    v = v_of(process, Truth(process).reverse_variance).requires_grad_()
    vlb = expected(process, prediction, *best(process), v).vlb
    width = process.betas.log() - process.posterior_log_variance
    slope = torch.autograd.grad(vlb.sum(), v)[0]  # bits per unit of v, whose unit is half the range's width
    assert (slope.abs() <= 1e-6 * width.abs()).all()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("count", COUNTS)
def test_each_term_of_the_bound_has_its_closed_form(schedule, prediction, count):
    """KL between Gaussians whose means differ by of_z0 * (z0 - E[z0 | zt]), for three choices of the variance."""
    process = spaced(schedule, count)
    truth, steps = Truth(process), np.arange(count)
    for share in (0.0, 0.5, 1.0):
        v = torch.full((count,), 2 * share - 1, dtype=torch.float64)
        vlb = expected(process, prediction, *best(process), v).vlb.numpy()
        log_variance = share * process.betas.log().numpy() + (1 - share) * process.posterior_log_variance.numpy()
        ratio = truth.reverse_variance / np.exp(log_variance)
        with np.errstate(divide="ignore"):
            kl = 0.5 * (log_variance - np.log(truth.posterior_variance) - 1 + ratio)
        likelihood = 0.5 * (math.log(2 * math.pi) + log_variance + ratio)
        assert np.allclose(vlb, np.where(steps == 0, likelihood, kl) / math.log(2), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("count", COUNTS)
def test_the_bound_of_the_best_model_is_the_entropy_of_the_data(schedule, prediction, count):
    """Sum of L_VLB over the steps + prior term = -E[log p(z0)] of the chain that starts at N(0, 1), in bits.

    With the true reverse variance the chain is the data's own reversed, so the sum alone is the entropy less the mutual
    information of z0 and zT, and the prior term adds that and KL(q(zT) || N(0, 1)), however many steps are kept.
    A lone step has no range to learn in: its variance is its beta, and the excess is what that costs.
    """
    process = spaced(schedule, count)
    truth = Truth(process)
    bound = expected(process, prediction, *best(process), v_of(process, truth.reverse_variance)).vlb.sum().item()
    signal, prior = truth.signal[-1], Normal(0.0, 1.0)
    last = Normal(math.sqrt(signal) * MEAN, math.sqrt(signal * SPREAD**2 + 1 - signal))
    # E over z0 of KL(N(sqrt(signal) z0, 1 - signal) || N(0, 1))
    prior_term = 0.5 * (signal * (MEAN**2 + SPREAD**2) - signal - math.log1p(-signal))
    entropy = Normal(MEAN, SPREAD).entropy().item()
    excess = 0.0
    if count == 1:
        ratio = truth.doubt[0] / (1 - signal)
        excess = 0.5 * (ratio - 1 - math.log(ratio))
    total = bound + prior_term / math.log(2)
    assert total == pytest.approx((entropy + kl_divergence(last, prior).item() + excess) / math.log(2), abs=1e-7)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_fewer_steps_cost_nothing_and_a_fixed_variance_does(schedule):
    """Why the variance is learned: the posterior's (v = -1) and beta (v = 1) both cost bits, in few steps or many."""
    costs = {}
    for count in COUNTS[:-1]:
        process = spaced(schedule, count)
        learned = v_of(process, Truth(process).reverse_variance)
        posterior, beta = (torch.full((count,), v, dtype=torch.float64) for v in (-1.0, 1.0))
        choices = (learned, posterior, beta)
        costs[count], *fixed = (expected(process, "mask", *best(process), v).vlb.sum() for v in choices)
        assert min(fixed) > costs[count] + 0.001
    assert all(cost.item() == pytest.approx(costs[1000].item(), abs=1e-7) for cost in costs.values())
