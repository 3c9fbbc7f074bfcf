"""The engine: every target of a harmonised volume, window by window and sample by sample (paper, section 3.1).

A volume is a batch of axial slices for MONAI's sliding window. Each window is encoded once and its image latent serves
all targets; the class-aware features of a (window, target) are computed once and serve all steps and samples. The batch
axis is (window, sample) of one target at a time, so that a mask cannot depend on which other targets were asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor

from universal_diffusion import settings
from universal_diffusion.errors import InputError
from universal_diffusion.method.bundle import Bundle
from universal_diffusion.method.samplers import sample
from universal_diffusion.segmentation.noise import Window, window_noise
from universal_diffusion.targets import target

SLAB = 32  # slices whose samples are held together before they are reduced to mean and variance


@dataclass(frozen=True)
class TargetMaps:
    """One target in one volume: `mean` and `variance` over the ensemble of P(voxel in target), (X, Y, Z) float32."""

    target: str
    mean: np.ndarray
    variance: np.ndarray


def segment(
    bundle: Bundle, image: np.ndarray, targets: Sequence[str], sampling: settings.Segmentation, seed: int
) -> Iterator[TargetMaps]:
    """Sample every target of a harmonised volume; one target's maps exist at a time.

    Sample s of the volume is the Gaussian-weighted blend of the s-th samples of its windows; mean and (population)
    variance are taken over the `sampling.ensemble` samples of the volume.

    Args:
        image: (X, Y, Z) float32, harmonised as the model was trained, in [0, 1].
        seed: the noise depends on it and on target, sample, window and step.

    Yields:
        Maps in the order of `targets`.

    Raises:
        InputError: a target is none of the 29, or the model's output is not finite.
    """
    windows = _WindowSampler(bundle, sampling, seed)
    for name in [target(wanted).name for wanted in targets]:
        yield _segment_target(windows, image, name)


@torch.inference_mode()
def _segment_target(windows: "_WindowSampler", image: np.ndarray, name: str) -> TargetMaps:
    bundle, sampling = windows.bundle, windows.sampling
    slices = np.moveaxis(image.astype(np.float32, copy=False), 2, 0)[:, None]  # (Z, 1, X, Y)
    mean, variance = np.empty(image.shape, np.float32), np.empty(image.shape, np.float32)
    for first in range(0, len(slices), SLAB):
        samples = sliding_window_inference(
            torch.from_numpy(np.ascontiguousarray(slices[first : first + SLAB])).to(bundle.device),
            roi_size=(bundle.card["patch"],) * 2,
            sw_batch_size=max(1, sampling.batch // sampling.ensemble),
            predictor=partial(windows, name, first),
            overlap=sampling.overlap,
            mode="gaussian",
            with_coord=True,
        )  # (slab, ensemble, X, Y)
        slab = slice(first, first + len(samples))
        mean[..., slab] = samples.mean(dim=1).movedim(0, 2).cpu().numpy()
        variance[..., slab] = samples.var(dim=1, correction=0).movedim(0, 2).cpu().numpy()
    return TargetMaps(name, mean, variance)


class _WindowSampler:
    """Probabilities of one target in a batch of windows; remembers the image latents of all windows seen."""

    def __init__(self, bundle: Bundle, sampling: settings.Segmentation, seed: int):
        self.bundle, self.sampling, self.seed = bundle, sampling, seed
        self._image_latents: dict[Window, Tensor] = {}

    def __call__(self, name: str, first_slice: int, patches: Tensor, coordinates: list[list[slice]]) -> Tensor:
        """(W, 1, P, P) patches and their places in the slab -> (W, ensemble, P, P) probabilities."""
        windows = [Window(first_slice + at[0].start, at[2].start, at[3].start) for at in coordinates]
        latents = self._encode(patches, windows)
        ids = torch.full((len(windows),), target(name).id, device=self.bundle.device)
        embedding = self.bundle.embedding(ids)
        features = self.bundle.denoiser.features(latents, embedding)
        chunks = [
            self._sample(name, windows, samples, embedding, features, latents.shape[2:])
            for samples in _chunks(self.sampling.ensemble, self.sampling.batch)
        ]
        return torch.cat(chunks, dim=1)

    def _encode(self, patches: Tensor, windows: list[Window]) -> Tensor:
        """Image latents (W, C_y, h, w), each window encoded once for all targets."""
        new = [row for row, window in enumerate(windows) if window not in self._image_latents]
        if new:
            encoded = self.bundle.image_autoencoder.encode(patches[new])
            self._image_latents.update((windows[row], latent) for row, latent in zip(new, encoded, strict=True))
        return torch.stack([self._image_latents[window] for window in windows])

    def _sample(
        self,
        name: str,
        windows: list[Window],
        samples: range,
        embedding: Tensor,
        features: tuple[Tensor, ...],
        size: Sequence[int],
    ) -> Tensor:
        """Draw z_T, denoise it, decode it: (W, len(samples), P, P) probabilities."""
        embedding = embedding.repeat_interleave(len(samples), dim=0)
        features = tuple(feature.repeat_interleave(len(samples), dim=0) for feature in features)

        def noise(draw: int) -> Tensor:
            shape = (self.bundle.latent_channels, *size)
            drawn = window_noise(self.seed, name, windows, samples, draw, shape)
            return torch.from_numpy(drawn).to(self.bundle.device)

        latents = sample(
            self.sampling.sampler,
            lambda noisy, step: self.bundle.denoiser(noisy, step, embedding, features),
            noise(0),
            self.bundle.process,
            self.bundle.prediction,
            self.sampling.steps,
            self.sampling.eta,
            lambda step: noise(1 + step),
        )  # (W * samples, C_z, h, w)
        probabilities = torch.sigmoid(self.bundle.mask_autoencoder.decode(latents))
        if not torch.isfinite(probabilities).all():
            raise InputError(
                "model", f"gives numbers that are not finite for {name}", "train it again; this one is broken"
            )
        return probabilities.reshape(len(windows), len(samples), *probabilities.shape[2:])


def _chunks(ensemble: int, batch: int) -> list[range]:
    return [range(first, min(first + batch, ensemble)) for first in range(0, ensemble, batch)]
