"""Train the image VAE (eqs. 4 and 5).

    python -m universal_diffusion.training.image_autoencoder --volumes DIR... --splits CSV --settings JSON ...

The log-likelihood is a Laplace density of unit scale, so -log p(y|z) is the absolute error up to a constant. Every term
is a mean over patches; the absolute error is also a mean over pixels, and the KL, summed over the latent, is divided by
the number of pixels, so `kl_weight` is the weight of both terms' sums. Rombach et al. 2022 weigh them likewise, but
take the error of images in [-1, 1]; here they span [0, 1], so that both weights count twice against the error.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from universal_diffusion.errors import one_line_errors
from universal_diffusion.method.autoencoders import ImageAutoencoder, kl_divergence
from universal_diffusion.method.bundle import architecture_of
from universal_diffusion.method.perceptual import PerceptualDistance
from universal_diffusion.method.weights import load_card, pretrained_file, save_model
from universal_diffusion.settings import ImageAutoencoder as Settings
from universal_diffusion.settings import read_json
from universal_diffusion.training.loop import finish, train
from universal_diffusion.training.patches import Batches, generator, start, training_arguments
from universal_diffusion.training.pictures import choice, image_sheet
from universal_diffusion.training.tasks import Task, device_of

LATENT_BATCHES = 16
VALIDATION_BATCHES = 4


class ImageReconstruction(Task):
    """L_VAE over image patches."""

    def __init__(self, module: ImageAutoencoder, batches: Batches, settings: Settings, perceptual: PerceptualDistance):
        self.module, self.batches, self.settings, self.perceptual = module, batches, settings, perceptual

    def place(self, device: torch.device) -> None:
        """The perceptual distance computes on `device` too."""
        self.perceptual.to(device, memory_format=torch.channels_last)

    def fetch(self, step: int) -> float:
        """Draw the noise of `step`'s latents and wait for its images."""
        size = self.batches.preparation.patch // self.module.factor
        source = generator(self.batches.seed, "image_autoencoder", "noise", step)
        self.noise = torch.randn((self.batches.batch, self.module.latent_channels, size, size), generator=source)
        return self.batches.fetch(step)

    def loss(self, module: nn.Module, step: int, rows: slice) -> dict[str, Tensor]:
        """Absolute error + alpha LPIPS + beta KL of `rows` of batch `step`."""
        image, _, _ = self.batches.train(step, rows, device_of(module))
        reconstruction, mean, log_variance = module(image, self.noise[rows].to(image.device))
        error = (reconstruction - image).abs().flatten(1).mean(1)
        perceptual = self.perceptual(image, reconstruction)
        kl = kl_divergence(mean, log_variance) / image[0].numel()
        loss = error + self.settings.perceptual_weight * perceptual + self.settings.kl_weight * kl
        return {"loss": loss, "absolute_error": error, "lpips": perceptual, "kl_per_pixel": kl}

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Peak signal-to-noise ratio in dB of reconstructions from the posterior mean."""
        squared, count = 0.0, 0
        for index in range(VALIDATION_BATCHES):
            image, _, _ = self.batches.whole("validation", index, device_of(module))
            reconstruction = module(image, torch.zeros((), device=image.device))[0]
            squared += (reconstruction - image).square().sum().item()
            count += image.numel()
        return {"validation_psnr_db": -10 * torch.tensor(squared / count).log10().item()}

    def picture(self, module: nn.Module) -> np.ndarray:
        """Images of validation patches, and their reconstructions from the posterior mean."""
        image, mask, target_ids = self.batches.whole("validation", 0, device_of(module))
        image = image[choice(mask, target_ids)]
        return image_sheet(image, module(image, torch.zeros((), device=image.device))[0])

    def cases(self, step: int) -> list[str]:
        """The cases of the patches of `step`."""
        return self.batches.cases(step)


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
    perceptual = PerceptualDistance(pretrained_file(arguments.pretrained, "vgg16"))
    architecture = architecture_of("image_autoencoder", settings)
    identity = {
        "architecture": architecture,
        "perceptual_weight": settings.perceptual_weight,
        "kl_weight": settings.kl_weight,
        "pretrained": load_card(arguments.pretrained),
    } | batches.identity
    task = ImageReconstruction(module, batches, settings, perceptual)
    trained = train(task, settings.training, arguments.output, identity)
    images = (batches.whole("train", index, torch.device("cpu"))[0] for index in range(LATENT_BATCHES))
    trained.scale.fit(trained.posterior(image)[0] for image in images)
    save_model(arguments.output, trained, identity)
    finish(arguments.output)


if __name__ == "__main__":
    main()
