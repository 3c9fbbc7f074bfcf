"""Networks of few channels on the paper's grid: a CT's memory and files are those it has there, their time is not."""

from dataclasses import replace
from pathlib import Path

import torch

from universal_diffusion.benchmarks.at_scale import random_bundle
from universal_diffusion.method.bundle import Bundle
from universal_diffusion.method.weights import save_model
from universal_diffusion.settings import Study

WIDTH = 8  # channels everywhere
LOGITS = (-12.0, 5.0)  # mean and deviation: 1 % of the voxels in a mask, 12 % of them above level 0 of a map


def tiny(study: Study) -> Study:
    """The study with as many scales as it has, each of `WIDTH` channels and one residual block."""
    parts = ("mask_autoencoder", "image_autoencoder", "denoiser")
    changed = {
        name: replace(part, channels=(WIDTH,) * len(part.channels), residual_blocks=1)
        for name, part in ((name, getattr(study, name)) for name in parts)
    }
    changed["denoiser"] = replace(changed["denoiser"], embedding_channels=WIDTH)
    return replace(study, **changed)


def write_tiny(directory: Path, study: Study) -> None:
    """A model's directory: tiny networks with random weights, the study's grid, window and patch."""
    bundle = random_bundle(tiny(study), "cpu")
    _make_sparse(bundle)
    told = {"prediction": "mask", "study": study.study, "variant": "tiny random networks", "cohort": "none"}
    save_model(directory, bundle.networks, bundle.card | told | {"hu_window": list(study.preparation.hu_window)})


@torch.inference_mode()
def _make_sparse(bundle: Bundle) -> None:
    """Give the decoder's logits the mean and deviation `LOGITS`; a random network's are near 0, half of it mask."""
    last = [layer for layer in bundle.mask_autoencoder.decoder.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    side = bundle.card["patch"] // bundle.mask_autoencoder.factor
    last.bias.zero_()
    deviation = bundle.mask_autoencoder.decode(torch.randn(1, bundle.latent_channels, side, side)).std()
    last.weight.mul_(LOGITS[1] / deviation)
    last.bias.fill_(LOGITS[0])
