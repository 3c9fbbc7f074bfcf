"""How much of a segmentation each network is: rows that went through it, operations, and the device's time."""

import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from universal_diffusion.evaluation.beyond.cost import flops, guided_flops
from universal_diffusion.method.bundle import Bundle, build_autoencoder, build_denoiser

ENCODE, FEATURES, DENOISE, DECODE = PARTS = ("encode", "features", "denoise", "decode")


def flops_of(bundle: Bundle) -> dict[str, int]:
    """Operations of one window (of one target, sample and step) in each part, counted on networks without memory."""
    patch, factor, built = bundle.card["patch"], bundle.mask_autoencoder.factor, bundle.card["architecture"]
    size = patch // factor
    with torch.device("meta"):
        masks, images = (build_autoencoder(built[kind]) for kind in ("mask_autoencoder", "image_autoencoder"))
        denoiser = build_denoiser(built["denoiser"], masks.latent_channels, images.latent_channels, None)
        features, step = guided_flops(denoiser, size)
        given, latent = torch.zeros(1, 1, patch, patch), torch.zeros(1, masks.latent_channels, size, size)
        encode, decode = flops(lambda: images.encoder(given)), flops(lambda: masks.decoder(latent))
    return dict(zip(PARTS, (encode, features, step, decode), strict=True))


class Parts:
    """Watches a bundle's networks while it is entered.

    Attributes:
        rows: windows that went through each part (padding of batches included).
        seconds: that the device spent in each part; of a GPU by its own clock, without making the host wait.
    """

    def __init__(self, bundle: Bundle):
        self._watched = {
            ENCODE: bundle.image_autoencoder.encoder,
            FEATURES: bundle.denoiser.image_encoder,
            DENOISE: bundle.denoiser,
            DECODE: bundle.mask_autoencoder.decoder,
        }
        self._gpu = bundle.device.type == "cuda"
        self._hooks: list[RemovableHandle] = []
        self._intervals: dict[str, list] = {part: [] for part in PARTS}
        self.rows = dict.fromkeys(PARTS, 0)

    def __enter__(self) -> "Parts":
        for part, module in self._watched.items():
            self._hooks.append(module.register_forward_pre_hook(self._before(part)))
            self._hooks.append(module.register_forward_hook(self._after(part)))
        return self

    def __exit__(self, *_) -> None:
        for hook in self._hooks:
            hook.remove()
        if self._gpu:
            torch.cuda.synchronize()

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by part, of what ran while it was entered."""
        if self._gpu:
            return {part: sum(a.elapsed_time(b) for a, b in found) / 1000 for part, found in self._intervals.items()}
        return {part: sum(b - a for a, b in found) for part, found in self._intervals.items()}

    def operations(self, each: dict[str, int]) -> float:
        """All operations, from `flops_of` for `each` row."""
        return sum(self.rows[part] * each[part] for part in PARTS)

    def _now(self) -> "float | torch.cuda.Event":
        if not self._gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _before(self, part: str) -> Callable:
        def hook(_module: nn.Module, given: tuple) -> None:
            self.rows[part] += len(given[0])
            self._intervals[part].append([self._now()])

        return hook

    def _after(self, part: str) -> Callable:
        def hook(_module: nn.Module, _given: tuple, _made: object) -> None:
            self._intervals[part][-1].append(self._now())

        return hook
