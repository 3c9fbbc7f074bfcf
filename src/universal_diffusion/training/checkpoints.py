"""What an interrupted training goes on from: one safetensors file, written whole or not at all.

It holds the weights, their averages, the optimiser, the scaler of float16, what the task has learnt (the step sampler's
history), the number of steps done, which is the sampler's position and the state of everything random (see
`tasks.Task`), what the run depends on, with its hash, and a hash of all this.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric.plugins import Precision
from safetensors import SafetensorError
from torch import Tensor, nn

from universal_diffusion.errors import InputError
from universal_diffusion.method.weights import rule_of
from universal_diffusion.training.sealed_tensors import load_sealed, save_sealed
from universal_diffusion.training.tasks import Task

CHECKPOINT = "last.safetensors"
SHOWN = 40  # characters of a changed value


@dataclass(frozen=True)
class Progress:
    """Optimiser steps done, and the micro-batch that they were last done with where `configured` was asked for."""

    step: int
    micro_batch: int
    configured: int


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one training.

    Attributes:
        path: the file.
        identity: JSON-able description of everything that the run's weights depend on.
        average: the module with averaged weights.
        precision: Fabric's, which owns the scaler.
    """

    path: Path
    identity: dict
    task: Task
    average: nn.Module
    optimiser: torch.optim.Optimizer
    precision: Precision

    def save(self, progress: Progress) -> None:
        """Write everything; an earlier checkpoint gives way once this one is on disk.

        Raises InputError where it cannot be written (a full disk), and the earlier one stays.
        """
        parts = {
            "module": self.task.module.state_dict(),
            "average": self.average.state_dict(),
            "task": self.task.state(),
            "optimiser": dict(_flat(self.optimiser.state_dict()["state"], "/")),
        }
        tensors = {f"{part}/{name}": tensor for part, state in parts.items() for name, tensor in state.items()}
        facts = {
            "progress": vars(progress),
            "scaler": self.precision.state_dict(),
            "identity": self.identity,
            "identity_sha256": _digest(self.identity),
        }
        try:
            save_sealed(self.path, tensors, {"facts": json.dumps(facts, sort_keys=True)})
        except OSError as error:
            remedy = "make room or mend the disk; the same command goes on from the last checkpoint"
            raise InputError(self.path, f"cannot be written ({error})", remedy) from None

    def load(self) -> Progress | None:
        """Take everything back; None where there is no checkpoint.

        Raises:
            InputError: it is damaged, or of a run that depends on something else; what differs is named.
        """
        if not self.path.exists():
            return None
        facts, parts = _read(self.path)
        if facts["identity_sha256"] != _digest(self.identity):
            _refuse(self.path, facts["identity"], self.identity)
        self.task.module.load_state_dict(parts["module"])
        self.average.load_state_dict(parts["average"])
        self.task.load_state(parts["task"])
        self._load_optimiser(parts["optimiser"])
        self.precision.load_state_dict(facts["scaler"])
        return Progress(**facts["progress"])

    def _load_optimiser(self, tensors: dict[str, Tensor]) -> None:
        groups = self.optimiser.state_dict()["param_groups"]
        parameters = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            index, _, entry = name.partition("/")
            if tensor.ndim:  # laid out as the parameter is, as the optimiser's kernels have it
                tensor = torch.empty_like(parameters[int(index)], device="cpu").copy_(tensor)
            state.setdefault(int(index), {})[entry] = tensor
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})

    def clear(self) -> None:
        """Remove what writings of this training's files that were cut off have left."""
        for partial in self.path.parent.glob(".partial-*"):
            partial.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict, dict[str, dict[str, Tensor]]]:
    """Facts, and tensors by part."""
    parts: dict[str, dict[str, Tensor]] = {"module": {}, "average": {}, "task": {}, "optimiser": {}}
    try:
        metadata, tensors = load_sealed(path)
        facts = json.loads(metadata["facts"])
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = tensor
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = f"delete it and run again: {rule_of(path.parent)} starts afresh"
        raise InputError(path, f"is no whole checkpoint ({error})", remedy) from None
    return facts, parts


def _digest(identity: dict) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _refuse(path: Path, saved: dict, wanted: dict) -> None:
    old, new = (dict(_flat(json.loads(json.dumps(identity)), ".")) for identity in (saved, wanted))
    changed = [
        f"{key}: {_short(old, key)} -> {_short(new, key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    raise InputError(
        path,
        f"is a checkpoint of another configuration ({', '.join(changed)})",
        "change that back to go on, or delete the checkpoint to start afresh",
    )


def _flat(tree: dict, separator: str, above: str = "") -> Iterator[tuple[str, object]]:
    """The leaves of nested dictionaries by the path to them."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, separator, f"{above}{key}{separator}")
        else:
            yield f"{above}{key}", value


def _short(flat: dict[str, object], key: str) -> str:
    text = json.dumps(flat[key]) if key in flat else "none"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
