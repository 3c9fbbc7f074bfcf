"""The samplers on Gaussian data, whose best denoiser is affine, so that what they produce has a closed form.

Every sampler is then an affine map of (start, noise of each step). A batch of unit impulses reads that map off exactly,
and its mean and variance are compared with recursions written here from the papers, in NumPy.
"""

import math

import numpy as np
import pytest
import torch

from universal_diffusion.errors import InputError
from universal_diffusion.method.diffusion import GaussianDiffusion
from universal_diffusion.method.samplers import ancestral, ddim, sample

MEAN, SPREAD = 0.7, 0.4  # of the data z0 ~ N(MEAN, SPREAD^2)
STEPS = [1000, 50, 20, 5, 1]
SCHEDULES = ["cosine", "linear"]


def best_estimate(signal, zt):
    """E[z0 | zt] for the Gaussian data."""
    gain = SPREAD**2 * signal**0.5 / (signal * SPREAD**2 + 1 - signal)
    return MEAN + gain * (zt - signal**0.5 * MEAN)


def denoiser(full: GaussianDiffusion, prediction: str, v: torch.Tensor):
    """The best denoiser with the learned-variance output `v` (T,), both indexed by the original step."""

    def denoise(zt, original_step):
        at = original_step.view(-1, 1, 1, 1)
        signal = full.alphas_cumprod[at]
        estimate = best_estimate(signal, zt)
        value = estimate if prediction == "mask" else full.to_noise(estimate, zt, original_step)
        return torch.cat([value, v[at].expand_as(zt)], 1)

    return denoise


def moments(method, full, prediction, steps, eta=0.0, v=None, start=(0.0, 1.0), up_to=None):
    """Mean and variance of the sampler's output for a start of mean start[0] and variance start[1]."""
    v = torch.zeros(full.timesteps, dtype=torch.float64) if v is None else v
    impulses = torch.eye(steps + 1, dtype=torch.float64).view(-1, steps + 1, 1, 1)  # (N, start and steps, 1, 1)
    impulses = torch.cat([torch.zeros_like(impulses[:1]), impulses])
    begin = start[0] + math.sqrt(start[1]) * impulses[:, :1]
    denoise = denoiser(full, prediction, v)
    out = sample(
        method, denoise, begin, full, prediction, steps, eta, lambda i: impulses[:, i + 1 : i + 2], up_to
    ).flatten()
    return out[0].item(), (out[1:] - out[0]).square().sum().item()


