"""The two auto-encoders (paper, section 2.1), built from MONAI's encoder and decoder, and their losses.

Weights lie in memory channels last, in which convolutions are faster on a CPU (on a GPU it was not measured).
"""

import torch
import torch.nn.functional as F
from monai.networks.nets.autoencoderkl import Decoder, Encoder
from torch import Tensor, nn

from universal_diffusion.method.latents import LatentScale


def _convolutions(channels: tuple[int, ...], latent_channels: int, residual_blocks: int, moments: int):
    shared = dict(
        spatial_dims=2,
        channels=channels,
        num_res_blocks=[residual_blocks] * len(channels),
        norm_num_groups=8,
        norm_eps=1e-6,
        attention_levels=[False] * len(channels),
        with_nonlocal_attn=False,
    )
    encoder = Encoder(in_channels=1, out_channels=moments * latent_channels, **shared)
    decoder = Decoder(in_channels=latent_channels, out_channels=1, **shared)
    return encoder, decoder


class MaskAutoencoder(nn.Module):
    """(E_x, D_x): a vanilla auto-encoder of binary masks, without any regularised latent (eqs. 1-3).

    Args:
        channels: widths per scale; the latent is smaller than the mask by `factor` = 2 ** (len(channels) - 1).
        latent_channels: C_z.
        residual_blocks: per scale.
    """

    def __init__(self, channels: tuple[int, ...], latent_channels: int, residual_blocks: int):
        super().__init__()
        self.factor = 2 ** (len(channels) - 1)
        self.latent_channels = latent_channels
        self.encoder, self.decoder = _convolutions(channels, latent_channels, residual_blocks, moments=1)
        self.scale = LatentScale(latent_channels)
        self.to(memory_format=torch.channels_last)

    def encode(self, mask: Tensor) -> Tensor:
        """(N, 1, H, W) masks of 0 and 1 -> (N, C, H/f, W/f) scaled latents."""
        return self.scale(self.encoder(2 * mask - 1))

    def decode(self, latent: Tensor) -> Tensor:
        """(N, C, h, w) scaled latents -> (N, 1, H, W) logits."""
        return self.decoder(self.scale.inverse(latent))

    def forward(self, mask: Tensor) -> Tensor:
        """Logits of the reconstruction, straight through the unscaled latent."""
        return self.decoder(self.encoder(2 * mask - 1))


class ImageAutoencoder(nn.Module):
    """(E_y, D_y): the variational auto-encoder of CT patches (eq. 5)."""

    def __init__(self, channels: tuple[int, ...], latent_channels: int, residual_blocks: int):
        super().__init__()
        self.factor = 2 ** (len(channels) - 1)
        self.latent_channels = latent_channels
        self.encoder, self.decoder = _convolutions(channels, latent_channels, residual_blocks, moments=2)
        self.scale = LatentScale(latent_channels)
        self.to(memory_format=torch.channels_last)

    def posterior(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z | y), each (N, C, h, w), for images (N, 1, H, W) in [0, 1]."""
        mean, log_variance = self.encoder(2 * image - 1).chunk(2, dim=1)
        return mean, log_variance.clamp(-30, 20)

    def encode(self, image: Tensor) -> Tensor:
        """(N, 1, H, W) images in [0, 1] -> (N, C, H/f, W/f) scaled posterior means."""
        return self.scale(self.posterior(image)[0])

    def decode(self, latent: Tensor) -> Tensor:
        """(N, C, h, w) scaled latents -> (N, 1, H, W) images on the scale of [0, 1]."""
        return self._to_image(self.decoder(self.scale.inverse(latent)))

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction from the sample mean + std * noise, and the posterior's mean and log variance."""
        mean, log_variance = self.posterior(image)
        sample = mean + torch.exp(0.5 * log_variance) * noise
        return self._to_image(self.decoder(sample)), mean, log_variance

    @staticmethod
    def _to_image(decoded: Tensor) -> Tensor:
        return (decoded + 1) / 2


def mask_loss(logits: Tensor, mask: Tensor, epsilon: float = 1.0) -> Tensor:
    """L_BCE + L_DICE (eqs. 1 and 2) of each patch of (N, 1, H, W) logits: (N,); BCE is the mean over its pixels.

    The weight decay of eq. 3 is decoupled (Loshchilov & Hutter 2019, which the paper cites): AdamW shrinks every
    weight, norms and biases included, by learning rate * lambda per step, for eq. 3 exempts none and they scale the
    latent as kernels do. The gradient of lambda |w|^2 as printed, 2 lambda w, would shrink them twice as fast; at a
    rate of 1e-4 the paper's lambda of 1e-5 shrinks them by 0.01 % in 100,000 steps.

    `epsilon` is eq. 2's, in pixels; with 1, an empty prediction for an empty mask costs nothing and one false pixel
    already costs half.
    """
    probability = torch.sigmoid(logits).flatten(1)
    truth = mask.flatten(1)
    dice = (2 * (truth * probability).sum(1) + epsilon) / (truth.sum(1) + probability.sum(1) + epsilon)
    return F.binary_cross_entropy_with_logits(logits, mask, reduction="none").flatten(1).mean(1) + 1 - dice


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)), summed over each latent: (N,)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1)
