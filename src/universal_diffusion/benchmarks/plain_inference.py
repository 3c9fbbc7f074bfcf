"""A volume the plain way: MONAI's `SlidingWindowInferer` around its `LatentDiffusionInferer`, target by target.

This is the code that MONAI's tutorials lead to. The diffusion model is called with the image's latent at every step, so
the class-aware features, which do not depend on the step, are computed every time; every target and every member of
the ensemble goes over the volume again and encodes its windows again. Scheduler, loop over the steps, windows and
blending are MONAI's own; weights, schedule and the noise that sampling starts from are those of the engine.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
from monai.inferers import LatentDiffusionInferer, SlidingWindowInferer
from monai.networks.schedulers import DDIMScheduler
from torch import Tensor, nn

from universal_diffusion import settings
from universal_diffusion.benchmarks.alone import autocast
from universal_diffusion.method.bundle import Bundle
from universal_diffusion.method.diffusion import GaussianDiffusion, Prediction
from universal_diffusion.segmentation.sampling.noise import Window, window_noise
from universal_diffusion.targets import target

SW_BATCH = 4  # windows at once, as in MONAI's tutorials
PREDICTED = {"mask": "sample", "noise": "epsilon"}  # what a network predicts, in MONAI's words

Predictor = Callable[[Tensor, list], Tensor]


@dataclass(frozen=True)
class PlainMaps:
    """One target the plain way: `mean` and `variance` over the ensemble of P(voxel in target), (X, Y, Z) float32."""

    target: str
    mean: np.ndarray
    variance: np.ndarray


class Guided(nn.Module):
    """The denoiser for one target as MONAI's inferers call a diffusion model; `context` is the image's latent."""

    def __init__(self, bundle: Bundle, name: str):
        super().__init__()
        self.bundle, self.target_id = bundle, target(name).id

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """(N, C, h, w) noisy latents -> the predicted latents or noise, of the same shape."""
        embedding = self.bundle.embedding(torch.full((len(x),), self.target_id, device=x.device))
        features = self.bundle.denoiser.features(context, embedding)
        return self.bundle.denoiser(x, timesteps, embedding, features).chunk(2, dim=1)[0].float()


def scheduler_of(process: GaussianDiffusion, prediction: Prediction, steps: int) -> DDIMScheduler:
    """MONAI's DDIM with the model's own schedule, its `steps` spaced trailing as the engine spaces them.

    Raises ValueError where `steps` does not divide all steps: MONAI would take other ones than the engine.
    """
    timesteps = process.timesteps
    if timesteps % steps:
        raise ValueError(f"MONAI spaces {steps} of {timesteps} steps unevenly; take a divisor")
    scheduler = DDIMScheduler(
        timesteps, clip_sample=False, steps_offset=timesteps // steps - 1, prediction_type=PREDICTED[prediction]
    )
    scheduler.alphas_cumprod = process.alphas_cumprod.float().cpu()
    scheduler.set_timesteps(steps)
    return scheduler


def plain_predictor(bundle: Bundle, name: str, sampling: settings.Segmentation, seed: int, member: int) -> Predictor:
    """What the sliding window calls: patches (W, 1, P, P) and their places -> probabilities of one sample."""
    inferer = LatentDiffusionInferer(scheduler_of(bundle.process, bundle.prediction, sampling.steps))
    model = Guided(bundle, name)
    decoder = SimpleNamespace(decode_stage_2_outputs=bundle.mask_autoencoder.decode)

    def predict(patches: Tensor, places: list) -> Tensor:
        windows = [Window(at[0].start, at[2].start, at[3].start) for at in places]
        with autocast(bundle.device.type, sampling.precision):
            latent = bundle.image_autoencoder.encode(patches)
            shape = (bundle.latent_channels, *latent.shape[2:])
            noise = window_noise(seed, name, windows, range(member, member + 1), 0, shape)
            start = torch.from_numpy(noise).to(bundle.device)
            logits = inferer.sample(start, decoder, model, conditioning=latent, verbose=False)
        return torch.sigmoid(logits.float())

    return predict


def one_pass(slices: Tensor, patch: int, overlap: float, sw_batch: int, predictor: Predictor) -> Tensor:
    """A predictor over every window of slices (Z, 1, X, Y), blended: (Z, 1, X, Y)."""
    inferer = SlidingWindowInferer((patch, patch), sw_batch, overlap, mode="gaussian", with_coord=True)
    return inferer(slices, predictor)


def as_slices(image: np.ndarray, device: torch.device | str) -> Tensor:
    """(X, Y, Z) -> (Z, 1, X, Y) float32 on the device."""
    moved = np.ascontiguousarray(np.moveaxis(image, 2, 0)[:, None], np.float32)
    return torch.from_numpy(moved).to(device)


@torch.inference_mode()
def plain_segmentation(
    bundle: Bundle,
    image: np.ndarray,
    targets: Sequence[str],
    sampling: settings.Segmentation,
    seed: int,
    sw_batch: int = SW_BATCH,
) -> Iterator[PlainMaps]:
    """Every target of a harmonised volume (X, Y, Z), one after the other, by DDIM without noise between the steps.

    Raises ValueError where MONAI's inferer cannot do what `sampling` asks: another sampler, an eta, uneven steps.
    """
    if (sampling.sampler, sampling.eta) != ("ddim", 0.0):
        raise ValueError("MONAI's inferer samples by DDIM at eta 0 only")
    slices, patch = as_slices(image, bundle.device), bundle.card["patch"]
    for name in targets:
        predictors = [plain_predictor(bundle, name, sampling, seed, member) for member in range(sampling.ensemble)]
        members = torch.cat(
            [one_pass(slices, patch, sampling.overlap, sw_batch, predictor) for predictor in predictors], dim=1
        )  # (Z, E, X, Y)
        mean, variance = members.mean(dim=1), members.var(dim=1, correction=0)
        yield PlainMaps(name, *(maps.movedim(0, 2).cpu().numpy() for maps in (mean, variance)))
