"""Batches for the trainings, as tensors, and the command-line arguments that all trainings share."""

import argparse
import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from universal_diffusion.preparation.patches import PatchSampler
from universal_diffusion.preparation.splits import read_splits, volumes_of
from universal_diffusion.randomness import seed_of
from universal_diffusion.settings import Patches, Preparation, read_json
from universal_diffusion.targets import all_targets
from universal_diffusion.volumes import VolumeFile


class Batches:
    """Training and validation patches of a study's volumes."""

    def __init__(self, arguments: argparse.Namespace, batch: int):
        preparation = read_json(Preparation, arguments.preparation, "configuration.preparation")
        patches = read_json(Patches, arguments.patches, "configuration.patches")
        rows = read_splits(arguments.splits)
        self.batch, self.seed = batch, arguments.study_seed
        self.preparation = preparation
        self._volumes = {part: volumes_of(arguments.volumes, rows, {part}) for part in ("train", "validation")}
        self._samplers = {
            part: PatchSampler(volumes, patches, preparation.patch, self.seed)
            for part, volumes in self._volumes.items()
        }
        self.identity = {
            "patches": asdict(patches),
            "preparation": asdict(preparation),
            "seed": self.seed,
            "splits": hashlib.sha256(arguments.splits.read_bytes()).hexdigest(),
            "volumes": _fingerprint(path for paths in self._volumes.values() for path in paths),
        }

    def draw(self, part: str, index: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Batch `index` of a part: images and masks (N, 1, P, P), target ids (N,)."""
        drawn = self._samplers[part].draw(index, self.batch)
        return tuple(torch.as_tensor(array).to(device) for array in (drawn.image, drawn.mask, drawn.target_ids))

    def annotated(self, part: str) -> list[str]:
        """Names of the targets annotated in at least one case of a part, in the order of their ids."""
        found: set[str] = set()
        for path in self._volumes[part]:
            with VolumeFile(path) as volume:
                found.update(volume.annotated)
        return [target.name for target in all_targets() if target.name in found]


def _fingerprint(paths: Iterable[Path]) -> str:
    """Hash of which scans the volumes hold and where their targets lie, in the order of the split."""
    digest = hashlib.sha256()
    for path in paths:
        with VolumeFile(path) as volume:
            digest.update(volume.fingerprint.encode() + volume.slice_counts.tobytes())
    return digest.hexdigest()


def generator(study_seed: int, *purpose: object) -> torch.Generator:
    """A CPU generator for one purpose; noise is drawn on the CPU so that it is the same on every device."""
    return torch.Generator().manual_seed(seed_of(study_seed, *purpose))


def training_arguments(description: str) -> argparse.ArgumentParser:
    """The arguments that every training takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=Path, nargs="+", required=True, help="directories of harmonised volumes")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv: which case plays which part")
    parser.add_argument("--settings", required=True, help="JSON of the network's section of the configuration")
    parser.add_argument("--preparation", required=True, help="JSON of the section `preparation`")
    parser.add_argument("--patches", required=True, help="JSON of the section `patches`")
    parser.add_argument("--study-seed", type=int, required=True, help="everything random follows from it")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads; the weights depend on it")
    parser.add_argument("--output", type=Path, required=True, help="directory for weights, card and log")
    return parser


def start(arguments: argparse.Namespace, purpose: str) -> None:
    """Fix what a training's bytes depend on: threads, deterministic kernels, the seed of the initial weights."""
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(seed_of(arguments.study_seed, "weights", purpose))
    arguments.output.mkdir(parents=True, exist_ok=True)
