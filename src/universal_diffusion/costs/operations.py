"""Operations of a study's trainings and of its segmentation, counted by torch on networks without memory.

What is counted for a patch is exact; how many windows a CT has depends on its size, so that the sums are ranges.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from universal_diffusion.baselines.segresnet import build as build_segresnet
from universal_diffusion.benchmarks.demand import step_flops
from universal_diffusion.benchmarks.training import perceptual_flops
from universal_diffusion.costs.amounts import Range, total
from universal_diffusion.costs.disk import STORED_MM, VARIANTS, evaluated
from universal_diffusion.datasets.own.source import entry_of
from universal_diffusion.evaluation.beyond.cost import flops
from universal_diffusion.evaluation.beyond.networks import network_rows
from universal_diffusion.method.bundle import architecture_of, build_autoencoder
from universal_diffusion.segmentation.sampling.windows import Windows
from universal_diffusion.settings import Study, Training

BODY_MM = (384.0, 420.0)  # width of what is segmented: one patch of 256 at 1.5 mm, and the case of benchmarks/store.md


@dataclass(frozen=True)
class Work:
    """A training: `runs` times `patches` of `each` operations; `record` and row that hold a pace measured for it."""

    name: str
    record: tuple[str, str]
    runs: int
    patches: int
    each: float

    @property
    def operations(self) -> float:
        """Of all runs."""
        return self.runs * self.patches * self.each


def trainings(study: Study) -> list[Work]:
    """The trainings of a study, in the order they are run."""
    counted, patch = step_flops(study), study.preparation.patch
    masks, images = study.mask_autoencoder, study.image_autoencoder
    with torch.device("meta"):
        coarser = build_autoencoder(architecture_of("mask_autoencoder", masks.coarser()))
        segresnet = build_segresnet(study.baseline.segresnet_filters)
    coders = len(masks.channels)
    rows = [
        (f"mask auto-encoder, f = {2 ** (coders - 1)}", masks.training, counted["mask auto-encoder"], 1),
        (f"mask auto-encoder, f = {2**coders}", masks.training, _step(coarser, patch), 1),
        ("image auto-encoder", images.training, counted["image auto-encoder"] + perceptual_flops(patch), 1),
        ("denoiser", study.denoiser.training, counted["denoiser"], VARIANTS),
        ("SegResNet", study.baseline.training, _step(segresnet, patch), 1),
    ]
    return [_training(*row) for row in rows]


def _training(name: str, settings: Training, each: float, runs: int) -> Work:
    measured = name.partition(",")[0]
    measured = "mask auto-encoder" if measured == "SegResNet" else measured
    return Work(name, ("training", measured), runs, settings.steps * settings.batch, each)


def _step(network: nn.Module, patch: int) -> int:
    """Operations of one patch forward and backward."""
    with torch.device("meta"):
        given = torch.zeros(1, 1, patch, patch)
        return flops(lambda: network(given).sum().backward())


def windows(study: Study) -> Range:
    """Windows of one harmonised CT: fewest on the slices of the shorter case, most on those of the longer one."""
    spacing, patch, overlap = study.preparation.spacing_mm, study.preparation.patch, study.segmentation.overlap
    counts = [len(Windows((_voxels(width, spacing[0]),) * 2, patch, overlap)) for width in BODY_MM]
    slices = [_voxels(length, spacing[2]) for length in (STORED_MM.low, STORED_MM.high)]
    return Range(counts[0] * slices[0], counts[1] * slices[1])


def _voxels(length_mm: float, spacing_mm: float) -> int:
    return round(length_mm / spacing_mm)


def segmentation(study: Study) -> Range:
    """Operations of segmenting the annotated targets of every validation and test case with every variant."""
    rows = network_rows(study).set_index(["network", "part"])["gflop"] * 1e9
    factor = 2 ** (len(study.mask_autoencoder.channels) - 1)
    encode = rows[f"image auto-encoder, f = {factor}", "encoder"]
    decode = rows[f"mask auto-encoder, f = {factor}", "decoder"]
    features = rows["denoiser, latent space", "class-aware image encoder"]
    step = rows["denoiser, latent space", "U-Net"]
    sampling = study.segmentation
    target = features + sampling.ensemble * (sampling.steps * step + decode)
    cases = evaluated(study)
    each_window = [cases[name] * (encode + annotated(name, study) * target) for name in cases]
    return total(windows(study) * count for count in each_window) * VARIANTS


def annotated(name: str, study: Study) -> int:
    """Targets that a source annotates, all of which are segmented in each of its evaluated cases."""
    return len(entry_of(name, Path(study.data_root, study.sources[name].path or "")).annotated)
