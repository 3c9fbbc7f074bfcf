"""Batches for the trainings, as tensors, and the command-line arguments that all trainings share."""

import argparse
import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from universal_diffusion.preparation.patches import PatchSampler
from universal_diffusion.preparation.splits import read_splits, volumes_of
from universal_diffusion.randomness import seed_of
from universal_diffusion.settings import Patches, Preparation, read_json
from universal_diffusion.targets import all_targets
from universal_diffusion.training.interruption import deaf
from universal_diffusion.training.processes import share
from universal_diffusion.volumes import VolumeFile

VALIDATION_PATCHES = 32  # at most, at once: a validation needs little memory beside a step's, whatever its batch


class IndexedBatches(Dataset):
    """Batches of `batch` patches by their index: images (N, 1, P, P) float16, masks as bool, target ids (N,).

    So they travel in few bytes from a worker and to a GPU, and lose nothing: float16 holds each step of a stored image.
    Without `images`, which cost most of the reading, those come as (N, 0, P, P).
    """

    def __init__(self, sampler: PatchSampler, batch: int, images: bool = True, rows: slice = slice(None)):
        self.sampler, self.batch, self.images, self.rows = sampler, batch, images, rows

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        drawn = self.sampler.draw(index, self.batch, self.images, self.rows)
        return (
            torch.from_numpy(drawn.image).half(),
            torch.from_numpy(drawn.mask).bool(),
            torch.from_numpy(drawn.target_ids),
        )

    @staticmethod
    def unpack(image: Tensor, mask: Tensor, target_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What has travelled, as the networks take it: images and masks (N, 1, P, P) float32, target ids (N,)."""
        return image.float(), mask.float(), target_ids


class ReadAhead:
    """Batches in the order of their indices, drawn ahead by worker processes, or on demand by none.

    A batch depends on its index alone, so that neither the number of workers nor a restart at any index changes it.
    """

    def __init__(self, batches: IndexedBatches, workers: int):
        self._batches, self._workers = batches, workers
        self._next, self._ahead = 0, self._from(0)

    def _from(self, index: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        yield from DataLoader(
            self._batches,
            sampler=itertools.count(index),
            batch_size=None,
            num_workers=self._workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=deaf,
            generator=torch.Generator(),  # its own, or it would draw from the one that initialises the weights
        )

    def draw(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Batch `index`; the workers start afresh where it is not the one after the last."""
        if index != self._next:
            self._ahead = self._from(index)
        self._next = index + 1
        return next(self._ahead)


class Batches:
    """Training and validation patches of a study's volumes; all threads but one read ahead for the training.

    Args:
        indexed: makes the data set that draws and unpacks them from (sampler, batch, rows=...).
    """

    def __init__(self, arguments: argparse.Namespace, batch: int, indexed: Callable[..., Dataset] = IndexedBatches):
        preparation = read_json(Preparation, arguments.preparation, "configuration.preparation")
        patches = read_json(Patches, arguments.patches, "configuration.patches")
        rows = read_splits(arguments.splits)
        self.batch, self.seed = batch, arguments.study_seed
        self.preparation = preparation
        self._volumes = {part: volumes_of(arguments.volumes, rows, {part}) for part in ("train", "validation")}
        samplers = {
            part: PatchSampler(volumes, patches, preparation.patch, self.seed)
            for part, volumes in self._volumes.items()
        }
        self._whole = {
            "train": indexed(samplers["train"], batch),
            "validation": indexed(samplers["validation"], min(batch, VALIDATION_PATCHES)),
        }
        self._ahead = lambda share: ReadAhead(indexed(samplers["train"], batch, rows=share), arguments.threads - 1)
        self._share, self._train = slice(0), None
        self._held, self._patches = -1, ()
        self.identity = {
            "patches": asdict(patches),
            "preparation": asdict(preparation),
            "seed": self.seed,
            "splits": hashlib.sha256(arguments.splits.read_bytes()).hexdigest(),
            "volumes": _fingerprint(path for paths in self._volumes.values() for path in paths),
        }

    def fetch(self, step: int) -> float:
        """Hold this process's share of the training batch of `step`; the seconds waited for it."""
        began = time.monotonic()
        if self._train is None:
            self._share = share(self.batch)
            self._train = self._ahead(self._share)
        self._held, self._patches = step, self._train.draw(step)
        return time.monotonic() - began

    def train(self, step: int, rows: slice, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """`rows` of the training batch of `step`, which lie in this process's share, as the data set unpacks them."""
        if step != self._held:
            self.fetch(step)
        own = slice(rows.start - self._share.start, rows.stop - self._share.start)
        return self._unpacked((tensor[own] for tensor in self._patches), device)

    def whole(self, part: str, index: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """The whole batch `index` of a part, drawn at once."""
        return self._unpacked(self._whole[part][index], device)

    def _unpacked(self, tensors: Iterable[Tensor], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        return self._whole["train"].unpack(*(tensor.to(device, non_blocking=True) for tensor in tensors))

    def cases(self, step: int) -> list[str]:
        """The case "source/case" of each patch of the training batch of `step`."""
        origins = self._whole["train"].sampler.draw(step, self.batch, images=False).origins
        return [f"{origin.source}/{origin.case}" for origin in origins]

    def volumes(self, part: str) -> list[Path]:
        """The stored volumes of a part."""
        return self._volumes[part]

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
    if not torch.cuda.is_available():  # where equal bytes are not promised, its faster kernels are worth more
        torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # or it sets each new tensor to NaN
    torch.manual_seed(seed_of(arguments.study_seed, "weights", purpose))
    arguments.output.mkdir(parents=True, exist_ok=True)
