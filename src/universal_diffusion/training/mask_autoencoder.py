"""Train the mask auto-encoder (eqs. 1-3).

python -m universal_diffusion.training.mask_autoencoder --volumes DIR... --splits CSV --settings JSON ...
"""

import torch
from torch import Tensor, nn

from universal_diffusion.errors import one_line_errors
from universal_diffusion.method.autoencoders import MaskAutoencoder, mask_loss
from universal_diffusion.method.bundle import architecture_of
from universal_diffusion.method.weights import save_model
from universal_diffusion.settings import MaskAutoencoder as Settings
from universal_diffusion.settings import read_json
from universal_diffusion.training.loop import finish, train
from universal_diffusion.training.patches import Batches, start, training_arguments

LATENT_BATCHES = 16
VALIDATION_BATCHES = 4


class MaskReconstruction:
    """L_AE over masks of the targets annotated in each case."""

    def __init__(self, module: MaskAutoencoder, batches: Batches):
        self.module, self.batches = module, batches

    def loss(self, module: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """L_BCE + L_DICE on batch `step`."""
        _, mask, _ = self.batches.draw("train", step, _device(module))
        return mask_loss(module(mask), mask), {}

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Dice of the thresholded reconstructions, pooled over the validation patches."""
        overlap = total = 0.0
        for index in range(VALIDATION_BATCHES):
            _, mask, _ = self.batches.draw("validation", index, _device(module))
            predicted = (module(mask) > 0).float()
            overlap += 2 * (predicted * mask).sum().item()
            total += (predicted + mask).sum().item()
        return {"validation_dice": overlap / total if total else float("nan")}

    def state(self) -> dict[str, Tensor]:
        """Nothing but the module changes."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Nothing to take back."""


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


@one_line_errors
def main() -> None:
    """Train, measure the latent's scale, and write weights, card and log."""
    arguments = training_arguments(__doc__).parse_args()
    settings = read_json(Settings, arguments.settings, "configuration.mask_autoencoder")
    start(arguments, "mask_autoencoder")
    batches = Batches(arguments, settings.training.batch, images=False)
    module = MaskAutoencoder(settings.channels, settings.latent_channels, settings.residual_blocks)
    architecture = architecture_of("mask_autoencoder", settings)
    identity = {"architecture": architecture} | batches.identity
    trained = train(MaskReconstruction(module, batches), settings.training, arguments.output, identity)
    masks = (batches.draw("train", index, torch.device("cpu"))[1] for index in range(LATENT_BATCHES))
    trained.scale.fit(trained.encoder(2 * mask - 1) for mask in masks)
    save_model(arguments.output, trained, identity)
    finish(arguments.output)


if __name__ == "__main__":
    main()
