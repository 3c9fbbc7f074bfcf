"""A variant with untrained convolutions, in memory and on disk."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from universal_diffusion.method.bundle import Bundle, Networks, build_autoencoder, build_denoiser, load_bundle
from universal_diffusion.method.weights import save_model
from universal_diffusion.settings import Diffusion
from universal_diffusion.targets import all_targets

PATCH = 16
AUTOENCODER = {"channels": [8, 8], "latent_channels": 2, "residual_blocks": 1}
ARCHITECTURE = {
    "kind": "variant",
    "mask_autoencoder": {"kind": "mask_autoencoder", **AUTOENCODER},
    "image_autoencoder": {"kind": "image_autoencoder", **AUTOENCODER},
    "denoiser": {
        "channels": [8, 8],
        "residual_blocks": 1,
        "attention_scales": [1],
        "embedding": "learnt",
        "embedding_channels": 8,
    },
}
CARD = {
    "architecture": ARCHITECTURE,
    "diffusion": asdict(Diffusion(timesteps=100, schedule="cosine", history=10, uniform_probability=0.1)),
    "prediction": "mask",
    "patch": PATCH,
    "spacing_mm": [6.0, 6.0, 6.0],
    "hu_window": [-175.0, 250.0],
    "targets": [target.name for target in all_targets()[:8]],
    "study": "test",
    "cohort": "random numbers",
}


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """Undo what `start_torch` sets for a whole process."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """Directory of an untrained variant."""
    torch.manual_seed(0)
    denoiser = build_denoiser(ARCHITECTURE["denoiser"], 2, 2, None)
    torch.nn.init.normal_(denoiser.leave[-1].weight, std=0.3)
    networks = Networks(
        build_autoencoder(ARCHITECTURE["mask_autoencoder"]),
        build_autoencoder(ARCHITECTURE["image_autoencoder"]),
        denoiser,
    )
    directory = tmp_path_factory.mktemp("models") / "mask_learnt"
    save_model(directory, networks, CARD)
    return directory


@pytest.fixture(scope="session")
def conv_bundle(model) -> Bundle:
    """The same, loaded."""
    return load_bundle(model)
