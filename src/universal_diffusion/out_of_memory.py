"""Which errors say that a device's memory is full: torch has a class of its own for some of them only."""

import torch

# Of allocations outside torch's own pool: the CUDA runtime's (AcceleratorError) and NCCL's, cuBLAS's and cuDNN's when
# they make their workspaces, and a CPU's.
SIGNS = ("out of memory", "alloc_failed", "allocation_failed", "can't allocate memory")  # in lower case


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that a device's memory is full, so that a smaller batch may fit."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)
