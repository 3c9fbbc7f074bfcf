"""Train the mask auto-encoder (eqs. 1-3).

python -m universal_diffusion.training.mask_autoencoder --volumes DIR... --splits CSV --settings JSON ...
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from universal_diffusion.errors import one_line_errors
from universal_diffusion.method.autoencoders import MaskAutoencoder, mask_loss
from universal_diffusion.method.bundle import architecture_of
from universal_diffusion.method.weights import save_model
from universal_diffusion.settings import MaskAutoencoder as Settings
from universal_diffusion.settings import read_json
from universal_diffusion.training.ceiling import report_ceiling
from universal_diffusion.training.loop import finish, train
from universal_diffusion.training.patches import Batches, IndexedBatches, start, training_arguments
from universal_diffusion.training.pictures import choice, mask_sheet
from universal_diffusion.training.tasks import Task, device_of

LATENT_BATCHES = 16
VALIDATION_BATCHES = 4


class MaskReconstruction(Task):
    """L_AE over masks of the targets annotated in each case."""

    def __init__(self, module: MaskAutoencoder, batches: Batches):
        self.module, self.batches = module, batches

    def fetch(self, step: int) -> float:
        """Wait for the masks of `step`."""
        return self.batches.fetch(step)

    def loss(self, module: nn.Module, step: int, rows: slice) -> dict[str, Tensor]:
        """L_BCE + L_DICE of `rows` of batch `step`."""
        _, mask, _ = self.batches.train(step, rows, device_of(module))
        return {"loss": mask_loss(module(mask), mask)}

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Dice of the thresholded reconstructions, pooled over the validation patches."""
        overlap = total = 0.0
        for index in range(VALIDATION_BATCHES):
            _, mask, _ = self.batches.whole("validation", index, device_of(module))
            predicted = (module(mask) > 0).float()
            overlap += 2 * (predicted * mask).sum().item()
            total += (predicted + mask).sum().item()
        return {"validation_dice": overlap / total if total else float("nan")}

    def picture(self, module: nn.Module) -> np.ndarray:
        """Masks of validation patches, and their reconstructions."""
        _, mask, target_ids = self.batches.whole("validation", 0, device_of(module))
        shown = choice(mask, target_ids)
        return mask_sheet(mask[shown], module(mask[shown]).sigmoid(), target_ids[shown])

    def cases(self, step: int) -> list[str]:
        """The cases of the patches of `step`."""
        return self.batches.cases(step)


@one_line_errors
def main() -> None:
    """Train, measure the latent's scale and the ceiling, and write weights, card, log and the ceiling's rows."""
    arguments = training_arguments(__doc__).parse_args()
    settings = read_json(Settings, arguments.settings, "configuration.mask_autoencoder")
    start(arguments, "mask_autoencoder")
    batches = Batches(arguments, settings.training.batch, partial(IndexedBatches, images=False))
    module = MaskAutoencoder(settings.channels, settings.latent_channels, settings.residual_blocks)
    architecture = architecture_of("mask_autoencoder", settings)
    identity = {"architecture": architecture} | batches.identity
    trained = train(MaskReconstruction(module, batches), settings.training, arguments.output, identity)
    masks = (batches.whole("train", index, torch.device("cpu"))[1] for index in range(LATENT_BATCHES))
    trained.scale.fit(trained.encoder(2 * mask - 1) for mask in masks)
    save_model(arguments.output, trained, identity)
    report_ceiling(arguments.output, trained, batches.volumes("validation"), batches.preparation.patch)
    finish(arguments.output)


if __name__ == "__main__":
    main()
