"""The denoising U-Net and the class-aware image encoder that guides it (paper, figure 1).

The encoder reads the image latent and e_k but not the step t, so its feature maps are computed once per window and
target and serve every step and every sample.

Weights lie in memory channels last, in which convolutions are faster on a CPU (on a GPU it was not measured).
Attention is torch's fused `scaled_dot_product_attention`.
"""

import math

import torch
from monai.networks.blocks import SpatialAttentionBlock
from torch import Tensor, nn

GROUPS = 8


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions; the second norm is scaled and shifted by the condition (Dhariwal & Nichol 2021)."""

    def __init__(self, inputs: int, outputs: int, condition: int):
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(GROUPS, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.modulation = nn.Linear(condition, 2 * outputs)
        self.norm = nn.GroupNorm(GROUPS, outputs)
        self.second = nn.Sequential(nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(N, inputs, h, w) and (N, condition) -> (N, outputs, h, w)."""
        scale, shift = self.modulation(condition)[:, :, None, None].chunk(2, dim=1)
        h = self.norm(self.first(x)) * (1 + scale) + shift
        return self.skip(x) + self.second(h)


class Stage(nn.Module):
    """Residual blocks at one scale, followed by self-attention where the scale has it."""

    def __init__(self, inputs: int, outputs: int, condition: int, blocks: int, attention: bool):
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(inputs if i == 0 else outputs, outputs, condition) for i in range(blocks)
        )
        self.attention = (
            SpatialAttentionBlock(2, outputs, norm_num_groups=GROUPS, use_flash_attention=True)
            if attention
            else nn.Identity()
        )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h, w)."""
        for block in self.blocks:
            x = block(x, condition)
        return self.attention(x)


class ClassAwareImageEncoder(nn.Module):
    """Image latent and e_k to one feature map per scale, without t."""

    def __init__(
        self, image_channels: int, channels: tuple[int, ...], condition: int, blocks: int, attention: set[int]
    ):
        super().__init__()
        self.enter = nn.Conv2d(image_channels, channels[0], 3, padding=1)
        self.stages, self.downs = nn.ModuleList(), nn.ModuleList()
        for scale, width in enumerate(channels):
            self.stages.append(Stage(width, width, condition, blocks, scale in attention))
            if scale + 1 < len(channels):
                self.downs.append(nn.Conv2d(width, channels[scale + 1], 3, stride=2, padding=1))

    def forward(self, image_latent: Tensor, embedding: Tensor) -> tuple[Tensor, ...]:
        """(N, C_y, h, w) and (N, E) -> per scale s (N, channels[s], h / 2^s, w / 2^s)."""
        h, features = self.enter(image_latent), []
        for scale, stage in enumerate(self.stages):
            h = stage(h, embedding)
            features.append(h)
            if scale < len(self.downs):
                h = self.downs[scale](h)
        return tuple(features)


def step_features(step: Tensor, channels: int) -> Tensor:
    """Sinusoidal features of the step (Vaswani et al. 2017): (N,) -> (N, channels)."""
    frequencies = torch.exp(-math.log(10_000) * torch.arange(channels // 2, device=step.device) / (channels // 2))
    angles = step.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Denoiser(nn.Module):
    """U-Net over the noisy mask latent, joined at every scale by the class-aware image encoder.

    Args:
        mask_channels: C_z of the mask latent.
        image_channels: of the image latent.
        channels: widths per scale, finest first.
        residual_blocks: per scale of encoder, descent and ascent.
        attention_scales: scales with self-attention.
        embedding: maps (N,) target ids to e_k, (N, embedding_channels).
        embedding_channels: E.
    """

    def __init__(
        self,
        mask_channels: int,
        image_channels: int,
        channels: tuple[int, ...],
        residual_blocks: int,
        attention_scales: tuple[int, ...],
        embedding: nn.Module,
        embedding_channels: int,
    ):
        super().__init__()
        attention, condition = set(attention_scales), embedding_channels
        self.embedding = embedding
        self.image_encoder = ClassAwareImageEncoder(image_channels, channels, condition, residual_blocks, attention)
        self.step_embedding = nn.Sequential(
            nn.Linear(channels[0], condition), nn.SiLU(), nn.Linear(condition, condition)
        )
        self.step_channels = channels[0]
        self.enter = nn.Conv2d(mask_channels, channels[0], 3, padding=1)
        self.descent, self.downs = nn.ModuleList(), nn.ModuleList()
        self.ascent, self.ups = nn.ModuleList(), nn.ModuleList()
        for scale, width in enumerate(channels):
            below = channels[min(scale + 1, len(channels) - 1)]
            self.descent.append(Stage(width, width, condition, residual_blocks, scale in attention))
            self.ascent.append(Stage(2 * width, width, condition, residual_blocks, scale in attention))
            if scale + 1 < len(channels):
                self.downs.append(nn.Conv2d(width, below, 3, stride=2, padding=1))
                self.ups.append(nn.Conv2d(below, width, 3, padding=1))
        self.middle = ResidualBlock(channels[-1], channels[-1], condition)
        self.leave = nn.Sequential(
            nn.GroupNorm(GROUPS, channels[0]), nn.SiLU(), nn.Conv2d(channels[0], 2 * mask_channels, 3, padding=1)
        )
        nn.init.zeros_(self.leave[-1].weight)
        nn.init.zeros_(self.leave[-1].bias)
        self.to(memory_format=torch.channels_last)

    def features(self, image_latent: Tensor, embedding: Tensor) -> tuple[Tensor, ...]:
        """Class-aware image features for `forward`; they depend on no step."""
        return self.image_encoder(image_latent, embedding)

    def forward(self, noisy: Tensor, step: Tensor, embedding: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        """Predict from z_t.

        Args:
            noisy: (N, C, h, w) z_t.
            step: (N,) t, 0 to T - 1.
            embedding: (N, E) e_k.
            features: of `features`, for the same N.

        Returns:
            (N, 2C, h, w): the prediction (z_0 or the noise), then v, the place of the log variance in its range.
        """
        condition = embedding + self.step_embedding(step_features(step, self.step_channels))
        h, skips = self.enter(noisy), []
        for scale, stage in enumerate(self.descent):
            h = stage(h + features[scale], condition)
            skips.append(h)
            if scale < len(self.downs):
                h = self.downs[scale](h)
        h = self.middle(h, condition)
        for scale in reversed(range(len(self.ascent))):
            h = self.ascent[scale](torch.cat([h, skips[scale]], dim=1), condition)
            if scale:
                h = self.ups[scale - 1](nn.functional.interpolate(h, scale_factor=2.0, mode="nearest"))
        return self.leave(h)
