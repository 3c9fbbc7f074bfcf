"""What a training is to the loop: batches, a loss per patch, and what is judged on held-out patches."""

from abc import abstractmethod
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn


class Task(Protocol):
    """What is trained. The loop owns the optimiser, the averages, the log and the checkpoint.

    Everything random of a step (patches, diffusion steps, noise) is a function of (seed, purpose, step) over its WHOLE
    batch, and a process or a micro-batch takes its rows of it. So neither the number of processes nor accumulated
    gradients change what is drawn, and a checkpoint needs no random state.

    Attributes:
        module: the network under training.
    """

    module: nn.Module

    def place(self, device: torch.device) -> None:
        """Bring what the loss needs besides `module` (frozen networks, tables) to `device`."""

    @abstractmethod
    def fetch(self, step: int) -> float:
        """Get the batch of `step` ready, and tell the seconds waited for its patches."""

    @abstractmethod
    def loss(self, module: nn.Module, step: int, rows: slice) -> dict[str, Tensor]:
        """Figures (n,) of `rows` of the step's batch, patch by patch; the mean of "loss" over the batch is minimised.

        `module` is the one under training as the device, precision and processes wrap it; the call runs under the
        autocast of the configured precision.
        """

    def learn(self, figures: dict[str, Tensor]) -> None:
        """Take what the task itself learns from a step's figures, (batch,) on the CPU, in the order of the batch."""

    @abstractmethod
    def validate(self, module: nn.Module) -> dict[str, float]:
        """Figures of the averaged module on held-out patches."""

    def picture(self, module: nn.Module) -> np.ndarray | None:
        """What the averaged module makes of fixed held-out patches, (H, W, 3) uint8."""
        return None

    @abstractmethod
    def cases(self, step: int) -> list[str]:
        """The case "source/case" of each patch of the step's batch."""

    def state(self) -> dict[str, Tensor]:
        """What besides the module changes while training."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take a `state` back."""


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters are."""
    return next(module.parameters()).device
