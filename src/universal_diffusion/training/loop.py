"""The one training loop: Fabric for the device and precision, EMA, checkpoints that resume to the same bytes.

Whatever is random in a step is drawn from generators seeded by (study seed, purpose, step), so a checkpoint needs no
random state and a resumed run continues exactly as the interrupted one would have.
"""

import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from universal_diffusion.errors import InputError
from universal_diffusion.files import whole_file
from universal_diffusion.method.weights import load_tensors, save_tensors
from universal_diffusion.settings import Training

CHECKPOINT = "last.safetensors"
LOG = "log.csv"


class Task(Protocol):
    """What is trained. The loop owns the optimiser, the averages, the log and the checkpoint."""

    module: nn.Module

    def loss(self, module: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of optimiser step `step` on its batch, and figures for the log."""

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Figures of the averaged module on held-out patches."""

    def state(self) -> dict[str, Tensor]:
        """What besides the module changes while training (the step sampler's history)."""

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take a `state` back."""


@dataclass
class Progress:
    """Optimiser steps done, and their log so far."""

    step: int
    rows: list[dict[str, float]]


def train(task: Task, settings: Training, directory: Path, identity: dict, device: str = "auto") -> nn.Module:
    """Train `task.module` and return it on the CPU with its averaged weights.

    Args:
        directory: receives `log.csv`, and while training `last.safetensors`, from which an interrupted run goes on.
        identity: JSON-able description of everything the run depends on; a checkpoint of another identity is refused.

    Raises:
        InputError: a checkpoint of a different configuration lies in `directory`, or the loss is not finite.
    """
    fabric = Fabric(accelerator=device, devices=1, precision=settings.precision)
    optimiser = torch.optim.AdamW(
        task.module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    module, optimiser = fabric.setup(task.module.to(fabric.device), optimiser)
    average = {name: tensor.detach().clone() for name, tensor in task.module.state_dict().items()}
    identity = identity | {"training": asdict(settings)}
    progress = _resume(task, optimiser, average, directory, identity)
    saved = time.monotonic()
    bar = tqdm(range(progress.step, settings.steps), initial=progress.step, total=settings.steps, mininterval=5)
    for step in bar:
        started = time.monotonic()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(settings, step)
        loss, figures = task.loss(module, step)
        if not torch.isfinite(loss):
            raise InputError(
                directory, f"the loss is {loss.item()} at step {step}", "lower the learning rate or the precision"
            )
        fabric.backward(loss)
        fabric.clip_gradients(module, optimiser, max_norm=settings.gradient_clip)
        optimiser.step()
        optimiser.zero_grad()
        _update_average(average, task.module, settings.ema_decay, step)
        row = {"step": step, "loss": loss.item(), **figures, "seconds": time.monotonic() - started}
        if (step + 1) % settings.validate_every == 0 or step + 1 == settings.steps:
            row |= _validate(task, average)
            print(json.dumps({k: round(v, 4) for k, v in row.items()}), file=sys.stderr, flush=True)
        progress.rows.append(row)
        bar.set_postfix(loss=f"{row['loss']:.4f}", refresh=False)
        if time.monotonic() - saved > 60 * settings.checkpoint_minutes:
            _save(task, optimiser, average, directory, identity, Progress(step + 1, progress.rows))
            saved = time.monotonic()
    task.module.load_state_dict(average)
    with whole_file(directory / LOG) as partial:
        pd.DataFrame(progress.rows).to_csv(partial, index=False)
    return task.module.cpu().eval().requires_grad_(False)


def learning_rate(settings: Training, step: int) -> float:
    """Of optimiser step `step`: a linear rise over `warmup` steps, times half a cosine where the settings say so."""
    rise = min(1.0, (step + 1) / max(1, settings.warmup))
    fall = (1 + math.cos(math.pi * step / settings.steps)) / 2 if settings.decay == "cosine" else 1.0
    return settings.learning_rate * rise * fall


def finish(directory: Path) -> None:
    """Drop the checkpoint once the trained weights are written."""
    (directory / CHECKPOINT).unlink(missing_ok=True)


@torch.no_grad()
def _update_average(average: dict[str, Tensor], module: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average whose decay rises to `decay`, so that early weights are soon forgotten."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor, weight)
        else:
            average[name].copy_(tensor)


@torch.no_grad()
def _validate(task: Task, average: dict[str, Tensor]) -> dict[str, float]:
    trained = {name: tensor.clone() for name, tensor in task.module.state_dict().items()}
    task.module.load_state_dict(average)
    task.module.eval()
    figures = task.validate(task.module)
    task.module.load_state_dict(trained)
    task.module.train()
    return figures


def _save(task, optimiser, average, directory: Path, identity: dict, progress: Progress) -> None:
    tensors = {f"module/{name}": tensor for name, tensor in task.module.state_dict().items()}
    tensors |= {f"average/{name}": tensor for name, tensor in average.items()}
    tensors |= {f"task/{name}": tensor for name, tensor in task.state().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{name}": tensor for name, tensor in state.items()}
    metadata = {"identity": json.dumps(identity, sort_keys=True), "progress": json.dumps(asdict(progress))}
    tensors["metadata"] = torch.frombuffer(bytearray(json.dumps(metadata).encode()), dtype=torch.uint8)
    save_tensors(directory / CHECKPOINT, tensors)


def _resume(task, optimiser, average, directory: Path, identity: dict) -> Progress:
    path = directory / CHECKPOINT
    if not path.exists():
        return Progress(0, [])
    tensors = load_tensors(path)
    metadata = json.loads(bytes(tensors.pop("metadata").tolist()))
    _refuse_other(path, json.loads(metadata["identity"]), json.loads(json.dumps(identity)))
    parts: dict[str, dict[str, Tensor]] = {"module": {}, "average": {}, "task": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor
    task.module.load_state_dict(parts["module"])
    for name, tensor in parts["average"].items():
        average[name].copy_(tensor)
    task.load_state(parts["task"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimiser"].items():
        index, _, entry = name.partition("/")
        state.setdefault(int(index), {})[entry] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    progress = Progress(**json.loads(metadata["progress"]))
    print(f"resuming after step {progress.step} from {path}", file=sys.stderr)
    return progress


def _refuse_other(path: Path, saved: dict, wanted: dict) -> None:
    changed = sorted(key for key in saved.keys() | wanted.keys() if saved.get(key) != wanted.get(key))
    if changed:
        raise InputError(
            path,
            f"is a checkpoint of another configuration ({', '.join(changed)} changed)",
            "delete it to start afresh",
        )
