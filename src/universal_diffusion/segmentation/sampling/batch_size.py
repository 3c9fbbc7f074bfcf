"""How many rows, each one sample of one target in one window, the networks see at once.

On a GPU it is measured: doubled until a denoiser step's rows per second no longer grow or memory forbids. On a CPU it
follows from the model and the number of threads alone, because there sums depend on the size of a batch and the same
seed must give the same bytes every time; throughput hardly depends on it once a row's activations share a cache.
"""

import time

import torch
from torch import nn

from universal_diffusion import settings
from universal_diffusion.errors import InputError
from universal_diffusion.method.bundle import Bundle
from universal_diffusion.out_of_memory import is_out_of_memory
from universal_diffusion.segmentation.sampling.runtime import autocast

CACHE_BYTES = 16 * 2**20  # of the largest activation of a batch, per CPU thread
FEWEST, MOST = 8, 64  # rows on a CPU: what fills up the last batch of a slab is computed in vain
MOST_ON_GPU = 4096
PAYS = 1.05  # times the rows per second for twice the memory
MEMORY_SHARE = 0.4  # of the free device memory; twice as many rows must fit into what is left
LONGEST = 10.0  # seconds of measuring
REPEATS = 3


@torch.inference_mode()
def batch_size(bundle: Bundle, sampling: settings.Segmentation) -> int:
    """Rows of a batch for this model on its device, a power of two.

    Raises:
        InputError: not even a single row fits into the GPU's memory.
    """
    if bundle.device.type == "cuda":
        return _measured(bundle, sampling)
    rows = CACHE_BYTES * torch.get_num_threads() // _largest_activation(bundle)
    return min(MOST, max(FEWEST, 1 << max(rows, 1).bit_length() - 1))


def _largest_activation(bundle: Bundle) -> int:
    """Bytes of the largest tensor that any layer hands on while one window is decoded."""
    largest = 0

    def note(_layer: nn.Module, _inputs: tuple, output: torch.Tensor) -> None:
        nonlocal largest
        largest = max(largest, output.numel() * output.element_size())

    hooks = [layer.register_forward_hook(note) for layer in bundle.mask_autoencoder.decoder.modules()]
    bundle.mask_autoencoder.decode(_latents(bundle, 1, bundle.latent_channels))
    for hook in hooks:
        hook.remove()
    return largest


def _measured(bundle: Bundle, sampling: settings.Segmentation) -> int:
    started, rows, best, fastest = time.perf_counter(), 1, 0, 0.0
    while rows <= MOST_ON_GPU and time.perf_counter() - started < LONGEST:
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(bundle.device)
        torch.cuda.reset_peak_memory_stats(bundle.device)
        held = torch.cuda.memory_allocated(bundle.device)
        try:
            rate = rows / _step_seconds(bundle, sampling, rows)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            break
        if rate < PAYS * fastest:
            break
        best, fastest = rows, rate
        if torch.cuda.max_memory_allocated(bundle.device) - held > MEMORY_SHARE * free:
            break
        rows *= 2
    torch.cuda.empty_cache()
    if not best:
        raise InputError(f"memory of {bundle.device}", "does not hold one window", "free some, or use --device cpu")
    return best


def _step_seconds(bundle: Bundle, sampling: settings.Segmentation, rows: int) -> float:
    """Time of one denoiser step; features and decoding take their memory too, but not their time."""
    embedding = bundle.embedding(torch.ones(rows, dtype=torch.long, device=bundle.device))
    images = _latents(bundle, rows, bundle.image_autoencoder.latent_channels)
    noisy = _latents(bundle, rows, bundle.latent_channels)
    steps = torch.zeros(rows, dtype=torch.long, device=bundle.device)
    with autocast(bundle.device, sampling.precision):
        features = bundle.denoiser.features(images, embedding)
        bundle.denoiser(noisy, steps, embedding, features)  # picks kernels
        torch.cuda.synchronize(bundle.device)
        started = time.perf_counter()
        for _ in range(REPEATS):
            bundle.denoiser(noisy, steps, embedding, features)
        torch.cuda.synchronize(bundle.device)
        seconds = (time.perf_counter() - started) / REPEATS
        bundle.mask_autoencoder.decode(noisy)
        torch.cuda.synchronize(bundle.device)
    return seconds


def _latents(bundle: Bundle, rows: int, channels: int) -> torch.Tensor:
    side = bundle.card["patch"] // bundle.mask_autoencoder.factor
    return torch.zeros(rows, channels, side, side, device=bundle.device)
