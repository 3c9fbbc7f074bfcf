"""The Gaussian diffusion of section 2.2: forward process, posterior, learned variance and training losses.

Notation: z0 is the clean mask latent, zt its noised form, `step` (N,) int64 counts from 0 to T - 1, "alphas_cumprod" is
the paper's alpha-bar. Tables are float64; what is gathered from them is used in float32 at least. Latents are never
clipped. The learned variance and its loss follow Nichol & Dhariwal 2021 ("Improved DDPM"), except that the term at
step 0 is a continuous Gaussian likelihood, because latents are not 8-bit pixels.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from universal_diffusion.errors import InputError

Prediction = Literal["mask", "noise"]


class Posterior(NamedTuple):
    """q(z_{t-1} | zt, z0): mean (N, C, h, w), variance and its log (N, 1, 1, 1); the log is clipped at step 0."""

    mean: Tensor
    variance: Tensor
    log_variance: Tensor


class Losses(NamedTuple):
    """Per-sample losses, each (N,) float32: `mse` (eq. 10), `vlb` in bits per dimension, `hybrid` to be minimised."""

    mse: Tensor
    vlb: Tensor
    hybrid: Tensor


def betas(schedule: Literal["cosine", "linear"], timesteps: int) -> Tensor:
    """The variance schedule beta_t, (T,) float64.

    "linear" is Ho et al. 2020 (1e-4 to 0.02 at T = 1000, scaled by 1000 / T); "cosine" is Improved DDPM, eq. 17
    (s = 0.008, beta at most 0.999).
    """
    if schedule == "linear":
        scale = 1000 / timesteps
        falling = torch.linspace(0.02 * scale, 1e-4 * scale, timesteps, dtype=torch.float64)  # a lone step is the last
        return falling.flip(0)
    time = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    alpha_bar = torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999)


@dataclass(frozen=True, eq=False)
class GaussianDiffusion:
    """A forward process and everything that follows from its betas.

    Attributes:
        betas: (T,) float64, each inside (0, 1).
        timestep_map: (T,) int64, the step that the network was trained with for each step of this process.
    """

    betas: Tensor
    timestep_map: Tensor

    def __post_init__(self):
        if not bool(((self.betas > 0) & (self.betas < 1)).all()):
            raise InputError(
                f"diffusion of {len(self.betas)} timesteps",
                "its schedule leaves betas outside (0, 1)",
                "use more timesteps (the linear schedule needs at least 21) or the cosine schedule",
            )

    @classmethod
    def scheduled(cls, schedule: Literal["cosine", "linear"], timesteps: int) -> "GaussianDiffusion":
        """The full process of `timesteps` steps that a network is trained with."""
        return cls(betas(schedule, timesteps), torch.arange(timesteps))

    @property
    def timesteps(self) -> int:
        """Number of steps T of this process."""
        return len(self.betas)

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """alpha-bar_t, the share of signal variance left after step t: (T,) float64."""
        return torch.cumprod(1 - self.betas, 0)

    @cached_property
    def alphas_cumprod_previous(self) -> Tensor:
        """alpha-bar_{t-1}, which is 1 before step 0: (T,) float64."""
        return torch.cat([torch.ones_like(self.betas[:1]), self.alphas_cumprod[:-1]])

    @cached_property
    def posterior_variance(self) -> Tensor:
        """Variance of q(z_{t-1} | zt, z0), 0 at step 0: (T,) float64."""
        return self.betas * (1 - self.alphas_cumprod_previous) / (1 - self.alphas_cumprod)

    @cached_property
    def posterior_log_variance(self) -> Tensor:
        """Log of the posterior variance; step 0 takes step 1's value (its beta where there is no step 1)."""
        first = self.posterior_variance[1:2] if self.timesteps > 1 else self.betas
        return torch.cat([first, self.posterior_variance[1:]]).log()

    def to(self, device: torch.device | str) -> "GaussianDiffusion":
        """The same process with its tables on `device`, so that gathering from them copies nothing."""
        return GaussianDiffusion(self.betas.to(device), self.timestep_map.to(device))

    def at(self, table: Tensor, step: Tensor, like: Tensor) -> Tensor:
        """Entries of a (T,) table for each sample, (N, 1, ...) to broadcast over `like` (N, ...), float32 at least."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        values = table.to(step.device)[step].to(like.device, dtype)
        return values.view(-1, *[1] * (like.ndim - 1))

    def q_sample(self, z0: Tensor, step: Tensor, noise: Tensor) -> Tensor:
        """zt ~ q(zt | z0) (eq. 6) from standard normal `noise`; all latents (N, C, h, w)."""
        signal, spread = self.at(self.alphas_cumprod, step, z0), self.at(1 - self.alphas_cumprod, step, z0)
        return signal.sqrt() * z0 + spread.sqrt() * noise

    def to_mask(self, prediction: Prediction, output: Tensor, zt: Tensor, step: Tensor) -> Tensor:
        """The network's estimate of z0: `output` (N, C, h, w) itself, or eq. 6 solved for z0 if it is the noise."""
        if prediction == "mask":
            return output.to(torch.promote_types(output.dtype, torch.float32))
        signal, spread = self.at(self.alphas_cumprod, step, zt), self.at(1 - self.alphas_cumprod, step, zt)
        return (zt - spread.sqrt() * output) / signal.sqrt()

    def to_noise(self, z0: Tensor, zt: Tensor, step: Tensor) -> Tensor:
        """The noise that leads from z0 to zt: eq. 6 solved for it."""
        signal, spread = self.at(self.alphas_cumprod, step, zt), self.at(1 - self.alphas_cumprod, step, zt)
        return (zt - signal.sqrt() * z0) / spread.sqrt()

    def posterior(self, z0: Tensor, zt: Tensor, step: Tensor) -> Posterior:
        """q(z_{t-1} | zt, z0): with the network's estimate for z0 its mean is that of eq. 9.

        The paper prints sqrt(alpha-bar_t) before zt; Bayes' rule and Ho et al. 2020 (eq. 7) have sqrt(alpha_t).
        """
        before, after = self.alphas_cumprod_previous, self.alphas_cumprod
        of_zt = (1 - self.betas).sqrt() * (1 - before) / (1 - after)
        of_z0 = self.betas * before.sqrt() / (1 - after)
        mean = self.at(of_zt, step, zt) * zt + self.at(of_z0, step, zt) * z0
        variance = self.at(self.posterior_variance, step, zt)
        return Posterior(mean, variance, self.at(self.posterior_log_variance, step, zt))

    def model_log_variance(self, v: Tensor, step: Tensor) -> Tensor:
        """Improved DDPM, eq. 15: v = -1 is the posterior's log variance, v = 1 is log beta; same shape as `v`."""
        share = (v + 1) / 2
        return share * self.at(self.betas.log(), step, v) + (1 - share) * self.at(self.posterior_log_variance, step, v)

    def losses(
        self, prediction: Prediction, output: Tensor, z0: Tensor, zt: Tensor, step: Tensor, noise: Tensor
    ) -> Losses:
        """Training losses of the network's `output` (N, 2C, h, w): the prediction's C channels, then v's.

        `mse` is the mean squared error of what is predicted (z0: eq. 10, or the noise). `vlb` is the KL divergence from
        the posterior, at step 0 the negative log-likelihood of z0, in bits, averaged over the elements; it trains v
        only. `hybrid` = mse + vlb * T / 1000 (Improved DDPM, RESCALED_MSE).
        """
        output = output.to(torch.promote_types(output.dtype, torch.float32))
        value, v = output.chunk(2, dim=1)
        truth = z0 if prediction == "mask" else noise
        mse = (truth - value).square().flatten(1).mean(1)
        vlb = self._bits(self.to_mask(prediction, value.detach(), zt, step), v, z0, zt, step).flatten(1).mean(1)
        return Losses(mse, vlb, mse + vlb * (self.timesteps / 1000))

    def _bits(self, estimate: Tensor, v: Tensor, z0: Tensor, zt: Tensor, step: Tensor) -> Tensor:
        mean, log_variance = self.posterior(estimate, zt, step).mean, self.model_log_variance(v, step)
        true = self.posterior(z0, zt, step)
        kl = normal_kl(true.mean, true.log_variance, mean, log_variance)
        first = (step == 0).view(-1, *[1] * (zt.ndim - 1))
        return torch.where(first, normal_nll(z0, mean, log_variance), kl) / math.log(2)

    def respace(self, count: int, up_to: int | None = None) -> "GaussianDiffusion":
        """The process that visits `count` of the steps 0 to `up_to`, spaced evenly and trailing: the last is `up_to`.

        `up_to` is T - 1 when None; a sampler that starts at a smaller step begins with z0 noised to it (`q_sample`).
        The betas reproduce this process's alphas_cumprod at the kept steps (Improved DDPM, section 4). Raises
        InputError unless up_to < T and 1 <= count <= up_to + 1.
        """
        among = self.timesteps if up_to is None else up_to + 1
        if not 1 <= among <= self.timesteps:
            raise InputError(f"step {up_to}", f"expected 0 to {self.timesteps - 1}", "change segmentation.warm_start")
        if not 1 <= count <= among:
            raise InputError(f"{count} sampling steps", f"expected 1 to {among}", "change segmentation.steps")
        kept = torch.arange(1, count + 1, device=self.betas.device) * among // count - 1
        signal = self.alphas_cumprod[kept]
        previous = torch.cat([torch.ones_like(signal[:1]), signal[:-1]])
        return GaussianDiffusion(1 - signal / previous, self.timestep_map[kept])


def normal_kl(mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor) -> Tensor:
    """KL(first || other) of diagonal Gaussians in nats, elementwise."""
    spread = (log_variance - other_log_variance).exp() + (mean - other_mean).square() * (-other_log_variance).exp()
    return 0.5 * (other_log_variance - log_variance - 1 + spread)


def normal_nll(value: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Negative log density of `value` under a diagonal Gaussian in nats, elementwise."""
    return 0.5 * (math.log(2 * math.pi) + log_variance + (value - mean).square() * (-log_variance).exp())
