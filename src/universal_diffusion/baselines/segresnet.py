"""Baseline `segresnet`: MONAI's SegResNet in 2-D, one sigmoid output per target, on the same patches.

    python -m universal_diffusion.baselines.segresnet --volumes DIR... --splits CSV --settings JSON ...

A target that is not annotated in a case gives no loss there: unknown is not absent.
"""

import argparse
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
from universal_diffusion.segmentation.native import THRESHOLD, to_native
from universal_diffusion.settings import Baseline, read_json
from universal_diffusion.targets import all_targets, target
from universal_diffusion.training.loop import finish, train
from universal_diffusion.training.patches import Batches, start, training_arguments
from universal_diffusion.volumes import Volume, VolumeFile

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


class LabelBatches(Batches):
    """The study's patches with the labels of all targets."""

    def __init__(self, arguments: argparse.Namespace, batch: int):
        super().__init__(arguments, batch)
        self._files = {}
        for path in (path for paths in self._volumes.values() for path in paths):
            with VolumeFile(path) as volume:
                self._files[volume.source, volume.case] = path

    def draw_labels(self, part: str, index: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Batch `index` of a part: images (N, 1, P, P), all masks (N, 29, P, P) and which are annotated (N, 29)."""
        drawn = self._samplers[part].draw(index, self.batch)
        labels, annotated = [], np.zeros((self.batch, len(all_targets())), bool)
        for row, origin in enumerate(drawn.origins):
            with VolumeFile(self._files[origin.source, origin.case]) as volume:
                labels.append(volume.label_patch(origin.z, origin.x, origin.y, self.preparation.patch))
                annotated[row, [target(name).id - 1 for name in volume.annotated]] = True
        bits = np.array([known.bit for known in all_targets()])
        masks = (np.stack(labels)[:, None] & bits[:, None, None]) != 0
        return tuple(torch.from_numpy(array).to(device) for array in (drawn.image, masks.astype(np.float32), annotated))


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


class Discrimination:
    """The loss over annotated targets, and pooled Dice over them for validation."""

    def __init__(self, module: nn.Module, batches: LabelBatches):
        self.module, self.batches = module, batches

    def loss(self, module: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """L_BCE + L_DICE on batch `step`."""
        image, masks, annotated = self.batches.draw_labels("train", step, next(module.parameters()).device)
        return annotated_loss(module(image), masks, annotated), {}

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Dice over all annotated (patch, target) pairs of some validation batches, pooled."""
        overlap = total = 0.0
        for index in range(VALIDATION_BATCHES):
            device = next(module.parameters()).device
            image, masks, annotated = self.batches.draw_labels("validation", index, device)
            predicted, truth = (module(image) > 0)[annotated].float(), masks[annotated]
            overlap += 2 * (predicted * truth).sum().item()
            total += (predicted + truth).sum().item()
        return {"validation_dice": overlap / total if total else float("nan")}

    def state(self) -> dict[str, Tensor]:
        """Nothing but the module changes."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Nothing to take back."""


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
    batches = LabelBatches(arguments, settings.training.batch)
    check_sizes(settings.segresnet_filters, batches.preparation.patch)
    identity = {"architecture": {"filters": settings.segresnet_filters}, "kind": "segresnet"} | batches.identity
    task = Discrimination(build(settings.segresnet_filters), batches)
    trained = train(task, settings.training, arguments.output, identity)
    save_model(arguments.output, trained, identity | {"targets": batches.annotated("train"), "version": __version__})
    finish(arguments.output)


if __name__ == "__main__":
    main()