def propagate(signals, eta=None, shares=None, start=(0.0, 1.0)):
    """NumPy recursion of (mean, variance) through a sampler; `signals` are alpha-bar at its steps, ascending in t."""
    mean, variance = start
    for i in reversed(range(len(signals))):
        here, before = signals[i], signals[i - 1] if i else 1.0
        beta = 1 - here / before
        posterior = beta * (1 - before) / (1 - here)
        slope = SPREAD**2 * math.sqrt(here) / (here * SPREAD**2 + 1 - here)
        shift = MEAN * (1 - slope * math.sqrt(here))  # the estimate is slope * zt + shift
        if eta is None:  # eq. 9 and the interpolated variance
            of_z0, of_zt = math.sqrt(before) * beta / (1 - here), math.sqrt(1 - beta) * (1 - before) / (1 - here)
            added = 0.0 if i == 0 else math.exp(shares[i] * math.log(beta) + (1 - shares[i]) * math.log(posterior))
        else:  # DDIM: the estimate, and the noise pointing to zt
            added = eta**2 * posterior if i else 0.0
            of_zt = math.sqrt(max(1 - before - added, 0.0) / (1 - here))
            of_z0 = math.sqrt(before) - of_zt * math.sqrt(here)
        mean = of_z0 * (slope * mean + shift) + of_zt * mean
        variance = (of_z0 * slope + of_zt) ** 2 * variance + added
    return mean, variance


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", ["mask", "noise"])
@pytest.mark.parametrize("steps", STEPS)
def test_samplers_propagate_the_gaussian_exactly(schedule, prediction, steps):
    full = GaussianDiffusion.scheduled(schedule, 1000)
    kept = (np.arange(1, steps + 1) * 1000 // steps) - 1
    signals = np.cumprod(1 - full.betas.numpy())[kept]
    v = torch.linspace(-1, 1, 1000, dtype=torch.float64)
    shares = (v.numpy()[kept] + 1) / 2
    close = {"rel": 1e-5, "abs": 1e-7}
    assert moments("ancestral", full, prediction, steps, v=v) == pytest.approx(
        propagate(signals, None, shares), **close
    )
    for eta in (0.0, 0.5, 1.0):
        assert moments("ddim", full, prediction, steps, eta) == pytest.approx(propagate(signals, eta), **close)


@pytest.mark.parametrize("prediction", ["mask", "noise"])
@pytest.mark.parametrize(("up_to", "steps"), [(999, 10), (300, 301), (300, 7), (41, 5), (0, 1)])
def test_a_warm_start_propagates_the_gaussian_exactly(prediction, up_to, steps):
    """From z0 ~ N(m, s^2), other than the data, noised to `up_to`; visited are the trailing steps below it."""
    full = GaussianDiffusion.scheduled("linear", 1000)
    kept = (np.arange(1, steps + 1) * (up_to + 1) // steps) - 1
    signals = np.cumprod(1 - full.betas.numpy())[kept]
    noised = full.q_sample(torch.tensor([[0.2, 0.0]], dtype=torch.float64), torch.tensor([up_to]), torch.ones(1, 2))
    spread = noised[0, 1].item()  # what noise of 1 makes of z0 = 0
    start = (noised[0, 0].item() - spread, signals[-1] * 0.3**2 + spread**2)
    close = {"rel": 1e-5, "abs": 1e-6}
    shares = np.full(steps, 0.5)
    ancestral_moments = moments("ancestral", full, prediction, steps, start=start, up_to=up_to)
    assert ancestral_moments == pytest.approx(propagate(signals, None, shares, start), **close)
    for eta in (0.0, 1.0):
        ddim_moments = moments("ddim", full, prediction, steps, eta, start=start, up_to=up_to)
        assert ddim_moments == pytest.approx(propagate(signals, eta, start=start), **close)


def test_a_warm_start_from_the_data_returns_the_data():
    """The true data noised to t and sampled back by deterministic DDIM in many steps is the data again."""
    full = GaussianDiffusion.scheduled("cosine", 1000)
    for up_to in (100, 500):
        signal = full.alphas_cumprod[up_to].item()
        start = (math.sqrt(signal) * MEAN, signal * SPREAD**2 + 1 - signal)
        mean, variance = moments("ddim", full, "mask", up_to + 1, start=start, up_to=up_to)
        assert mean == pytest.approx(MEAN, abs=0.005)
        assert math.sqrt(variance) == pytest.approx(SPREAD, rel=0.01)


@pytest.mark.parametrize(("steps", "up_to", "named"), [(5, 1000, "warm_start"), (5, -1, "warm_start"), (5, 3, "steps")])
def test_steps_that_a_warm_start_has_not_are_refused(steps, up_to, named):
    with pytest.raises(InputError, match=f"change segmentation.{named}"):
        GaussianDiffusion.scheduled("cosine", 1000).respace(steps, up_to)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", STEPS)
def test_ancestral_sampling_with_the_true_reverse_variance_returns_the_data(schedule, steps):
    """With p(z_{t-1} | zt) exact, any number of steps gives N(MEAN, SPREAD^2) less the last step's unadded noise."""
    full = GaussianDiffusion.scheduled(schedule, 1000)
    spaced = full.respace(steps)
    signal, before = spaced.alphas_cumprod, spaced.alphas_cumprod_previous
    doubt = SPREAD**2 * (1 - signal) / (signal * SPREAD**2 + 1 - signal)  # Var(z0 | zt)
    of_z0 = spaced.betas * before.sqrt() / (1 - signal)
    reverse = spaced.posterior_variance + of_z0**2 * doubt
    low, high = spaced.posterior_log_variance, spaced.betas.log()
    v = torch.zeros(1000, dtype=torch.float64)
    # At step 0 the variance is not used, and of a lone step posterior and beta are one.
    v[spaced.timestep_map[1:]] = 2 * ((reverse.log() - low) / (high - low))[1:] - 1
    start = (signal[-1].sqrt().item() * MEAN, (signal[-1] * SPREAD**2 + 1 - signal[-1]).item())
    mean, variance = moments("ancestral", full, "mask", steps, v=v, start=start)
    assert mean == pytest.approx(MEAN, abs=1e-7)
    assert variance == pytest.approx(SPREAD**2 - doubt[0].item(), rel=1e-6)


def test_deterministic_ddim_with_many_steps_returns_the_data():
    full = GaussianDiffusion.scheduled("cosine", 1000)
    mean, variance = moments("ddim", full, "mask", 1000, eta=0.0)
    assert mean == pytest.approx(MEAN, abs=0.01)
    assert math.sqrt(variance) == pytest.approx(SPREAD, rel=0.02)


@pytest.mark.parametrize("steps", STEPS)
def test_ddim_at_eta_1_is_ancestral_sampling_with_the_posterior_variance(steps):
    full = GaussianDiffusion.scheduled("cosine", 1000)
    generator = torch.Generator().manual_seed(0)
    start, *noise = torch.randn(steps + 1, 2, 1, 3, 3, generator=generator, dtype=torch.float64)
    denoise = denoiser(full, "mask", torch.full((1000,), -1.0, dtype=torch.float64))
    outputs = [sample(m, denoise, start, full, "mask", steps, 1.0, noise.__getitem__) for m in ("ddim", "ancestral")]
    assert torch.allclose(*outputs, atol=1e-8)


def test_one_step_from_noise_is_the_estimate_itself():
    full = GaussianDiffusion.scheduled("cosine", 1000)
    start = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    denoise = denoiser(full, "mask", torch.zeros(1000, dtype=torch.float64))
    for method in ("ddim", "ancestral"):
        out = sample(method, denoise, start, full, "mask", 1, 1.0, noise=no_noise)
        assert torch.allclose(out, best_estimate(full.alphas_cumprod[-1].item(), start))


def no_noise(i):
    raise AssertionError(f"noise {i} was asked for")


def test_the_trajectory_shows_every_step_and_asks_the_network_for_original_steps():
    full, asked, drawn = GaussianDiffusion.scheduled("cosine", 1000), [], []
    inner = denoiser(full, "mask", torch.zeros(1000))

    def denoise(zt, step):
        asked.append(step.tolist())
        return inner(zt, step)

    def noise(i):
        drawn.append(i)
        return torch.zeros(2, 1, 2, 2)

    states = list(ancestral(denoise, torch.ones(2, 1, 2, 2), full.respace(4), "mask", noise))
    assert [state.step for state in states] == [3, 2, 1, 0]
    assert asked == [[999] * 2, [749] * 2, [499] * 2, [249] * 2]
    assert drawn == [0, 1, 2]
    assert torch.allclose(states[-1].latent, states[-1].estimate)


def test_deterministic_ddim_asks_for_no_noise_and_keeps_no_gradients():
    full = GaussianDiffusion.scheduled("linear", 1000)
    scale = torch.ones(1, requires_grad=True)
    inner = denoiser(full, "mask", torch.zeros(1000))
    states = ddim(
        lambda zt, step: scale * inner(zt, step), torch.ones(1, 1, 2, 2), full.respace(5), "mask", 0.0, no_noise
    )
    assert not any(state.latent.requires_grad for state in states)


def test_a_sample_does_not_depend_on_its_batch():
    full = GaussianDiffusion.scheduled("cosine", 1000)
    start, *noise = torch.randn(11, 3, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    denoise = denoiser(full, "mask", torch.zeros(1000, dtype=torch.float64))
    together = sample("ancestral", denoise, start, full, "mask", 10, 0.0, noise.__getitem__)
    alone = sample("ancestral", denoise, start[1:2], full, "mask", 10, 0.0, lambda i: noise[i][1:2])
    assert torch.equal(together[1:2], alone)
