"""Train the image VAE (eqs. 4 and 5).

    python -m universal_diffusion.training.image_autoencoder --volumes DIR... --splits CSV --settings JSON ...

The log-likelihood is a Laplace density of unit scale, so -log p(y|z) is the absolute error up to a constant. Every term
is a mean over patches; the absolute error is also a mean over pixels, and the KL, summed over the latent, is divided by
the number of pixels, so `kl_weight` is the weight of both terms' sums, as Rombach et al. 2022 use it.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from universal_diffusion.errors import one_line_errors
from universal_diffusion.method.autoencoders import ImageAutoencoder, kl_divergence
from universal_diffusion.method.bundle import architecture_of
from universal_diffusion.method.perceptual import PerceptualDistance
from universal_diffusion.method.weights import load_card, save_model
from universal_diffusion.settings import ImageAutoencoder as Settings
from universal_diffusion.settings import read_json
from universal_diffusion.training.loop import finish, train
from universal_diffusion.training.patches import Batches, generator, start, training_arguments

LATENT_BATCHES = 16
VALIDATION_BATCHES = 4


class ImageReconstruction:
    """L_VAE over image patches."""

    def __init__(self, module: ImageAutoencoder, batches: Batches, settings: Settings, perceptual: PerceptualDistance):
        self.module, self.batches, self.settings, self.perceptual = module, batches, settings, perceptual

    def loss(self, module: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """Absolute error + alpha LPIPS + beta KL on batch `step`."""
        image, _, _ = self.batches.draw("train", step, next(module.parameters()).device)
        size = image.shape[-1] // self.module.factor
        noise = torch.randn(
            (len(image), self.module.latent_channels, size, size),
            generator=generator(self.batches.seed, "image_autoencoder", "noise", step),
        ).to(image.device)
        reconstruction, mean, log_variance = module(image, noise)
        error = (reconstruction - image).abs().mean()
        perceptual = self.perceptual.to(image.device)(image, reconstruction).mean()
        kl = kl_divergence(mean, log_variance).mean() / image[0].numel()
        loss = error + self.settings.perceptual_weight * perceptual + self.settings.kl_weight * kl
        return loss, {"absolute_error": error.item(), "lpips": perceptual.item(), "kl_per_pixel": kl.item()}

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Peak signal-to-noise ratio in dB of reconstructions from the posterior mean."""
        squared, count = 0.0, 0
        for index in range(VALIDATION_BATCHES):
            image, _, _ = self.batches.draw("validation", index, next(module.parameters()).device)
            reconstruction = module(image, torch.zeros((), device=image.device))[0]
            squared += (reconstruction - image).square().sum().item()
            count += image.numel()
        return {"validation_psnr_db": -10 * torch.tensor(squared / count).log10().item()}

    def state(self) -> dict[str, Tensor]:
        """Nothing but the module changes."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Nothing to take back."""


@one_line_errors
def main() -> None:
    """Train, measure the latent's scale, and write weights, card and log."""
    parser = training_arguments(__doc__)
    parser.add_argument("--pretrained", type=Path, required=True, help="directory that method.pretrained wrote")
    arguments = parser.parse_args()
    settings = read_json(Settings, arguments.settings, "configuration.image_autoencoder")
    start(arguments, "image_autoencoder")
    batches = Batches(arguments, settings.training.batch)
    module = ImageAutoencoder(settings.channels, settings.latent_channels, settings.residual_blocks)
    perceptual = PerceptualDistance(arguments.pretrained / "vgg16.safetensors")
    architecture = architecture_of("image_autoencoder", settings)
    identity = {
        "architecture": architecture,
        "perceptual_weight": settings.perceptual_weight,
        "kl_weight": settings.kl_weight,
        "pretrained": load_card(arguments.pretrained),
    } | batches.identity
    task = ImageReconstruction(module, batches, settings, perceptual)
    trained = train(task, settings.training, arguments.output, identity)
    images = (batches.draw("train", index, torch.device("cpu"))[0] for index in range(LATENT_BATCHES))
    trained.scale.fit(trained.posterior(image)[0] for image in images)
    save_model(arguments.output, trained, identity)
    finish(arguments.output)


if __name__ == "__main__":
    main()
