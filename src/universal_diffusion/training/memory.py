"""What to do when a GPU's memory does not hold a micro-batch: take a smaller one; or anything else: say what."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from lightning_fabric import Fabric

from universal_diffusion.errors import InputError
from universal_diffusion.out_of_memory import is_out_of_memory

T = TypeVar("T")
KEY = "training.micro_batch"


def within_memory(compute: Callable[[int], T], size: int, fabric: Fabric) -> tuple[T, int]:
    """`compute(size)`, with the number of patches computed at once halved until it fits, and that number.

    Raises:
        InputError: one patch does not fit; or there are several processes, of which the others already wait for this
            one's gradients, so that none can take its step again.
    """
    while True:
        try:
            return compute(size), size
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        size = _smaller(size, fabric)  # with the exception went the frames that held what was computed so far


@contextmanager
def enough_memory(what: str, device: torch.device) -> Iterator[None]:
    """A block that no smaller micro-batch would make fit. Raises InputError where memory does not hold `what`."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        lacking = InputError(f"memory of {device}", f"does not hold {what}", "free some, or give a smaller network")
        raise lacking from None


def _smaller(size: int, fabric: Fabric) -> int:
    place, half = _describe(fabric.device), (size + 1) // 2
    if size == 1:
        raise InputError(KEY, f"is 1, and one patch does not fit into {place}", "give a smaller network or patch")
    if fabric.world_size > 1:
        remedy = f"give {KEY}: {half} and run again; a checkpoint goes on with it"
        raise InputError(KEY, f"is {size}, which does not fit into {place}", remedy)
    if fabric.device.type == "cuda":
        torch.cuda.empty_cache()
    print(f"{size} patches at once do not fit into {place}; going on with {KEY}: {half}", file=sys.stderr)
    return half


def _describe(device: torch.device) -> str:
    if device.type != "cuda":
        return f"the memory of the {device.type}"
    properties = torch.cuda.get_device_properties(device)
    return f"the {properties.total_memory / 2**30:.0f} GiB of {device}, {properties.name}"
