"""The samplers on data less simple than one Gaussian: correlated channels, and two points (no Gaussian at all)."""

import math

import numpy as np
import pytest
import torch

from universal_diffusion.method.diffusion import GaussianDiffusion
from universal_diffusion.method.samplers import sample

SCHEDULES = ["cosine", "linear"]
MEAN = np.array([0.5, -1.0, 0.2])
COVARIANCE = np.array([[1.0, 0.6, -0.2], [0.6, 0.7, 0.1], [-0.2, 0.1, 0.3]])


def correlated(full: GaussianDiffusion, prediction: str):
    """The best denoiser of z0 ~ N(MEAN, COVARIANCE) over the channels, with v = 0."""
    mean, covariance, one = torch.from_numpy(MEAN), torch.from_numpy(COVARIANCE), torch.eye(3, dtype=torch.float64)

    def denoise(zt, step):
        signal = full.alphas_cumprod[step[0]]
        gain = signal.sqrt() * covariance @ torch.linalg.inv(signal * covariance + (1 - signal) * one)
        centred = zt - signal.sqrt() * mean[:, None, None]
        estimate = mean[:, None, None] + torch.einsum("ij,njhw->nihw", gain, centred)
        value = estimate if prediction == "mask" else full.to_noise(estimate, zt, step)
        return torch.cat([value, torch.zeros_like(zt)], 1)

    return denoise


def moments(method, full, prediction, steps, eta):
    """Mean and covariance over the channels of what comes of N(0, 1): an affine map, read off by impulses."""
    impulses = torch.eye(3 * (steps + 1), dtype=torch.float64).view(-1, steps + 1, 3, 1, 1)
    impulses = torch.cat([torch.zeros_like(impulses[:1]), impulses])
    out = sample(
        method, correlated(full, prediction), impulses[:, 0], full, prediction, steps, eta, lambda i: impulses[:, i + 1]
    )
    mean, columns = out[0].flatten(), (out[1:] - out[:1]).flatten(1)
    return mean.numpy(), (columns.T @ columns).numpy()


def propagate(signals, eta):
    """NumPy recursion of mean and covariance; `signals` are alpha-bar at the steps, `eta` None is ancestral, v = 0."""
    mean, covariance = np.zeros(3), np.eye(3)
    for i in reversed(range(len(signals))):
        here, before = signals[i], signals[i - 1] if i else 1.0
        beta = 1 - here / before
        posterior = beta * (1 - before) / (1 - here)
        gain = math.sqrt(here) * COVARIANCE @ np.linalg.inv(here * COVARIANCE + (1 - here) * np.eye(3))
        shift = MEAN - gain @ MEAN * math.sqrt(here)
        if eta is None:
            of_z0, of_zt = math.sqrt(before) * beta / (1 - here), math.sqrt(1 - beta) * (1 - before) / (1 - here)
            added = math.sqrt(beta * posterior)  # half way between their logarithms
        else:
            added = eta**2 * posterior
            of_zt = math.sqrt(max(1 - before - added, 0) / (1 - here))
            of_z0 = math.sqrt(before) - of_zt * math.sqrt(here)
        step = of_z0 * gain + of_zt * np.eye(3)
        mean = step @ mean + of_z0 * shift
        covariance = step @ covariance @ step.T + added * (i > 0) * np.eye(3)
    return mean, covariance


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", ["mask", "noise"])
@pytest.mark.parametrize("steps", [100, 20, 5, 1])
def test_a_correlated_gaussian_is_propagated_exactly(schedule, prediction, steps):
    full = GaussianDiffusion.scheduled(schedule, 1000)
    signals = np.cumprod(1 - full.betas.numpy())[np.arange(1, steps + 1) * 1000 // steps - 1]
    for method, eta in (("ancestral", None), ("ddim", 0.0), ("ddim", 1.0)):
        mean, covariance = moments(method, full, prediction, steps, eta or 0.0)
        expected_mean, expected_covariance = propagate(signals, eta)
        assert np.allclose(mean, expected_mean, rtol=1e-5, atol=1e-6)
        assert np.allclose(covariance, expected_covariance, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_all_steps_return_the_correlated_gaussian(schedule):
    """By the recursion that the samplers were just found equal to."""
    signals = np.cumprod(1 - GaussianDiffusion.scheduled(schedule, 1000).betas.numpy())
    for eta in (None, 0.0, 1.0):
        mean, covariance = propagate(signals, eta)
        assert np.allclose(mean, MEAN, atol=0.02)
        assert np.allclose(covariance, COVARIANCE, atol=0.02)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", ["mask", "noise"])
@pytest.mark.parametrize(("method", "eta"), [("ancestral", 0.0), ("ddim", 0.0), ("ddim", 1.0)])
def test_two_points_come_back_with_their_proportion(schedule, prediction, method, eta):
    """z0 is 1 with probability SHARE, else -1: E[z0 | zt] = tanh(sqrt(signal) zt / (1 - signal) + half the log odds).

    10,000 samples in 100 steps: the proportion within five standard errors, every sample within 0.001 of a point.
    """
    share, count = 0.3, 10_000
    full = GaussianDiffusion.scheduled(schedule, 1000)
    odds = math.log(share / (1 - share)) / 2

    def denoise(zt, step):
        signal = full.at(full.alphas_cumprod, step, zt)
        estimate = torch.tanh(signal.sqrt() * zt / (1 - signal) + odds)
        value = estimate if prediction == "mask" else full.to_noise(estimate, zt, step)
        return torch.cat([value, torch.full_like(zt, -1)], 1)

    generator = torch.Generator().manual_seed(0)

    def noise(i=0):
        return torch.randn(count, 1, 1, 1, generator=generator, dtype=torch.float64)

    out = sample(method, denoise, noise(), full, prediction, 100, eta, noise).flatten()
    error = math.sqrt(share * (1 - share) / count)
    assert (out > 0).double().mean().item() == pytest.approx(share, abs=5 * error)
    assert (out.abs() - 1).abs().max() < 0.001


def test_one_step_returns_the_mean_of_the_points_and_no_sample():
    """What a deterministic regressor would: from pure noise there is nothing to tell the points apart."""
    full = GaussianDiffusion.scheduled("cosine", 1000)
    odds = math.log(0.3 / 0.7) / 2

    def denoise(zt, step):
        signal = full.at(full.alphas_cumprod, step, zt)
        return torch.cat([torch.tanh(signal.sqrt() * zt / (1 - signal) + odds), torch.zeros_like(zt)], 1)

    start = torch.randn(100, 1, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = sample("ddim", denoise, start, full, "mask", 1, 1.0, None)
    assert torch.allclose(out, torch.full_like(out, 0.3 - 0.7), atol=1e-3)
