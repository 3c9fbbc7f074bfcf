"""diffusers and MONAI beside our process: equal where they are right, and where they are not, a test that says why.

Each test of a difference holds what the library does today; when the library changes, it fails and this file is read
again.
"""

import math

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from monai.networks.schedulers import DDIMScheduler as MonaiDDIM
from monai.networks.schedulers import DDPMScheduler as MonaiDDPM

from universal_diffusion.method.diffusion import GaussianDiffusion
from universal_diffusion.method.samplers import ancestral, ddim

THEIRS = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
TYPES = {"mask": "sample", "noise": "epsilon"}
COUNTS = [1000, 50, 20, 5, 1]  # all divide 1000
SCHEDULES = ["cosine", "linear"]
PREDICTIONS = ["mask", "noise"]


def full(schedule: str) -> GaussianDiffusion:
    return GaussianDiffusion.scheduled(schedule, 1000)


def scheduler(kind: type, schedule: str, count: int, prediction: str = "mask", **settings):
    """A diffusers scheduler at rest like ours: no clipping, trailing steps, the data themselves before step 0."""
    made = kind(
        beta_schedule=THEIRS[schedule],
        prediction_type=TYPES[prediction],
        clip_sample=False,
        timestep_spacing="trailing",
        **settings,
    )
    made.set_timesteps(count)
    return made


