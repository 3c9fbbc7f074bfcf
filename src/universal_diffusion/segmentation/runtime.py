"""torch as every segmentation runs it: chosen device, fixed threads, deterministic kernels."""

import os

import torch

from universal_diffusion.errors import InputError


def start_torch(threads: int, device: str = "auto") -> torch.device:
    """Fix threads and determinism for this process and return the device that "auto", "cpu" or "cuda" stands for.

    Raises InputError for "cuda" where torch sees no GPU.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda", "torch sees no GPU here", "use --device cpu, or auto")
    return torch.device(device)
