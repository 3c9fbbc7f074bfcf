"""The processes that share a training: started by Fabric on one machine, or by torchrun or SLURM's srun."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning_fabric.strategies import DDPStrategy
from torch import distributed

from universal_diffusion.errors import InputError
from universal_diffusion.settings import Training

T = TypeVar("T")


class Autocast(MixedPrecision):
    """Fabric's mixed precision, which would round a network's inputs as well: a CT to steps of 1/256 of its window.

    Autocast takes inputs as they are, and rounds what goes into an operation that it does in fewer bits.
    """

    def convert_input(self, data: T) -> T:
        """The inputs as they are."""
        return data


def launch(settings: Training, device: str = "auto") -> Fabric:
    """Fabric with its processes running: those of torchrun or srun, or `settings.devices` on this machine.

    In each of those that Fabric starts itself, the same command runs from its beginning.

    Args:
        device: "auto" or a device type.

    Raises:
        InputError: the machine has fewer GPUs than processes are asked for, or their number does not divide the batch.
    """
    environment, nodes, each = _environment(settings)
    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    if gpus and each > gpus:
        raise InputError("training.devices", f"is {each}, this machine has {gpus} GPUs", f"give at most {gpus}")
    if settings.batch % (nodes * each):
        problem = f"is {settings.batch}, which {nodes * each} processes cannot share evenly"
        raise InputError("training.batch", problem, f"give a multiple of {nodes * each}")
    strategy = DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True) if nodes * each > 1 else "auto"
    plugins = [environment]
    if settings.precision != "32-true":
        plugins.append(Autocast(settings.precision, "cuda" if gpus else "cpu"))
    fabric = Fabric(accelerator=device, strategy=strategy, devices=each, num_nodes=nodes, plugins=plugins)
    threads = torch.get_num_threads()
    fabric.launch()
    torch.set_num_threads(threads)  # launching several processes divides the cores between them
    return fabric


def _environment(settings: Training) -> tuple[ClusterEnvironment, int, int]:
    """Who starts the processes, the number of machines, and the processes on each."""
    if TorchElasticEnvironment.detect():
        each = int(os.environ["LOCAL_WORLD_SIZE"])
        return TorchElasticEnvironment(), int(os.environ["WORLD_SIZE"]) // each, each
    if SLURMEnvironment.detect() and int(os.environ["SLURM_NTASKS"]) > 1:
        nodes = int(os.environ["SLURM_NNODES"])
        return SLURMEnvironment(), nodes, int(os.environ["SLURM_NTASKS"]) // nodes
    return LightningEnvironment(), 1, settings.devices


def share(batch: int) -> slice:
    """The rows of a batch that this process computes."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return slice(0, batch)
    each = batch // distributed.get_world_size()
    return slice(distributed.get_rank() * each, (distributed.get_rank() + 1) * each)


@contextmanager
def together(fabric: Fabric) -> Iterator[None]:
    """A block that all processes leave together; those still waiting for one that fails are ended with it."""
    try:
        yield
    except BaseException:
        started = getattr(fabric.strategy.launcher, "procs", [])
        for process in started:
            process.kill()  # nothing less ends a process that waits for another one's gradients
        started.clear()  # or Fabric, which watches them, kills this process in turn
        raise
    if fabric.world_size > 1:
        fabric.barrier()
        distributed.destroy_process_group()
