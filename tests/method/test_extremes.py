"""The diffusion at its edges: one step, capped betas, variances far outside their range, half precision."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from universal_diffusion.errors import InputError
from universal_diffusion.method.diffusion import GaussianDiffusion, betas, normal_kl, normal_nll
from universal_diffusion.method.samplers import sample

SCHEDULES = ["cosine", "linear"]
PREDICTIONS = ["mask", "noise"]


def drawn(count: int, seed: int = 0, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(count, 2, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@given(timesteps=st.integers(1, 300))
def test_cosine_betas_are_possible_for_any_number_of_steps_and_only_the_last_is_capped(timesteps):
    table = betas("cosine", timesteps)
    assert table.dtype == torch.float64
    assert table.shape == (timesteps,)
    assert ((table > 0) & (table <= 0.999)).all()
    assert table[-1] == 0.999
    assert (table[:-1] < 0.999).all()
    process = GaussianDiffusion.scheduled("cosine", timesteps)
    assert (process.alphas_cumprod.diff() < 0).all()


@given(timesteps=st.integers(1, 300))
def test_linear_betas_are_refused_where_they_cannot_be(timesteps):
    if timesteps < 21:
        with pytest.raises(InputError, match="at least 21"):
            GaussianDiffusion.scheduled("linear", timesteps)
    else:
        assert (GaussianDiffusion.scheduled("linear", timesteps).alphas_cumprod > 0).all()


@pytest.mark.parametrize(
    "process", [GaussianDiffusion.scheduled("cosine", 1), GaussianDiffusion.scheduled("linear", 1000).respace(1)]
)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_process_of_one_step_is_a_likelihood_and_an_estimate(process, prediction):
    """There is no step before it: its variance is its beta whatever v says, its sample is the estimate of z0."""
    assert process.timesteps == 1
    assert process.posterior_variance.tolist() == [0.0]
    assert torch.allclose(process.posterior_log_variance, process.betas.log())
    z0, noise, value, v = drawn(4, dtype=torch.float64)
    step = torch.zeros(2, dtype=torch.int64)
    zt = process.q_sample(z0, step, noise)
    losses = process.losses(prediction, torch.cat([value, 10 * v], 1), z0, zt, step, noise)
    estimate = process.to_mask(prediction, value, zt, step)
    likelihood = normal_nll(z0, estimate, process.betas.log().expand_as(z0))
    assert torch.allclose(losses.vlb, likelihood.flatten(1).mean(1) / math.log(2))
    for method in ("ddim", "ancestral"):
        out = sample(method, lambda z, t: torch.cat([value, v], 1), zt, process, prediction, 1, 1.0, None)
        assert torch.allclose(out, estimate)
    with pytest.raises(InputError, match="expected 1 to 1"):
        process.respace(2)


@settings(max_examples=60)
@given(
    step=st.integers(0, 999),
    v=st.floats(-20, 20),
    scale=st.floats(1e-3, 100),
    schedule=st.sampled_from(SCHEDULES),
    prediction=st.sampled_from(PREDICTIONS),
)
def test_losses_and_gradients_are_finite_for_whatever_an_untrained_network_says(step, v, scale, schedule, prediction):
    """v is not bounded: Improved DDPM interpolates in log space, and outside [-1, 1] this extrapolates."""
    process, at = GaussianDiffusion.scheduled(schedule, 1000), torch.full((2,), step)
    z0, noise, value = drawn(3, seed=step)
    output = torch.cat([scale * value, torch.full_like(value, v)], 1).requires_grad_()
    losses = process.losses(prediction, output, z0, process.q_sample(z0, at, noise), at, noise)
    assert all(loss.isfinite().all() and loss.dtype == torch.float32 for loss in losses)
    assert (losses.vlb >= -1e-3).all() or step == 0  # a divergence; a likelihood's density may exceed 1
    assert torch.autograd.grad(losses.hybrid.sum(), output)[0].isfinite().all()


@settings(max_examples=60)
@given(step=st.integers(1, 999), v=st.floats(-5, 5), schedule=st.sampled_from(SCHEDULES))
def test_log_variance_extrapolates_along_the_same_line(step, v, schedule):
    process, at = GaussianDiffusion.scheduled(schedule, 1000), torch.tensor([step])
    ends = [process.model_log_variance(torch.full((1, 1), x, dtype=torch.float64), at).item() for x in (-1.0, 1.0)]
    assert ends[0] <= ends[1]
    value = process.model_log_variance(torch.full((1, 1), v, dtype=torch.float64), at).item()
    assert value == pytest.approx(ends[0] + (v + 1) / 2 * (ends[1] - ends[0]), abs=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_last_steps_have_next_to_no_range_of_variance(schedule):
    """Posterior and beta meet where zt says nothing of z_{t-1} beyond z0: above step 200 they are within 1 %."""
    process = GaussianDiffusion.scheduled(schedule, 1000)
    ratio = process.posterior_variance / process.betas
    assert ((ratio[1:] > 0) & (ratio[1:] < 1)).all()
    assert (ratio[200:] > 0.99).all()
    assert process.posterior_log_variance.isfinite().all()
    assert process.model_log_variance(torch.full((1, 1), 30.0), torch.tensor([999])).isfinite()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tables_are_double_and_what_is_gathered_is_single_at_least(dtype):
    process, step = GaussianDiffusion.scheduled("linear", 1000), torch.tensor([0, 999])
    for name in ("betas", "alphas_cumprod", "alphas_cumprod_previous", "posterior_variance", "posterior_log_variance"):
        assert getattr(process, name).dtype == torch.float64
        assert getattr(process.respace(7), name).dtype == torch.float64
    z0, noise = drawn(2).to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    posterior = process.posterior(z0, noise, step)
    gathered = [process.at(process.betas, step, z0), process.q_sample(z0, step, noise), *posterior]
    gathered += [process.to_mask(p, z0, noise, step) for p in PREDICTIONS] + [process.to_noise(z0, noise, step)]
    assert {tensor.dtype for tensor in gathered} == {wide}
    # 1 - alpha-bar is taken in double precision first: in single, step 0's 1e-4 would have lost three digits
    spread = process.at(1 - process.alphas_cumprod, step, z0).flatten()
    assert spread[0].item() == pytest.approx(1e-4, rel=1e-6)


@settings(max_examples=30)
@given(count=st.integers(1, 30), schedule=st.sampled_from(SCHEDULES), prediction=st.sampled_from(PREDICTIONS))
def test_samples_of_a_half_precision_network_are_finite_and_single(count, schedule, prediction):
    full = GaussianDiffusion.scheduled(schedule, 1000)
    start, *noise = drawn(count + 1)

    def denoise(zt, step):
        signal = full.at(full.alphas_cumprod, step, zt)
        estimate = (signal.sqrt() * zt).tanh()
        value = estimate if prediction == "mask" else full.to_noise(estimate, zt, step)
        return torch.cat([value, torch.zeros_like(zt)], 1).bfloat16()

    for method in ("ddim", "ancestral"):
        out = sample(method, denoise, start, full, prediction, count, 1.0, noise.__getitem__)
        assert out.dtype == torch.float32
        assert out.isfinite().all()


@settings(max_examples=50)
@given(st.floats(-50, 50), st.floats(-20, 20), st.floats(-50, 50), st.floats(-20, 20))
def test_a_divergence_is_never_negative_and_none_from_a_law_to_itself(mean, log_variance, other, other_log_variance):
    values = [torch.tensor(x, dtype=torch.float64) for x in (mean, log_variance, other, other_log_variance)]
    assert normal_kl(*values).item() >= -1e-12
    assert normal_kl(*values[:2], *values[:2]).item() == 0


@settings(max_examples=40)
@given(first=st.integers(1, 1000), second=st.integers(1, 1000), schedule=st.sampled_from(SCHEDULES))
def test_respacing_twice_visits_steps_of_the_first_and_keeps_their_signal(first, second, schedule):
    once = GaussianDiffusion.scheduled(schedule, 1000).respace(max(first, second))
    twice = once.respace(min(first, second))
    assert set(twice.timestep_map.tolist()) <= set(once.timestep_map.tolist())
    full = GaussianDiffusion.scheduled(schedule, 1000).alphas_cumprod[twice.timestep_map]
    assert np.allclose(twice.alphas_cumprod, full, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ddim_takes_the_root_of_no_negative_number_at_any_number_of_steps(schedule, dtype):
    """1 - alpha-bar_{t-1} - sigma^2 at eta 1, which is 0 but for rounding where zt holds no signal."""
    full, zt = GaussianDiffusion.scheduled(schedule, 1000), torch.zeros(1, dtype=dtype)
    for count in range(1, 1001):
        process, steps = full.respace(count), torch.arange(count)
        signal = process.at(process.alphas_cumprod_previous, steps, zt)
        assert (1 - signal - process.at(process.posterior_variance, steps, zt) >= 0).all()
