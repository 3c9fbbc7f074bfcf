"""The windows of a volume and their image latents: each is encoded once, whoever asks for it and however often."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from universal_diffusion.method.bundle import Bundle
from universal_diffusion.segmentation.sampling.windows import Windows


class ImageLatents:
    """z(y) of every window asked for so far.

    Args:
        image: (X, Y, Z) float32, harmonised as the model was trained, in [0, 1].
        overlap: of the windows.
        batch: windows encoded at once; always that many, so that a latent does not depend on what else was asked for.
    """

    def __init__(self, bundle: Bundle, image: np.ndarray, overlap: float, batch: int):
        self.windows = Windows(image.shape[:2], bundle.card["patch"], overlap)
        self.batch = batch
        self._bundle, self._image = bundle, image
        self._latents: dict[tuple[int, int], Tensor] = {}

    @cached_property
    def body(self) -> np.ndarray:
        """(Z, W) bool: the windows that hold any body."""
        return self.windows.body(self._image)

    @torch.inference_mode()
    def of(self, places: np.ndarray) -> Tensor:
        """Latents of N pairs (z, window): (N, C_y, h, w) float32 on the model's device."""
        wanted = [(int(z), int(window)) for z, window in places]
        new = [place for place in dict.fromkeys(wanted) if place not in self._latents]
        for first in range(0, len(new), self.batch):
            self._encode(new[first : first + self.batch])
        return torch.stack([self._latents[place] for place in wanted]).to(self._bundle.device)

    def _encode(self, places: list[tuple[int, int]]) -> None:
        patches = torch.zeros(self.batch, 1, self.windows.patch, self.windows.patch)
        patches[: len(places)] = torch.from_numpy(self.windows.cut(self._image, np.array(places)))
        encoded = self._bundle.image_autoencoder.encode(patches.to(self._bundle.device))
        self._latents.update(zip(places, encoded[: len(places)].float().cpu(), strict=True))
