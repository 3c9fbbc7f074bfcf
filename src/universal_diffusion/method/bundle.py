"""A trained variant, whole: both auto-encoders, the denoiser and the process it was trained for."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from universal_diffusion.errors import InputError
from universal_diffusion.method.autoencoders import ImageAutoencoder, MaskAutoencoder
from universal_diffusion.method.denoiser import Denoiser
from universal_diffusion.method.diffusion import GaussianDiffusion
from universal_diffusion.method.embeddings import embedding
from universal_diffusion.method.weights import CARD, load_card, load_weights

KINDS = {"mask_autoencoder": MaskAutoencoder, "image_autoencoder": ImageAutoencoder}


class Networks(nn.Module):
    """The three networks of a variant under one roof, as its weights file holds them."""

    def __init__(self, mask_autoencoder: MaskAutoencoder, image_autoencoder: ImageAutoencoder, denoiser: Denoiser):
        super().__init__()
        self.mask_autoencoder = mask_autoencoder
        self.image_autoencoder = image_autoencoder
        self.denoiser = denoiser


@dataclass(frozen=True)
class Bundle:
    """A variant ready to segment with.

    Attributes:
        networks: in evaluation mode, on `device`.
        process: the forward process with all T steps.
        prediction: "mask" when the denoiser predicts z_0, "noise" when it predicts epsilon.
        card: what the model was made from: patch, spacing_mm, hu_window, targets, study, cohort, ...
    """

    networks: Networks
    process: GaussianDiffusion
    prediction: str
    card: dict
    device: torch.device

    @property
    def mask_autoencoder(self) -> MaskAutoencoder:
        """(E_x, D_x)."""
        return self.networks.mask_autoencoder

    @property
    def image_autoencoder(self) -> ImageAutoencoder:
        """(E_y, D_y)."""
        return self.networks.image_autoencoder

    @property
    def denoiser(self) -> Denoiser:
        """The U-Net with its class-aware image encoder."""
        return self.networks.denoiser

    @property
    def latent_channels(self) -> int:
        """C_z of the mask latent."""
        return self.mask_autoencoder.latent_channels

    def embedding(self, target_ids: Tensor) -> Tensor:
        """(N,) target ids -> (N, E)."""
        return self.denoiser.embedding(target_ids)


def architecture_of(kind: str, settings) -> dict:
    """The `architecture` entry of an auto-encoder's card, from its section of the configuration."""
    return {
        "kind": kind,
        "channels": settings.channels,
        "latent_channels": settings.latent_channels,
        "residual_blocks": settings.residual_blocks,
    }


def build_autoencoder(architecture: dict) -> MaskAutoencoder | ImageAutoencoder:
    """An untrained auto-encoder from the `architecture` entry of its card."""
    return KINDS[architecture["kind"]](
        tuple(architecture["channels"]), architecture["latent_channels"], architecture["residual_blocks"]
    )


def load_autoencoder(directory: Path, kind: str) -> MaskAutoencoder | ImageAutoencoder:
    """A trained auto-encoder, in evaluation mode. `kind` is "mask_autoencoder" or "image_autoencoder"."""
    card = load_card(directory)
    if card.get("architecture", {}).get("kind") != kind:
        raise InputError(directory, f"holds no {kind.replace('_', ' ')}", "give the directory that its training wrote")
    module = build_autoencoder(card["architecture"])
    load_weights(directory, module, card)
    return module.eval().requires_grad_(False)


def build_denoiser(
    architecture: dict, mask_channels: int, image_channels: int, clip_features: Tensor | None
) -> Denoiser:
    """An untrained denoiser from the `architecture` entry of its card.

    Its embedding is drawn last, so that from one seed the U-Nets of all variants start with the same weights.
    """
    denoiser = Denoiser(
        mask_channels,
        image_channels,
        tuple(architecture["channels"]),
        architecture["residual_blocks"],
        tuple(architecture["attention_scales"]),
        nn.Identity(),
        architecture["embedding_channels"],
    )
    denoiser.embedding = embedding(architecture["embedding"], architecture["embedding_channels"], clip_features)
    return denoiser


def process_of(diffusion: dict) -> GaussianDiffusion:
    """The forward process from the `diffusion` entry of a card."""
    return GaussianDiffusion.scheduled(diffusion["schedule"], diffusion["timesteps"])


def load_bundle(directory: Path, device: str | torch.device = "cpu") -> Bundle:
    """Load a variant from `results/<study>/models/<variant>`.

    Raises:
        InputError: no model there, damaged weights, or weights of another architecture than the card says.
    """
    card = load_card(directory)
    architecture = card.get("architecture", {})
    if architecture.get("kind") != "variant":
        raise InputError(
            directory, "holds no segmentation model", "give the directory of a variant, e.g. models/mask_clip"
        )
    try:
        networks, process, prediction = _build(architecture), process_of(card["diffusion"]), card["prediction"]
    except (KeyError, TypeError) as error:
        raise InputError(
            Path(directory) / CARD,
            f"does not describe a whole model ({error!r})",
            "copy the whole model directory again",
        ) from None
    load_weights(directory, networks, card)
    networks.eval().requires_grad_(False).to(device)
    return Bundle(networks, process, prediction, card, torch.device(device))


def _build(architecture: dict) -> Networks:
    mask_autoencoder = build_autoencoder(architecture["mask_autoencoder"])
    image_autoencoder = build_autoencoder(architecture["image_autoencoder"])
    denoiser = build_denoiser(
        architecture["denoiser"], mask_autoencoder.latent_channels, image_autoencoder.latent_channels, None
    )
    return Networks(mask_autoencoder, image_autoencoder, denoiser)