def drawn(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 2, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(full: GaussianDiffusion, prediction: str):
    """A denoiser that trusts zt more the cleaner it is, for trajectories that stay of unit size; v = 0.3."""

    def denoise(zt, step):
        signal = full.at(full.alphas_cumprod, step, zt)
        estimate = signal.sqrt() * zt.tanh()
        value = estimate if prediction == "mask" else full.to_noise(estimate, zt, step)
        return torch.cat([value, torch.full_like(zt, 0.3)], 1)

    return denoise


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_tables_are_those_of_diffusers_to_its_single_precision(schedule):
    """Their betas are rounded to float32 and multiplied up in it: 1 - alpha-bar keeps 3 to 4 digits at first."""
    ours, theirs = full(schedule), DDPMScheduler(beta_schedule=THEIRS[schedule])
    assert torch.allclose(theirs.betas.double(), ours.betas, rtol=2e-7, atol=0)
    assert torch.allclose(theirs.alphas_cumprod.double(), ours.alphas_cumprod, rtol=2e-5, atol=0)
    lost = (1 - theirs.alphas_cumprod.double()) / (1 - ours.alphas_cumprod) - 1
    assert 1e-4 < lost.abs().max() < 1e-3
    assert lost.abs().argmax() < 3


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_noised_latents_are_those_of_diffusers(schedule):
    step = torch.tensor([0, 1, 10, 100, 500, 999])
    z0, noise = torch.randn(2, 6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    theirs = DDPMScheduler(beta_schedule=THEIRS[schedule]).add_noise(z0, noise, step)
    assert torch.allclose(full(schedule).q_sample(z0, step, noise), theirs, atol=1e-5)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("count", COUNTS)
def test_ddim_goes_as_that_of_diffusers(schedule, prediction, eta, count):
    """Step by step from the same latent, to the precision of their tables; where theirs is NaN, see the next test."""
    process, denoise = full(schedule), network(full(schedule), prediction)
    theirs = scheduler(DDIMScheduler, schedule, count, prediction)
    start, *noise = drawn(count + 1)
    latent, compared = start, 0
    for i, state in enumerate(ddim(denoise, start, process.respace(count), prediction, eta, noise.__getitem__)):
        step = theirs.timesteps[i]
        output = denoise(latent, step.expand(2))[:, :3]
        expected = theirs.step(output, int(step), latent, eta=eta, variance_noise=noise[i] if eta else None).prev_sample
        if not expected.isnan().any():
            assert torch.allclose(state.latent, expected, rtol=2e-3, atol=2e-3 / math.sqrt(count))
            compared += 1
        latent = state.latent
    assert compared >= count - 1


def test_ddim_of_diffusers_at_eta_1_takes_the_root_of_a_negative_number_where_ours_does_not():
    """1 - alpha-bar_{t-1} - sigma^2 is 0 but for rounding where zt holds no signal: single tables fall below it."""
    theirs = scheduler(DDIMScheduler, "cosine", 5)
    latent, noise = drawn(2)
    assert theirs.step(latent, 999, latent, eta=1.0, variance_noise=noise).prev_sample.isnan().all()
    process = full("cosine")
    states = ddim(network(process, "mask"), latent, process.respace(5), "mask", 1.0, lambda i: noise)
    assert all(state.latent.isfinite().all() for state in states)


def test_trailing_steps_are_rounded_by_diffusers_and_floored_here():
    """Only where the count does not divide T: the same steps give or take one, and the last is T - 1 for both."""
    process, theirs = full("linear"), DDIMScheduler(timestep_spacing="trailing")
    wrong_length = []
    for count in range(1, 1001):
        theirs.set_timesteps(count)
        kept = process.respace(count).timestep_map.flip(0)
        if len(theirs.timesteps) != count:
            wrong_length.append(count)
        elif 1000 % count:
            assert (theirs.timesteps - kept).abs().max() <= 1
        else:
            assert torch.equal(theirs.timesteps, kept)
        assert theirs.timesteps[0] == kept[0] == 999
    # np.arange by a step that is no whole number adds one more in floating point: step -1, which reads T - 1's tables.
    assert wrong_length[:3] == [61, 103, 121]
    theirs.set_timesteps(61)
    assert theirs.timesteps[-1] == -1


def test_ddim_of_diffusers_leaves_its_own_steps_where_the_count_does_not_divide_t():
    """It takes t - T // count for the step before, which is not the next one it visits, and may end far from step 0."""
    theirs = scheduler(DDIMScheduler, "linear", 600)
    assert (theirs.timesteps[0] - theirs.timesteps[1]).item() == 2  # visited
    latent = drawn(1)[0]
    at = theirs.alphas_cumprod.double()
    moved = theirs.step(latent * 0, 999, latent).prev_sample / latent  # the estimate 0 leaves the noise's share alone
    assert torch.allclose(moved, ((1 - at[998]) / (1 - at[999])).sqrt().expand_as(moved), rtol=1e-5)  # used: 999 - 1
    process = full("linear")
    state = next(ddim(lambda z, t: torch.cat([z * 0, z * 0], 1), latent, process.respace(600), "mask", 0.0, None))
    signal = process.alphas_cumprod[process.respace(600).timestep_map[-2]]
    share = ((1 - signal) / (1 - process.alphas_cumprod[999])).sqrt()
    assert torch.allclose(state.latent / latent, share.expand_as(latent), rtol=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("count", COUNTS)
def test_ancestral_steps_are_those_of_diffusers_but_for_the_last(schedule, prediction, count):
    """Mean of eq. 9 and log-interpolated variance; their noise comes from a generator of the same seed as ours.

    Their tables' precision shows most in the variance of the first of 1000 steps, where they take 1 - alpha-bar_t /
    alpha-bar_{t-1} for a beta of 1e-4: three digits.
    """
    process, denoise = full(schedule), network(full(schedule), prediction)
    theirs = scheduler(DDPMScheduler, schedule, count, prediction, variance_type="learned_range")
    start = drawn(1)[0]
    ours, other = (torch.Generator().manual_seed(3) for _ in range(2))

    def noise(i):
        return torch.randn(start.shape, generator=ours, dtype=torch.float64)

    latent = start
    for i, state in enumerate(ancestral(denoise, start, process.respace(count), prediction, noise)):
        step = theirs.timesteps[i]
        if i + 1 < count:
            expected = theirs.step(denoise(latent, step.expand(2)), int(step), latent, generator=other).prev_sample
            assert torch.allclose(state.latent, expected, rtol=2e-3, atol=2e-3 / math.sqrt(count))
            latent = state.latent


@pytest.mark.parametrize("count", [50, 5, 1])
def test_ancestral_sampling_of_diffusers_adds_noise_to_its_last_step_when_respaced(count):
    """It asks whether t > 0, not whether this is the last step, whose t is T / count - 1 with trailing steps.

    Its variance there is interpolated between 1e-20, put for the 0 of the posterior, and beta: at v = 1 all of beta.
    """
    theirs = scheduler(DDPMScheduler, "linear", count, "mask", variance_type="learned_range")
    last = int(theirs.timesteps[-1])
    assert last == 1000 // count - 1
    estimate = torch.zeros(1, 1, 50, 50, dtype=torch.float64)
    output = torch.cat([estimate, torch.ones_like(estimate)], 1)
    found = theirs.step(output, last, estimate, generator=torch.Generator().manual_seed(0)).prev_sample
    beta = full("linear").respace(count).betas[0].item()
    assert found.var().item() == pytest.approx(beta, rel=0.15)
    process = full("linear").respace(count)
    states = list(
        ancestral(lambda z, t: torch.cat([z * 0, z * 0 + 1], 1), estimate, process, "mask", lambda i: estimate)
    )
    assert (states[-1].latent == 0).all()  # the estimate itself


@pytest.mark.parametrize("count", COUNTS)
def test_learned_variance_is_that_of_diffusers_where_it_is_used(count):
    process, theirs = full("cosine").respace(count), scheduler(DDPMScheduler, "cosine", count)
    for i, step in enumerate(theirs.timesteps[:-1].tolist()):
        at = torch.tensor([count - 1 - i])
        for share in (-1.0, 0.25, 1.0):
            v = torch.full((1, 1, 1, 1), share, dtype=torch.float64)
            other = theirs._get_variance(step, v, "learned_range")
            assert process.model_log_variance(v, at).item() == pytest.approx(other.item(), abs=1.5e-3)


def test_ddim_goes_as_that_of_monai():
    process = full("linear")
    schedule = {"schedule": "linear_beta", "beta_start": 1e-4, "beta_end": 0.02}
    theirs = MonaiDDIM(**schedule, clip_sample=False, prediction_type="sample", set_alpha_to_one=True)
    theirs.set_timesteps(1000)
    denoise, latent = network(process, "mask"), drawn(1)[0]
    for i, state in enumerate(ddim(denoise, latent, process, "mask", 0.0, None)):
        step = 999 - i
        expected, _ = theirs.step(denoise(latent, torch.tensor([step, step]))[:, :3], step, latent)
        assert torch.allclose(state.latent, expected, rtol=2e-3, atol=1e-4)
        latent = state.latent


def monai(**settings) -> MonaiDDPM:
    return MonaiDDPM(schedule="cosine", prediction_type="sample", **settings)


def test_monai_still_takes_the_step_before_in_training_for_the_step_before_in_sampling():
    """Its `step` reads alpha-bar_{t-1} after `set_timesteps(20)` too: 20 small steps, and the noise hardly falls."""
    theirs = monai(clip_sample=False)
    theirs.set_timesteps(20)
    step = int(theirs.timesteps[0])
    latent = drawn(1)[0]
    mean = theirs._get_mean(step, latent * 0, latent) / latent
    used = (1 - theirs.betas[step]).sqrt() * (1 - theirs.alphas_cumprod[step - 1]) / (1 - theirs.alphas_cumprod[step])
    assert torch.allclose(mean, used.double().expand_as(mean), rtol=1e-5)
    following = int(theirs.timesteps[1])
    here, after = theirs.alphas_cumprod[step], theirs.alphas_cumprod[following]
    right = (here / after).sqrt() * (1 - after) / (1 - here)
    assert not torch.allclose(mean, right.double().expand_as(mean), rtol=0.5)


def test_monai_still_interpolates_variances_and_not_their_logarithms():
    """Improved DDPM, eq. 15 is geometric; the arithmetic mean is larger, and negative for v below its range."""
    theirs, process = monai(variance_type="learned_range"), full("cosine")
    low, high = process.posterior_variance[1].item(), process.betas[1].item()
    middle = theirs._get_variance(1, torch.zeros(1)).item()
    assert middle == pytest.approx((low + high) / 2, rel=0.01)
    ours = process.model_log_variance(torch.zeros(1, 1), torch.tensor([1])).exp().item()
    assert ours == pytest.approx(math.sqrt(low * high), rel=1e-5)
    assert middle > 1.05 * ours
    assert theirs._get_variance(1, torch.tensor([-4.0])) < 0


def test_monai_still_clips_latents_unless_told_not_to():
    theirs = monai()
    assert theirs.clip_sample
    latent = torch.full((1, 1, 1, 1), 3.0)
    _, estimate = theirs.step(latent, 0, latent)
    assert estimate.item() == 1.0
    estimate = next(
        ancestral(lambda z, t: torch.cat([z, z], 1), latent, full("cosine").respace(1), "mask", None)
    ).estimate
    assert estimate.item() == 3.0
