"""Baseline `segresnet`: MONAI's SegResNet in 2-D, one sigmoid output per target, on the same patches.

    python -m universal_diffusion.baselines.segresnet --volumes DIR... --splits CSV --settings JSON ...

A target that is not annotated in a case gives no loss there: unknown is not absent.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.networks.nets import SegResNet
from torch import Tensor, nn
from torch.nn import functional

from universal_diffusion import __version__
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.method.weights import load_card, load_weights, save_model
from universal_diffusion.segmentation.outputs.native import THRESHOLD, to_native
from universal_diffusion.settings import Baseline, read_json
from universal_diffusion.targets import all_targets, target
from universal_diffusion.training.loop import finish, train
from universal_diffusion.training.patches import Batches, IndexedBatches, start, training_arguments
from universal_diffusion.training.tasks import Task, device_of
from universal_diffusion.volumes import Volume

GROUPS = 8  # of the normalisation; also how much smaller the coarsest scale is
START_LOGIT = -3.0
OVERLAP = 0.5
SLAB = 16  # slices segmented at once
VALIDATION_BATCHES = 4


def build(filters: int) -> SegResNet:
    """The untrained network, (N, 1, P, P) -> (N, 29, P, P) logits; P must be a multiple of 8.

    It starts from logits near `START_LOGIT`, because nearly every voxel is background (Lin et al. 2017, section 3.3).
    """
    normalisation = ("GROUP", {"num_groups": GROUPS})
    network = SegResNet(2, init_filters=filters, out_channels=len(all_targets()), norm=normalisation)
    nn.init.constant_(network.conv_final[-1].conv.bias, START_LOGIT)
    return network


def check_sizes(filters: int, patch: int) -> None:
    """Raise InputError for sizes that the network cannot be built for or fed with."""
    for key, size in (("baseline.segresnet_filters", filters), ("preparation.patch", patch)):
        if size % GROUPS:
            raise InputError(f"configuration.{key}", f"is {size}", f"SegResNet needs a multiple of {GROUPS}")


class IndexedLabels(IndexedBatches):
    """The study's patches with the labels of all targets: images, label bits (N, P, P), which are annotated (N, 29)."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        drawn = self.sampler.draw(index, self.batch, rows=self.rows)
        labels = [self.sampler.labels(origin) for origin in drawn.origins]
        annotated = torch.zeros(len(labels), len(all_targets()), dtype=torch.bool)
        for row, (_, names) in enumerate(labels):
            annotated[row, [target(name).id - 1 for name in names]] = True
        bits = np.stack([patch for patch, _ in labels]).view(np.int32)
        return torch.from_numpy(drawn.image).half(), torch.from_numpy(bits), annotated

    @staticmethod
    def unpack(image: Tensor, labels: Tensor, annotated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images (N, 1, P, P), all masks (N, 29, P, P) float32 and which are annotated (N, 29)."""
        bits = torch.tensor([known.bit for known in all_targets()], dtype=torch.int32, device=labels.device)
        return image.float(), ((labels[:, None] & bits[:, None, None]) != 0).float(), annotated


def annotated_loss(logits: Tensor, masks: Tensor, annotated: Tensor) -> Tensor:
    """L_BCE + L_DICE (eqs. 1, 2) over the annotated (patch, target) pairs of (N, 29, P, P).

    The Dice of a target is pooled over the batch (Isensee et al. 2021): most targets are absent from most patches, and
    patch by patch the best answer to that would be to predict nothing.
    """
    asked = annotated[:, :, None, None]
    probability, truth = logits.sigmoid() * asked, masks * asked
    overlap, total = (values.sum(dim=(0, 2, 3)) for values in (probability * truth, probability + truth))
    dice = (2 * overlap + 1) / (total + 1)
    cross_entropy = functional.binary_cross_entropy_with_logits(logits[annotated], masks[annotated])
    return cross_entropy + (1 - dice[annotated.any(dim=0)]).mean()


class Discrimination(Task):
    """The loss over annotated targets, and pooled Dice over them for validation.

    The loss pools over the patches that are computed at once, and is the same for each of them.
    """

    def __init__(self, module: nn.Module, batches: Batches):
        self.module, self.batches = module, batches

    def fetch(self, step: int) -> float:
        """Wait for the patches of `step`."""
        return self.batches.fetch(step)

    def loss(self, module: nn.Module, step: int, rows: slice) -> dict[str, Tensor]:
        """L_BCE + L_DICE of `rows` of batch `step`."""
        image, masks, annotated = self.batches.train(step, rows, device_of(module))
        return {"loss": annotated_loss(module(image), masks, annotated).expand(len(image))}

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Dice over all annotated (patch, target) pairs of some validation batches, pooled."""
        overlap = total = 0.0
        for index in range(VALIDATION_BATCHES):
            image, masks, annotated = self.batches.whole("validation", index, device_of(module))
            predicted, truth = (module(image) > 0)[annotated].float(), masks[annotated]
            overlap += 2 * (predicted * truth).sum().item()
            total += (predicted + truth).sum().item()
        return {"validation_dice": overlap / total if total else float("nan")}

    def cases(self, step: int) -> list[str]:
        """The cases of the patches of `step`."""
        return self.batches.cases(step)


@dataclass(frozen=True)
class Segmenter:
    """The trained network on `device`, ready for whole volumes; windows are `patch` voxels wide."""

    network: nn.Module
    patch: int
    device: torch.device

    def predict(self, volume: Volume) -> Iterator[tuple[str, np.ndarray]]:
        """Name and boolean mask, on the CT's own grid, of each target annotated in the case."""
        probabilities = self.probabilities(volume.image, volume.annotated)
        for name, probability in zip(volume.annotated, probabilities, strict=True):
            yield name, to_native(probability, volume.grid, volume.native_grid) >= THRESHOLD

    @torch.inference_mode()
    def probabilities(self, image: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """P(voxel in target) of the named targets in an (X, Y, Z) image: (targets, X, Y, Z) float16."""
        channels = [target(name).id - 1 for name in names]
        slices = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, 2, 0)[:, None], dtype=np.float32))
        slabs = [
            sliding_window_inference(
                slab.to(self.device),
                roi_size=(self.patch, self.patch),
                sw_batch_size=SLAB,
                predictor=lambda windows: self.network(windows)[:, channels].sigmoid(),
                overlap=OVERLAP,
                mode="gaussian",
            )
            .half()
            .cpu()
            for slab in slices.split(SLAB)
        ]
        return torch.cat(slabs).permute(1, 2, 3, 0).numpy()


def load_segmenter(directory: Path, device: torch.device) -> Segmenter:
    """The network that this module's training wrote into `directory`."""
    card = load_card(directory)
    network = build(card["architecture"]["filters"])
    load_weights(directory, network, card)
    return Segmenter(network.eval().requires_grad_(False).to(device), card["preparation"]["patch"], device)


@one_line_errors
def main() -> None:
    """Train, and write weights, card and log."""
    arguments = training_arguments(__doc__).parse_args()
    settings = read_json(Baseline, arguments.settings, "configuration.baseline")
    start(arguments, "segresnet")
    batches = Batches(arguments, settings.training.batch, IndexedLabels)
    check_sizes(settings.segresnet_filters, batches.preparation.patch)
    identity = {"architecture": {"filters": settings.segresnet_filters}, "kind": "segresnet"} | batches.identity
    task = Discrimination(build(settings.segresnet_filters), batches)
    trained = train(task, settings.training, arguments.output, identity)
    save_model(arguments.output, trained, identity | {"targets": batches.annotated("train"), "version": __version__})
    finish(arguments.output)


if __name__ == "__main__":
    main()
