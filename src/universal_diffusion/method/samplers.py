"""Samplers: from noise to a mask latent, step by step (eq. 8), as generators over the trajectory.

A sampler asks `denoise(zt, step)` for the network's output (N, 2C, h, w) at the steps the network was trained with,
and `noise(i)` for the noise of its i-th step, i = 0, 1, ..., so that each sample's noise can be its own whatever batch
it is in. The last step draws no noise. No gradients are kept, and latents are never clipped.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from universal_diffusion.method.diffusion import GaussianDiffusion, Prediction

Denoise = Callable[[Tensor, Tensor], Tensor]
Noise = Callable[[int], Tensor]


@dataclass(frozen=True, eq=False)
class State:
    """The trajectory after undoing `step` of the process: the latent (N, C, h, w) and the estimate of z0 behind it."""

    step: int
    latent: Tensor
    estimate: Tensor


@torch.no_grad()
def ancestral(
    denoise: Denoise, start: Tensor, process: GaussianDiffusion, prediction: Prediction, noise: Noise
) -> Iterator[State]:
    """Ho et al. 2020, algorithm 2, with the mean of eq. 9 and the learned variance; `start` (N, C, h, w) is zT."""
    process, latent = process.to(start.device), start
    for i, step in enumerate(reversed(range(process.timesteps))):
        steps = torch.full((len(latent),), step, device=latent.device)
        value, v = denoise(latent, process.timestep_map[steps]).chunk(2, dim=1)
        estimate = process.to_mask(prediction, value, latent, steps)
        latent = process.posterior(estimate, latent, steps).mean
        if step > 0:
            latent = latent + (process.model_log_variance(v, steps) / 2).exp() * noise(i)
        yield State(step, latent, estimate)


@torch.no_grad()
def ddim(
    denoise: Denoise, start: Tensor, process: GaussianDiffusion, prediction: Prediction, eta: float, noise: Noise
) -> Iterator[State]:
    """Song et al. 2021, eq. 12: deterministic at `eta` 0 (`noise` is not called), the posterior's variance at 1."""
    process, latent = process.to(start.device), start
    for i, step in enumerate(reversed(range(process.timesteps))):
        steps = torch.full((len(latent),), step, device=latent.device)
        value, _ = denoise(latent, process.timestep_map[steps]).chunk(2, dim=1)
        estimate = process.to_mask(prediction, value, latent, steps)
        signal = process.at(process.alphas_cumprod_previous, steps, latent)
        variance = eta**2 * process.at(process.posterior_variance, steps, latent)
        direction = process.to_noise(estimate, latent, steps)
        latent = signal.sqrt() * estimate + (1 - signal - variance).sqrt() * direction
        if step > 0 and eta > 0:
            latent = latent + variance.sqrt() * noise(i)
        yield State(step, latent, estimate)


def sample(
    method: Literal["ddim", "ancestral"],
    denoise: Denoise,
    start: Tensor,
    process: GaussianDiffusion,
    prediction: Prediction,
    steps: int,
    eta: float,
    noise: Noise,
    up_to: int | None = None,
) -> Tensor:
    """The sampled latent (N, C, h, w) after `steps` of the full `process`; `eta` is for "ddim" only.

    `start` is noise at the last step of the process, or a latent at its step `up_to`, from which it is then sampled.
    """
    spaced = process.respace(steps, up_to)
    if method == "ddim":
        states = ddim(denoise, start, spaced, prediction, eta, noise)
    else:
        states = ancestral(denoise, start, spaced, prediction, noise)
    for state in states:
        latent = state.latent
    return latent
