"""Samples of windows in batches of one shape: features once per (window, target), then every sample's trajectory.

The shape is fixed: a batch that is not full is filled up, and what filled it is thrown away. A row's numbers then
depend on the rows beside it on no device that was tried, and kernels can be compiled for the shape.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from universal_diffusion import settings
from universal_diffusion.errors import InputError
from universal_diffusion.method.bundle import Bundle
from universal_diffusion.method.samplers import sample
from universal_diffusion.segmentation.sampling.image_latents import ImageLatents
from universal_diffusion.segmentation.sampling.kept import Kept
from universal_diffusion.segmentation.sampling.noise import Window, window_noise
from universal_diffusion.segmentation.sampling.runtime import autocast
from universal_diffusion.targets import target


class WindowSampler:
    """Probabilities of (slice, window, target) triples.

    Args:
        targets: the names that k = 0, 1, ... stands for.
        sampling: with its `batch`.
        kept: the gate's estimates, for a warm start.

    Attributes:
        triples: how many are sampled at once.
    """

    def __init__(
        self,
        bundle: Bundle,
        latents: ImageLatents,
        targets: Sequence[str],
        sampling: settings.Segmentation,
        seed: int,
        kept: Kept | None,
    ):
        self.bundle, self.latents, self.sampling, self.seed, self.kept = bundle, latents, sampling, seed, kept
        self.names = tuple(targets)
        self.triples = max(1, sampling.batch // sampling.ensemble)
        self._chunks = chunks(sampling.ensemble, sampling.batch)
        # All cores draw noise while a GPU computes; one is too slow for it.
        self._map = map if bundle.device.type == "cpu" else ThreadPoolExecutor().map
        ids = torch.tensor([target(name).id for name in self.names], device=bundle.device)
        self._embeddings = bundle.embedding(ids)
        if sampling.warm_start is not None and kept is None:
            raise InputError("segmentation.warm_start", "is given without a gate", "give segmentation.gate too")

    def __call__(self, triples: np.ndarray) -> Tensor:
        """(N, 3) of (z, window, k), at most `self.triples` -> (N, E, P, P) float32 on the model's device."""
        drawn = [self.decode(latents) for latents in self.sampled(triples)]
        return torch.cat(drawn, dim=1)[: len(triples), : self.sampling.ensemble]

    def sampled(self, triples: np.ndarray) -> Iterator[Tensor]:
        """All samples' latents, in parts (self.triples, S, C_z, h, w), of which the first N rows were asked for."""
        full = np.resize(triples, (self.triples, 3))
        with autocast(self.bundle.device, self.sampling.precision):
            embedding = self._embeddings[full[:, 2].tolist()]
            features = self.bundle.denoiser.features(self._image_latents(full), embedding)
        for samples in self._chunks:
            with autocast(self.bundle.device, self.sampling.precision):
                latents = self._sample(full, samples, embedding, features)
            yield latents.unflatten(0, (self.triples, len(samples)))

    def decode(self, latents: Tensor) -> Tensor:
        """(N, S, C_z, h, w) -> probabilities (N, S, P, P) float32."""
        with autocast(self.bundle.device, self.sampling.precision):
            logits = self.bundle.mask_autoencoder.decode(latents.flatten(0, 1))
        return torch.sigmoid(logits.float()).reshape(*latents.shape[:2], *logits.shape[2:])

    def _image_latents(self, triples: np.ndarray) -> Tensor:
        places, rows = np.unique(triples[:, :2], axis=0, return_inverse=True)
        return self.latents.of(places)[rows.ravel().tolist()]

    def _sample(self, triples: np.ndarray, samples: range, embedding: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        """Draw z_T and denoise it: (N * len(samples), C_z, h, w); rows count samples fastest."""
        embedding = embedding.repeat_interleave(len(samples), dim=0)
        features = tuple(feature.repeat_interleave(len(samples), dim=0) for feature in features)
        noise = self._noise(triples, samples)
        return sample(
            self.sampling.sampler,
            lambda noisy, step: self.bundle.denoiser(noisy, step, embedding, features).float(),
            self._start(triples, samples, noise(0)),
            self.bundle.process,
            self.bundle.prediction,
            self.sampling.steps,
            self.sampling.eta,
            lambda step: noise(1 + step),
            self.sampling.warm_start,
        )

    def _noise(self, triples: np.ndarray, samples: range) -> Callable[[int], Tensor]:
        side = self.latents.windows.patch // self.bundle.mask_autoencoder.factor
        shape = (self.bundle.latent_channels, side, side)
        places = [Window(int(z), *map(int, self.latents.windows.starts[window])) for z, window, _ in triples]

        def noise(draw: int) -> Tensor:
            def drawn(place: Window, k: int) -> np.ndarray:
                return window_noise(self.seed, self.names[k], [place], samples, draw, shape)

            rows = np.concatenate(list(self._map(drawn, places, triples[:, 2])))
            return _uploaded(torch.from_numpy(rows), self.bundle.device)

        return noise

    def _start(self, triples: np.ndarray, samples: range, noise: Tensor) -> Tensor:
        """Pure noise, or the gate's estimate noised to the step of the warm start (PD-DDPM, Guo et al. 2022)."""
        if self.sampling.warm_start is None:
            return noise
        slices, windows, rows = triples.T
        estimates = torch.from_numpy(self.kept.estimates(rows, slices, windows)).to(noise.device)
        step = torch.full((len(noise),), self.sampling.warm_start, device=noise.device)
        return self.bundle.process.q_sample(estimates.repeat_interleave(len(samples), dim=0), step, noise)


def _uploaded(host: Tensor, device: torch.device) -> Tensor:
    """On a GPU from pinned memory, which waits for nothing: while it computes a step the next one's noise is drawn."""
    return host.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else host.to(device)


def chunks(ensemble: int, batch: int) -> list[range]:
    """The samples of a triple in ranges of one size, at most `batch`; the last may reach beyond the ensemble."""
    size = -(-ensemble // -(-ensemble // batch))
    return [range(first, first + size) for first in range(0, ensemble, size)]
