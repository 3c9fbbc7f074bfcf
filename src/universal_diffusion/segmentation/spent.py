"""What a run cost: seconds per part, and the most memory it held."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")


class Seconds:
    """Wall time by part; a part that comes again adds up."""

    def __init__(self, spent: dict[str, float] | None = None):
        self.spent = dict(spent or {})

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Time a block."""
        started = time.perf_counter()
        yield
        self.spent[part] = self.spent.get(part, 0.0) + time.perf_counter() - started


def peak_memory_gib() -> float | None:
    """The largest resident memory that this process ever had; None where the system (no Linux) does not say."""
    if not STATUS.exists():
        return None
    lines = STATUS.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def peak_device_memory_gib(device: torch.device) -> float | None:
    """The most that torch ever held on a GPU; None on the CPU."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
