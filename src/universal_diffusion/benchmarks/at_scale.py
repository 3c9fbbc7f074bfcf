"""The subject of the benchmark of inference: the paper's networks with random weights, and a whole CT for them."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from universal_diffusion.benchmarks.parts import DECODE, DENOISE, ENCODE, FEATURES, flops_of
from universal_diffusion.benchmarks.scans import native
from universal_diffusion.method.bundle import (
    Bundle,
    Networks,
    architecture_of,
    build_autoencoder,
    build_denoiser,
    process_of,
)
from universal_diffusion.preparation.transforms import harmonise_image
from universal_diffusion.segmentation.sampling.windows import Windows
from universal_diffusion.settings import Segmentation, Study
from universal_diffusion.targets import all_targets
from universal_diffusion.training.denoiser import architecture_of as denoiser_architecture

SLICES = 300  # of 512 x 512 voxels
SEED = 1
NAMES = tuple(target.name for target in all_targets())
PRECISION = {"cuda": "bf16-mixed", "cpu": "32-true"}

Cell = tuple[int, int]  # steps, ensemble


def write_ct(path: Path, study: Study) -> None:
    """One synthetic CT of 512 x 512 x `SLICES` voxels, harmonised, as `.npy` of (X, Y, Z) float32."""
    taken = native(SLICES)
    image, _ = harmonise_image(taken.image.astype(np.float32), taken.affine, study.preparation, "the synthetic CT")
    np.save(path, image)


def random_bundle(study: Study, device: str) -> Bundle:
    """The study's variant mask/learnt with random weights."""
    torch.manual_seed(SEED)
    coders = {kind: architecture_of(kind, getattr(study, kind)) for kind in ("mask_autoencoder", "image_autoencoder")}
    masks, images = (build_autoencoder(architecture) for architecture in coders.values())
    architecture = denoiser_architecture(study.denoiser, "learnt")
    denoiser = build_denoiser(architecture, masks.latent_channels, images.latent_channels, None)
    networks = Networks(masks, images, denoiser).eval().requires_grad_(False).to(device)
    card = {
        "architecture": {"kind": "variant", **coders, "denoiser": architecture},
        "patch": study.preparation.patch,
        "spacing_mm": list(study.preparation.spacing_mm),
        "diffusion": asdict(study.diffusion),
        "targets": list(NAMES),
    }
    return Bundle(networks, process_of(card["diffusion"]), "mask", card, torch.device(device))


def sampling_of(study: Study, device: str, cell: Cell) -> Segmentation:
    """The study's own sampling but for the steps and the ensemble; in bfloat16 on a GPU, without a gate."""
    steps, ensemble = cell
    precision = PRECISION[device]
    return replace(study.segmentation, steps=steps, ensemble=ensemble, batch=None, precision=precision, gate=None)


def windows_of(study: Study, image: np.ndarray) -> tuple[int, int]:
    """How many windows a harmonised image (X, Y, Z) has, and how many of them hold body."""
    windows = Windows(image.shape[:2], study.preparation.patch, study.segmentation.overlap)
    return len(windows) * image.shape[2], int(windows.body(image).sum())


def operations(bundle: Bundle, windows: int, cell: Cell, cached: bool) -> float:
    """Of all targets in `windows` windows: with this study's caching, or with everything repeated."""
    each, (steps, ensemble) = flops_of(bundle), cell
    pairs = windows * len(NAMES)
    sampled = pairs * ensemble * (steps * each[DENOISE] + each[DECODE])
    if cached:
        return windows * each[ENCODE] + pairs * each[FEATURES] + sampled
    return sampled + pairs * ensemble * (each[ENCODE] + steps * each[FEATURES])
