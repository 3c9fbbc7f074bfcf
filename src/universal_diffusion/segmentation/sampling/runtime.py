"""torch as every segmentation runs it: chosen device, fixed threads, deterministic kernels."""

import os
from contextlib import AbstractContextManager
from typing import Literal

import torch

from universal_diffusion.errors import InputError


def start_torch(threads: int, device: str = "auto") -> torch.device:
    """Fix threads and determinism for this process and return the device "auto", "cpu", "cuda" or "cuda:1" stands for.

    Raises InputError for a GPU that torch does not see.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    found, seen = torch.device(device), torch.cuda.device_count()
    if found.type == "cuda" and (found.index or 0) >= seen:
        raise InputError(f"--device {device}", f"torch sees {seen or 'no'} GPU here", "use --device cpu, or auto")
    return found


def autocast(device: torch.device, precision: Literal["32-true", "bf16-mixed"]) -> AbstractContextManager:
    """A block in which networks compute in bfloat16, where torch deems that safe, or, with "32-true", in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed")
