"""Latent spaces of unit scale."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class LatentScale(nn.Module):
    """Per-channel affine map that gives latents zero mean and unit standard deviation over the training patches.

    Rombach et al. 2022 divide by the standard deviation of the first batch; here the moments come from many batches and
    stay with the weights.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    @torch.no_grad()
    def fit(self, latents: Iterable[Tensor]) -> None:
        """Measure mean and standard deviation over batches of (N, C, h, w) raw latents."""
        values = torch.cat([latent.movedim(1, 0).flatten(1).double() for latent in latents], dim=1)  # (C, samples)
        self.mean.copy_(values.mean(dim=1))
        self.std.copy_(values.std(dim=1).clamp_min(1e-6))

    def forward(self, latent: Tensor) -> Tensor:
        """Raw to scaled latents, (N, C, h, w)."""
        return (latent - self.mean[:, None, None]) / self.std[:, None, None]

    def inverse(self, latent: Tensor) -> Tensor:
        """Scaled to raw latents, (N, C, h, w)."""
        return latent * self.std[:, None, None] + self.mean[:, None, None]
