"""The denoiser's training as the loop sees it: L_MSE + L_VLB on latents at importance-sampled steps (section 2.2)."""

from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor, nn

from universal_diffusion.method.bundle import Networks, process_of
from universal_diffusion.method.denoiser import Denoiser
from universal_diffusion.method.samplers import sample
from universal_diffusion.method.steps import SecondMomentSteps
from universal_diffusion.settings import Diffusion
from universal_diffusion.training.patches import Batches, generator
from universal_diffusion.training.pictures import choice, segmentation_sheet
from universal_diffusion.training.tasks import Task, device_of

VALIDATION_BATCHES = 4
SAMPLING_STEPS = 4  # of DDIM, for validation and pictures: few, as a look every so often should cost little


class Denoising(nn.Module):
    """The denoiser with its class-aware features in one call, as the loop's optimiser and DDP see it."""

    def __init__(self, denoiser: Denoiser):
        super().__init__()
        self.denoiser = denoiser

    def forward(self, noisy: Tensor, step: Tensor, target_ids: Tensor, image_latent: Tensor) -> Tensor:
        """(N, C, h, w), (N,), (N,), (N, C_y, h, w) -> (N, 2C, h, w)."""
        embedding = self.denoiser.embedding(target_ids)
        return self.denoiser(noisy, step, embedding, self.denoiser.features(image_latent, embedding))


class LatentDiffusion(Task):
    """L_MSE + L_VLB at importance-sampled steps (eqs. 6, 9, 10; Nichol & Dhariwal 2021)."""

    def __init__(self, networks: Networks, prediction: str, diffusion: Diffusion, batches: Batches):
        self.networks, self.prediction, self.batches = networks, prediction, batches
        self.module = Denoising(networks.denoiser)
        self.process = process_of(asdict(diffusion))
        self.steps = SecondMomentSteps(diffusion.timesteps, diffusion.history, diffusion.uniform_probability)

    def place(self, device: torch.device) -> None:
        """The auto-encoders and the process's tables compute on `device` too."""
        self.networks.to(device)
        self.process = self.process.to(device)

    def fetch(self, step: int) -> float:
        """Draw the noise of `step` and wait for its patches."""
        source = generator(self.batches.seed, "denoiser", step)
        self.steps.draw(self.batches.batch, source)  # moves on as the draw of the diffusion steps in `loss` does
        self.noise = torch.randn((self.batches.batch, *self._latent_shape()), generator=source)
        return self.batches.fetch(step)

    def loss(self, module: nn.Module, step: int, rows: slice) -> dict[str, Tensor]:
        """The importance-weighted hybrid loss of `rows` of batch `step`."""
        z0, image_latent, target_ids = self._latents(*self.batches.train(step, rows, device_of(module)))
        self.drawn, weights = self.steps.draw(self.batches.batch, generator(self.batches.seed, "denoiser", step))
        t, weights, noise = (values[rows].to(z0.device) for values in (self.drawn, weights, self.noise))
        zt = self.process.q_sample(z0, t, noise)
        losses = self.process.losses(self.prediction, module(zt, t, target_ids, image_latent), z0, zt, t, noise)
        return {"loss": weights * losses.hybrid, "mse": losses.mse, "vlb_bits": losses.vlb}

    def learn(self, figures: dict[str, Tensor]) -> None:
        """Remember the denoising loss of the diffusion steps that were drawn."""
        self.steps.record(self.drawn, figures["mse"])

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Dice of the decoded samples of `SAMPLING_STEPS` deterministic steps, pooled over the validation patches.

        More than one step, as one says little of a predicted noise, and the curves of all variants are to be compared.
        """
        overlap = total = 0.0
        for index in range(VALIDATION_BATCHES):
            image, mask, target_ids = self.batches.whole("validation", index, device_of(module))
            predicted = (self._sampled(module, image, target_ids, 0.0, "validation", index) > 0).float()
            overlap += 2 * (predicted * mask).sum().item()
            total += (predicted + mask).sum().item()
        return {"validation_dice": overlap / total if total else float("nan")}

    def picture(self, module: nn.Module) -> np.ndarray:
        """Samples for validation patches, each with the same noise in every picture."""
        image, mask, target_ids = self.batches.whole("validation", 0, device_of(module))
        shown = choice(mask, target_ids)
        image, mask, target_ids = image[shown], mask[shown], target_ids[shown]
        return segmentation_sheet(
            image, mask, self._sampled(module, image, target_ids, 1.0, "picture").sigmoid(), target_ids
        )

    def _sampled(self, module: nn.Module, image: Tensor, target_ids: Tensor, eta: float, *purpose: object) -> Tensor:
        """Logits (N, 1, P, P) of DDIM samples for image patches, from noise that `purpose` alone decides."""
        image_latent = self.networks.image_autoencoder.encode(image)

        def noise(draw: int) -> Tensor:
            source = generator(self.batches.seed, "denoiser", *purpose, draw)
            return torch.randn((len(image), *self._latent_shape()), generator=source).to(image.device)

        def denoise(noisy: Tensor, step: Tensor) -> Tensor:
            return module(noisy, step, target_ids, image_latent)

        latent = sample("ddim", denoise, noise(-1), self.process, self.prediction, SAMPLING_STEPS, eta, noise)
        return self.networks.mask_autoencoder.decode(latent)

    @torch.no_grad()
    def _latents(self, image: Tensor, mask: Tensor, target_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        networks = self.networks
        return networks.mask_autoencoder.encode(mask), networks.image_autoencoder.encode(image), target_ids

    def _latent_shape(self) -> tuple[int, int, int]:
        masks = self.networks.mask_autoencoder
        size = self.batches.preparation.patch // masks.factor
        return masks.latent_channels, size, size

    def cases(self, step: int) -> list[str]:
        """The cases of the patches of `step`."""
        return self.batches.cases(step)

    def state(self) -> dict[str, Tensor]:
        """The step sampler's history of losses."""
        return self.steps.state_dict()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take a history back."""
        self.steps.load_state_dict(state)
