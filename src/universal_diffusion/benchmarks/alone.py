"""Work in a process of its own, so that its peak memory is its own; the device it is done on, and what that can do."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from multiprocessing import get_context, set_start_method

import torch
from torch.nn.functional import conv2d

from universal_diffusion.benchmarks.record import peak_gib
from universal_diffusion.settings import Study

MATRIX = {"cuda": 8192, "cpu": 2048}  # edge of the multiplied matrices
CONVOLUTION = {"cuda": (16, 512, 128), "cpu": (4, 256, 64)}  # images, channels in and out, edge of an image
REPEATS = 20
STEPS = {"cuda": 60, "cpu": 3}  # of each training that is measured
WARM = {"cuda": 20, "cpu": 1}  # of them before the measurement: compilation, first allocations
DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16, "32-true": torch.float32}


def alone(work: Callable[..., dict], *arguments: object) -> dict:
    """`work(*arguments)` in a fresh process: its figures, and the "peak GiB" it took of the device's memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_with_peak, work, *arguments).result()


def _with_peak(work: Callable[..., dict], *arguments: object) -> dict:
    set_start_method("fork", force=True)  # for the workers of a loader, as in a command of its own
    figures = work(*arguments)
    gpu = torch.cuda.is_available()
    return figures | {"peak GiB": torch.cuda.max_memory_allocated() / 2**30 if gpu else peak_gib()}


def device_peak(device: str, dtype: torch.dtype, threads: int) -> dict[str, float]:
    """TFLOP/s of the fastest of some products of large matrices and convolutions: what `device` reaches in `dtype`.

    Operations of a convolution are counted as PyTorch counts those of the networks, whichever way it is computed.
    """
    torch.set_num_threads(threads)
    return {"peak TFLOP/s": max(rate(work, operations, device) for work, operations in _works(device, dtype)) / 1e12}


def _works(device: str, dtype: torch.dtype) -> Iterator[tuple[Callable[[], object], int]]:
    """A product of square matrices and a convolution with 3 x 3 weights, and their operations."""
    edge = MATRIX[device]
    left, right = (torch.randn(edge, edge, device=device, dtype=dtype) for _ in range(2))
    yield lambda: torch.mm(left, right), 2 * edge**3
    images, channels, size = CONVOLUTION[device]
    image = torch.randn(images, channels, size, size, device=device, dtype=dtype)
    weights = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
    yield lambda: conv2d(image, weights, padding=1), 2 * images * (3 * channels * size) ** 2


def rate(work: Callable[[], object], operations: int, device: str) -> float:
    """Operations in a second of the fastest of `REPEATS` runs."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - started)
    return operations / min(times)


def wait(device: str) -> None:
    """Return when the device has done all it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def autocast(device: str, precision: str) -> AbstractContextManager:
    """What a forward pass runs under in one of the configuration's precisions."""
    return nullcontext() if precision == "32-true" else torch.autocast(device, DTYPES[precision])


def found_device(study: Study) -> tuple[str, int]:
    """The device to measure on, and the CPU threads that a training has there."""
    return "cuda" if torch.cuda.is_available() else "cpu", min(study.threads, os.cpu_count())


def scaled(study: Study, device: str) -> Study:
    """`study` with trainings of `STEPS`; on a CPU also of one patch a step, in 32 bits, not compiled."""
    steps = {"steps": STEPS[device], "validate_every": STEPS[device], "checkpoint_minutes": 1e6, "devices": 1}
    if device == "cpu":
        steps |= {"batch": 1, "micro_batch": None, "precision": "32-true", "compile": False}
    sections = ("mask_autoencoder", "image_autoencoder", "denoiser")
    parts = {name: getattr(study, name) for name in sections}
    return replace(study, **{k: replace(part, training=replace(part.training, **steps)) for k, part in parts.items()})
