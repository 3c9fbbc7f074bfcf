"""The diffusion against closed forms: Bayes' rule, a simulated chain, torch.distributions, the printed equations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.distributions import Normal, kl_divergence

from universal_diffusion.errors import InputError
from universal_diffusion.method.diffusion import GaussianDiffusion, betas, normal_kl, normal_nll

SCHEDULES = ["cosine", "linear"]


def latents(count: int, seed: int, dtype=torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(6, 3, 4, 4, generator=generator, dtype=dtype) for _ in range(count)]


def test_linear_betas_are_those_of_ho_et_al():
    table = betas("linear", 1000)
    assert table.dtype == torch.float64
    assert (table[0].item(), table[-1].item()) == (1e-4, 0.02)
    assert torch.allclose(table.diff(), torch.full((999,), (0.02 - 1e-4) / 999, dtype=torch.float64))
    assert betas("linear", 500)[-1].item() == pytest.approx(0.04)


def test_cosine_betas_reproduce_the_cosine_until_they_are_capped():
    process = GaussianDiffusion.scheduled("cosine", 1000)
    step = np.arange(1, 1001)
    cosine = np.cos((step / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 / np.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert np.allclose(process.alphas_cumprod[:-1], cosine[:-1], rtol=1e-9)
    assert process.betas[-1] == 0.999
    assert bool((process.betas.diff() >= 0).all())


def test_a_schedule_with_impossible_betas_is_refused():
    with pytest.raises(InputError, match="betas outside"):
        GaussianDiffusion.scheduled("linear", 20)
    GaussianDiffusion.scheduled("linear", 21)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("timesteps", "count"), [(40, 40), (1000, 1000), (1000, 50)])
def test_q_sample_has_the_law_of_the_simulated_chain(schedule, timesteps, count):
    """Eq. 6 against z_t = sqrt(1 - beta_t) z_{t-1} + sqrt(beta_t) noise, run step by step; respaced processes too.

    20,000 chains: standard errors are spread / sqrt(20000) of the mean and sqrt(2 / 20000) = 1 % of the variance; five
    of each are allowed, and a Kolmogorov-Smirnov test against the normal law.
    """
    process, chains = GaussianDiffusion.scheduled(schedule, timesteps).respace(count), 20_000
    generator = torch.Generator().manual_seed(0)
    chain = torch.full((chains,), 1.7, dtype=torch.float64)
    for step, beta in enumerate(process.betas):
        chain = (1 - beta).sqrt() * chain + beta.sqrt() * torch.randn(chains, generator=generator, dtype=torch.float64)
        if step in (0, count // 5, count // 2, count - 1):
            at = torch.tensor([step])
            signal = process.q_sample(torch.full((1, 1), 1.7).double(), at, torch.zeros(1, 1).double()).item()
            spread = process.q_sample(torch.zeros(1, 1).double(), at, torch.ones(1, 1).double()).item()
            assert chain.mean().item() == pytest.approx(signal, abs=5 * spread / math.sqrt(chains))
            assert chain.var().item() == pytest.approx(spread**2, rel=5 * math.sqrt(2 / chains))
            assert stats.kstest(chain.numpy(), "norm", (signal, spread)).pvalue > 1e-3


@settings(max_examples=60)
@given(step=st.integers(1, 999), schedule=st.sampled_from(SCHEDULES), seed=st.integers(0, 99))
def test_posterior_is_bayes_rule(step, schedule, seed):
    """q(z_{t-1} | zt, z0) as the normalised product of q(zt | z_{t-1}) and q(z_{t-1} | z0), by adding precisions."""
    process = GaussianDiffusion.scheduled(schedule, 1000)
    z0, zt = latents(2, seed)
    beta = betas(schedule, 1000)[step].item()
    before = math.prod(1 - b for b in betas(schedule, 1000)[:step].tolist())
    precision = (1 - beta) / beta + 1 / (1 - before)
    mean = (math.sqrt(1 - beta) / beta * zt + math.sqrt(before) / (1 - before) * z0) / precision
    posterior = process.posterior(z0, zt, torch.full((6,), step))
    assert torch.allclose(posterior.mean, mean, rtol=1e-8, atol=1e-10)
    assert torch.allclose(posterior.variance, torch.tensor(1 / precision, dtype=torch.float64), rtol=1e-9)
    assert torch.allclose(posterior.log_variance.exp(), posterior.variance)


def test_posterior_at_step_0_is_z0_with_a_finite_log_variance():
    process = GaussianDiffusion.scheduled("cosine", 1000)
    z0, zt = latents(2, 0)
    posterior = process.posterior(z0, zt, torch.zeros(6, dtype=torch.int64))
    assert torch.allclose(posterior.mean, z0)
    assert bool((posterior.variance == 0).all())
    assert torch.allclose(posterior.log_variance, process.posterior_variance[1].log())


@settings(max_examples=60)
@given(step=st.integers(0, 999), schedule=st.sampled_from(SCHEDULES), seed=st.integers(0, 99))
def test_mask_and_noise_convert_into_each_other(step, schedule, seed):
    process, at = GaussianDiffusion.scheduled(schedule, 1000), torch.full((6,), step)
    z0, noise = latents(2, seed)
    zt = process.q_sample(z0, at, noise)
    assert torch.allclose(process.to_mask("noise", noise, zt, at), z0, atol=1e-9)
    assert torch.allclose(process.to_noise(z0, zt, at), noise, atol=1e-9)
    assert torch.equal(process.to_mask("mask", z0, zt, at), z0)


@settings(max_examples=60)
@given(step=st.integers(0, 999), v=st.floats(-1, 1))
def test_learned_variance_lies_between_posterior_and_beta_in_log_space(step, v):
    process, at = GaussianDiffusion.scheduled("cosine", 1000), torch.tensor([step])
    low, high = process.posterior_log_variance[step].item(), process.betas[step].log().item()
    value = process.model_log_variance(torch.full((1, 1, 1, 1), v, dtype=torch.float64), at).item()
    assert value == pytest.approx(low + (v + 1) / 2 * (high - low), abs=1e-12)


@settings(max_examples=60)
@given(st.floats(-3, 3), st.floats(-8, 2), st.floats(-3, 3), st.floats(-8, 2))
def test_divergence_and_likelihood_agree_with_torch_distributions(mean, log_variance, other_mean, other_log_variance):
    values = [torch.tensor(x, dtype=torch.float64) for x in (mean, log_variance, other_mean, other_log_variance)]
    first, second = (Normal(m, (s / 2).exp()) for m, s in (values[:2], values[2:]))
    assert normal_kl(*values).item() == pytest.approx(kl_divergence(first, second).item(), rel=1e-9, abs=1e-9)
    assert normal_nll(values[0], *values[2:]).item() == pytest.approx(-second.log_prob(values[0]).item(), rel=1e-9)


@pytest.mark.parametrize("prediction", ["mask", "noise"])
def test_losses_are_the_printed_ones_step_by_step(prediction):
    process = GaussianDiffusion.scheduled("linear", 500)
    step = torch.tensor([0, 1, 2, 50, 250, 499])
    z0, noise, value, v = latents(4, 3)
    zt = process.q_sample(z0, step, noise)
    losses = process.losses(prediction, torch.cat([value, v], 1), z0, zt, step, noise)
    for i, t in enumerate(step.tolist()):
        at = torch.tensor([t])
        truth, sample = (z0 if prediction == "mask" else noise)[i], zt[i : i + 1]
        estimate = process.to_mask(prediction, value[i : i + 1], sample, at)
        model = Normal(
            process.posterior(estimate, sample, at).mean,
            (process.model_log_variance(v[i : i + 1], at) / 2).exp(),
        )
        if t == 0:
            nats = -model.log_prob(z0[i : i + 1])
        else:
            true = process.posterior(z0[i : i + 1], sample, at)
            nats = kl_divergence(Normal(true.mean, true.variance.sqrt()), model)
        assert losses.mse[i].item() == pytest.approx((truth - value[i]).pow(2).mean().item())
        assert losses.vlb[i].item() == pytest.approx(nats.mean().item() / math.log(2), rel=1e-8)
        assert losses.hybrid[i].item() == pytest.approx((losses.mse[i] + losses.vlb[i] * 500 / 1000).item())


@pytest.mark.parametrize("prediction", ["mask", "noise"])
def test_the_bound_trains_the_variance_only_and_the_squared_error_the_prediction_only(prediction):
    process, step = GaussianDiffusion.scheduled("cosine", 1000), torch.tensor([0, 1, 9, 99, 500, 999])
    z0, noise, value, v = latents(4, 4)
    output = torch.cat([value, v], 1).requires_grad_()
    losses = process.losses(prediction, output, z0, process.q_sample(z0, step, noise), step, noise)
    of_bound = torch.autograd.grad(losses.vlb.sum(), output, retain_graph=True)[0]
    of_error = torch.autograd.grad(losses.mse.sum(), output)[0]
    assert bool((of_bound[:, :3] == 0).all())
    assert bool((of_bound[:, 3:].flatten(1).abs().sum(1) > 0).all())
    assert bool((of_error[:, 3:] == 0).all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_losses_of_a_low_precision_network_are_finite_float32(dtype):
    process, step = GaussianDiffusion.scheduled("cosine", 1000), torch.tensor([0, 1, 9, 99, 500, 999])
    z0, noise, value, v = latents(4, 5, torch.float32)
    output = torch.cat([value, v], 1).to(dtype).requires_grad_()
    for prediction in ("mask", "noise"):
        losses = process.losses(prediction, output, z0, process.q_sample(z0, step, noise), step, noise)
        assert losses.hybrid.dtype == torch.float32
        assert bool(losses.hybrid.isfinite().all())
        assert bool(torch.autograd.grad(losses.hybrid.mean(), output)[0].isfinite().all())


def test_the_perfect_prediction_costs_only_the_choice_of_variance():
    process, step = GaussianDiffusion.scheduled("cosine", 1000), torch.tensor([1, 2, 9, 99, 500, 999])
    z0, noise = latents(2, 6)
    perfect = torch.cat([z0, -torch.ones_like(z0)], 1)  # v = -1: the posterior's own variance
    losses = process.losses("mask", perfect, z0, process.q_sample(z0, step, noise), step, noise)
    assert losses.hybrid.abs().max().item() < 1e-12


@settings(max_examples=60)
@given(count=st.integers(1, 1000), schedule=st.sampled_from(SCHEDULES))
def test_respacing_keeps_the_signal_at_the_kept_steps(count, schedule):
    process = GaussianDiffusion.scheduled(schedule, 1000)
    spaced = process.respace(count)
    assert spaced.timesteps == count
    assert spaced.timestep_map[-1] == 999
    assert torch.allclose(spaced.alphas_cumprod, process.alphas_cumprod[spaced.timestep_map], rtol=1e-6, atol=0)
    gaps = spaced.timestep_map.diff()
    assert count == 1 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


def test_respacing_is_trailing_and_composes():
    process = GaussianDiffusion.scheduled("cosine", 1000)
    assert process.respace(4).timestep_map.tolist() == [249, 499, 749, 999]
    assert process.respace(3).timestep_map.tolist() == [332, 665, 999]
    assert process.respace(100).respace(4).timestep_map.tolist() == [249, 499, 749, 999]
    assert torch.allclose(process.respace(1000).betas, process.betas, rtol=1e-9)


@pytest.mark.parametrize("count", [0, 1001])
def test_an_impossible_number_of_sampling_steps_is_refused(count):
    with pytest.raises(InputError, match="1 to 1000"):
        GaussianDiffusion.scheduled("cosine", 1000).respace(count)
