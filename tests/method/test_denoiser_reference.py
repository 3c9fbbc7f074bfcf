"""The denoiser against the same mathematics written with plain functions, in the order of the channels first."""

import math

import pytest
import torch
from torch.nn import functional as F

from universal_diffusion.method.bundle import build_autoencoder, build_denoiser
from universal_diffusion.method.denoiser import GROUPS

CHANNELS, BLOCKS, ATTENTION, WIDTH = (8, 16, 24), 2, (1, 2), 8


class Reference:
    """The U-Net and its class-aware encoder from the weights alone."""

    def __init__(self, weights: dict[str, torch.Tensor]):
        self.weights = {name: value.contiguous() for name, value in weights.items()}

    def linear(self, name, x):
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def convolution(self, name, x, stride=1):
        weight = self.weights[f"{name}.weight"]
        return F.conv2d(x, weight, self.weights[f"{name}.bias"], stride, padding=weight.shape[-1] // 2)

    def norm(self, name, x, epsilon=1e-5):
        grouped = x.reshape(len(x), GROUPS, -1)
        mean, variance = grouped.mean(-1, keepdim=True), grouped.var(-1, unbiased=False, keepdim=True)
        plain = ((grouped - mean) / (variance + epsilon).sqrt()).reshape(x.shape)
        return plain * self.weights[f"{name}.weight"][:, None, None] + self.weights[f"{name}.bias"][:, None, None]

    def residual(self, name, x, condition):
        scale, shift = self.linear(f"{name}.modulation", condition)[:, :, None, None].chunk(2, dim=1)
        h = self.convolution(f"{name}.first.2", F.silu(self.norm(f"{name}.first.0", x)))
        h = self.norm(f"{name}.norm", h) * (1 + scale) + shift
        h = self.convolution(f"{name}.second.1", F.silu(h))
        return h + (self.convolution(f"{name}.skip", x) if f"{name}.skip.weight" in self.weights else x)

    def attend(self, name, x):
        rows = self.norm(f"{name}.norm", x, 1e-6).flatten(2).transpose(1, 2)
        query, key, value = (self.linear(f"{name}.attn.to_{part}", rows) for part in "qkv")
        weights = (query @ key.transpose(1, 2) / math.sqrt(x.shape[1])).softmax(dim=-1)
        return x + self.linear(f"{name}.attn.out_proj", weights @ value).transpose(1, 2).reshape(x.shape)

    def stage(self, name, scale, x, condition):
        for block in range(BLOCKS):
            x = self.residual(f"{name}.{scale}.blocks.{block}", x, condition)
        return self.attend(f"{name}.{scale}.attention", x) if scale in ATTENTION else x

    def features(self, image, embedding):
        h, found = self.convolution("image_encoder.enter", image), []
        for scale in range(len(CHANNELS)):
            found.append(self.stage("image_encoder.stages", scale, h, embedding))
            if scale + 1 < len(CHANNELS):
                h = self.convolution(f"image_encoder.downs.{scale}", found[-1], stride=2)
        return found

    def __call__(self, noisy, step, embedding, image):
        features = self.features(image, embedding)
        half = CHANNELS[0] // 2
        angles = step[:, None] * torch.exp(-math.log(10_000) * torch.arange(half, dtype=noisy.dtype) / half)
        told = F.silu(self.linear("step_embedding.0", torch.cat([angles.cos(), angles.sin()], dim=1)))
        condition = embedding + self.linear("step_embedding.2", told)
        h, skips = self.convolution("enter", noisy), []
        for scale in range(len(CHANNELS)):
            skips.append(self.stage("descent", scale, h + features[scale], condition))
            last = scale + 1 == len(CHANNELS)
            h = skips[-1] if last else self.convolution(f"downs.{scale}", skips[-1], stride=2)
        h = self.residual("middle", h, condition)
        for scale in reversed(range(len(CHANNELS))):
            h = self.stage("ascent", scale, torch.cat([h, skips[scale]], dim=1), condition)
            if scale:
                h = self.convolution(f"ups.{scale - 1}", h.repeat_interleave(2, -1).repeat_interleave(2, -2))
        return self.convolution("leave.2", F.silu(self.norm("leave.0", h)))


@pytest.fixture(scope="module")
def denoiser():
    torch.manual_seed(3)
    architecture = {"channels": CHANNELS, "residual_blocks": BLOCKS, "attention_scales": ATTENTION}
    module = build_denoiser(architecture | {"embedding": "learnt", "embedding_channels": WIDTH}, 4, 3, None)
    torch.nn.init.normal_(module.leave[-1].weight)
    return module.requires_grad_(False)


def test_denoiser_computes_what_the_plain_functions_compute(denoiser):
    noisy, image = (torch.randn(2, channels, 8, 12) for channels in (4, 3))
    step, embedding = torch.tensor([3, 700]), torch.randn(2, WIDTH)
    expected = Reference(denoiser.state_dict())(noisy, step.float(), embedding, image)
    given = denoiser(noisy, step, embedding, denoiser.features(image, embedding))
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)


def test_networks_lie_channels_last_in_memory_and_their_activations_too(denoiser):
    coders = [
        build_autoencoder({"kind": kind, "channels": [8, 16], "latent_channels": 4, "residual_blocks": 1})
        for kind in ("mask_autoencoder", "image_autoencoder")
    ]
    for module in (denoiser, *coders):
        weights = [weight for weight in module.parameters() if weight.ndim == 4]
        assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    for coder in coders:
        latent = coder.encoder(torch.rand(2, 1, 8, 8))
        assert latent.is_contiguous(memory_format=torch.channels_last)
