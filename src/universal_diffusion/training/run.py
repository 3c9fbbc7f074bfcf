"""One step of a training in one of its processes: gradients that add up to those of the whole batch."""

from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from universal_diffusion.settings import Training
from universal_diffusion.training.processes import share
from universal_diffusion.training.tasks import Task


@dataclass(frozen=True)
class Run:
    """What one process computes its `rows` of each batch with; `module` and `optimiser` as Fabric wraps them."""

    fabric: Fabric
    task: Task
    module: nn.Module
    optimiser: torch.optim.Optimizer
    rows: slice
    batch: int

    def gradients(self, step: int, size: int) -> dict[str, Tensor]:
        """Leave the gradient of the whole batch's mean loss, from `size` patches at a time; figures of `rows`."""
        self.optimiser.zero_grad()
        starts = range(self.rows.start, self.rows.stop, size)
        figures = []
        for first in starts:
            part = slice(first, min(first + size, self.rows.stop))
            with self.fabric.no_backward_sync(self.module, enabled=first != starts[-1]):
                with self.fabric.autocast():
                    values = self.task.loss(self.module, step, part)
                # Processes' gradients are averaged, so that each must count as many times as there are processes.
                self.fabric.backward(values["loss"].sum() * (self.fabric.world_size / self.batch))
            figures.append({name: value.detach() for name, value in values.items()})
        return {name: torch.cat([part[name] for part in figures]) for name in figures[0]}

    def gather(
        self, figures: dict[str, Tensor], norm: Tensor, number: int, due: bool
    ) -> tuple[dict[str, Tensor], float, int, bool]:
        """What all processes go on with alike, in one transfer to the CPU.

        Figures (batch,) in the order of the batch, the gradient's norm, the highest number of a signal, and whether the
        first process finds a checkpoint due.
        """
        told = torch.tensor([number, due], dtype=torch.float32, device=norm.device)
        own = torch.cat([*(values.float() for values in figures.values()), norm.float().view(1), told])
        every = self.fabric.all_gather(own).view(self.fabric.world_size, -1).cpu()
        values = every[:, :-3].view(self.fabric.world_size, len(figures), -1).transpose(0, 1).flatten(1)
        return (
            dict(zip(figures, values, strict=True)),
            every[0, -3].item(),
            int(every[:, -2].max()),
            bool(every[0, -1]),
        )


def set_up(fabric: Fabric, task: Task, settings: Training) -> Run:
    """The network and its optimiser on the device, wrapped for precision and processes."""
    task.module.to(fabric.device)
    task.place(fabric.device)
    optimiser = torch.optim.AdamW(
        task.module.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=settings.precision != "16-mixed",  # whose scaler must see the gradients before they are clipped
    )
    if settings.compile:
        task.module.compile()
    return Run(fabric, task, *fabric.setup(task.module, optimiser), share(settings.batch), settings.batch)
