"""The denoisers that are compared: in latent space, in pixel space, and as others build them."""

from dataclasses import dataclass

import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from universal_diffusion.evaluation.beyond.networks import GUIDED
from universal_diffusion.method.bundle import architecture_of, build_autoencoder, build_denoiser
from universal_diffusion.settings import Study
from universal_diffusion.training.denoiser import architecture_of as denoiser_architecture
from universal_diffusion.training.latent_diffusion import Denoising

LATENT, WHOLE, SAME, GUIDED_DIFFUSION = (
    "latent, denoiser alone",
    "latent, with its auto-encoders",
    "pixel, the same denoiser",
    "pixel, guided-diffusion",
)


@dataclass(frozen=True)
class Subject:
    """A network of (noisy mask, step, target ids, image), and the shapes of one noisy mask and one image."""

    module: nn.Module
    noisy: tuple[int, int, int]
    image: tuple[int, int, int]


class WithAutoencoders(nn.Module):
    """The latent denoiser as it is used: the image is encoded and the mask decoded, or, in training, encoded too."""

    def __init__(self, study: Study, denoising: Denoising):
        super().__init__()
        self.denoising = denoising
        self.masks, self.images = (
            build_autoencoder(architecture_of(kind, getattr(study, kind))).requires_grad_(False)
            for kind in ("mask_autoencoder", "image_autoencoder")
        )

    def forward(self, noisy: Tensor, step: Tensor, target_ids: Tensor, image: Tensor) -> Tensor:
        """Logits of a mask, or, where gradients are wanted, the prediction in latent space."""
        with torch.no_grad():
            latent = self.images.encode(image)
        if torch.is_grad_enabled():
            with torch.no_grad():
                self.masks.encode(image)
            return self.denoising(noisy, step, target_ids, latent)
        return self.masks.decode(self.denoising(noisy, step, target_ids, latent).chunk(2, dim=1)[0])


class SideBySide(nn.Module):
    """guided-diffusion's network over image and noisy mask."""

    def __init__(self):
        super().__init__()
        self.network = DiffusionModelUNet(spatial_dims=2, in_channels=2, out_channels=2, **GUIDED)

    def forward(self, noisy: Tensor, step: Tensor, target_ids: Tensor, image: Tensor) -> Tensor:
        """(N, 1, P, P) each -> (N, 2, P, P)."""
        return self.network(torch.cat([noisy, image], dim=1), step)


def subject(name: str, study: Study) -> Subject:
    """The untrained network of one row."""
    patch = study.preparation.patch
    whole = (1, patch, patch)
    if name == GUIDED_DIFFUSION:
        return Subject(SideBySide(), whole, whole)
    if name == SAME:
        return Subject(_denoising(study, 1, 1), whole, whole)
    size = patch // 2 ** (len(study.mask_autoencoder.channels) - 1)
    channels = study.mask_autoencoder.latent_channels, study.image_autoencoder.latent_channels
    noisy, latent = ((count, size, size) for count in channels)
    denoising = _denoising(study, *channels)
    if name == WHOLE:
        return Subject(WithAutoencoders(study, denoising), noisy, whole)
    return Subject(denoising, noisy, latent)


def _denoising(study: Study, mask_channels: int, image_channels: int) -> Denoising:
    architecture = denoiser_architecture(study.denoiser, "learnt")
    return Denoising(build_denoiser(architecture, mask_channels, image_channels, None))
