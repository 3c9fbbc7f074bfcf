"""The one training loop: Fabric for devices, precision and processes; averaged weights; resuming to the same bytes."""

import math
import signal
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from universal_diffusion.errors import InputError
from universal_diffusion.settings import Training
from universal_diffusion.training.averages import AveragedWeights
from universal_diffusion.training.checkpoints import CHECKPOINT, Checkpoint, Progress
from universal_diffusion.training.interruption import Interruption
from universal_diffusion.training.memory import enough_memory, within_memory
from universal_diffusion.training.patches import VALIDATION_PATCHES
from universal_diffusion.training.processes import launch, together
from universal_diffusion.training.progress import PARTIAL_LOG, TrainingLog
from universal_diffusion.training.run import Run, set_up
from universal_diffusion.training.tasks import Task

RUNNING = {"devices", "micro_batch", "compile", "checkpoint_minutes"}  # how a training runs, not what it makes


def train(task: Task, settings: Training, directory: Path, identity: dict, device: str = "auto") -> nn.Module:
    """Train `task.module` and return it on the CPU with its averaged weights, in the first process; others end here.

    Args:
        directory: receives log and pictures, and while training `last.safetensors`, from which an interrupted run goes
            on; `finish` removes it.
        identity: JSON-able description of everything the run depends on; a checkpoint of another identity is refused.
        device: "auto" or a device type.

    Raises:
        InputError: a checkpoint of a different configuration lies in `directory`, the loss is not finite, or the
            device's memory is too small.
        SystemExit: a signal asked for the end; the checkpoint is written, the status is 128 + the signal's number.
    """
    fabric = launch(settings, device)
    with Interruption() as interruption, together(fabric):
        with enough_memory("the network and its average", fabric.device):
            run = set_up(fabric, task, settings)
            average = AveragedWeights(task.module, settings.ema_decay)
        identity = identity | {"training": {k: v for k, v in asdict(settings).items() if k not in RUNNING}}
        checkpoint = Checkpoint(
            directory / CHECKPOINT, identity, task, average.module, run.optimiser, fabric.strategy.precision
        )
        configured = min(settings.micro_batch or settings.batch, run.rows.stop - run.rows.start)
        progress = _resume(checkpoint, configured, fabric)
        log = TrainingLog(directory, settings.steps, settings.batch, progress.step) if fabric.is_global_zero else None
        try:
            _steps(run, settings, average, checkpoint, log, interruption, progress)
        finally:
            if log:
                log.close()
    if not log:
        raise SystemExit(0)
    log.finish()
    task.module.load_state_dict(average.module.state_dict())
    return task.module.cpu().eval().requires_grad_(False)


def _steps(
    run: Run,
    settings: Training,
    average: AveragedWeights,
    checkpoint: Checkpoint,
    log: TrainingLog | None,
    interruption: Interruption,
    progress: Progress,
) -> None:
    """All steps after `progress`, in every process; the first one logs, validates and keeps the state."""
    fabric, task, saved = run.fabric, run.task, time.monotonic()
    task.fetch(progress.step)
    for step in range(progress.step, settings.steps):
        began = time.monotonic()
        for group in run.optimiser.param_groups:
            group["lr"] = learning_rate(settings, step)
        figures, micro_batch = within_memory(partial(run.gradients, step), progress.micro_batch, fabric)
        norm = fabric.clip_gradients(
            run.module, run.optimiser, max_norm=settings.gradient_clip, error_if_nonfinite=False
        )
        waited = task.fetch(step + 1)  # while a GPU still computes
        due = began - saved > 60 * settings.checkpoint_minutes
        figures, norm, number, due = run.gather(figures, norm, interruption.number, due)
        progress = replace(progress, step=step, micro_batch=micro_batch)
        finite = bool(figures["loss"].isfinite().all())
        if not finite or not (math.isfinite(norm) or _scaled_down(fabric)):
            _keep(fabric, checkpoint, log, progress)
            raise _not_finite(checkpoint.path, task.cases(step), step, figures["loss"], norm)
        with enough_memory("the optimiser's state beside network, average and gradients", fabric.device):
            run.optimiser.step()
            average.update(step)
        task.learn(figures)
        if log:
            log.step(step, _means(figures), waited, time.monotonic() - began)
            if (step + 1) % settings.validate_every == 0 or step + 1 == settings.steps:
                _validate(run, average, checkpoint, log, replace(progress, step=step + 1))
        if number or due:
            _keep(fabric, checkpoint, log, replace(progress, step=step + 1))
            saved = time.monotonic()
        if number:
            _leave(checkpoint.path, step + 1, number, log)


def learning_rate(settings: Training, step: int) -> float:
    """Of optimiser step `step`: a linear rise over `warmup` steps, times half a cosine where the settings say so."""
    rise = min(1.0, (step + 1) / max(1, settings.warmup))
    fall = (1 + math.cos(math.pi * step / settings.steps)) / 2 if settings.decay == "cosine" else 1.0
    return settings.learning_rate * rise * fall


def finish(directory: Path) -> None:
    """Drop what an interrupted run would go on from, once the trained weights are written."""
    for name in (CHECKPOINT, PARTIAL_LOG):  # in this order: a checkpoint is of no use without its log
        (directory / name).unlink(missing_ok=True)


def _resume(checkpoint: Checkpoint, configured: int, fabric: Fabric) -> Progress:
    """Where all processes go on: with the checkpoint's micro-batch, unless another has been configured since."""
    if fabric.is_global_zero:
        checkpoint.clear()
    progress = checkpoint.load()
    steps = fabric.all_gather(torch.tensor(progress.step if progress else 0)).view(-1).tolist()
    if len(set(steps)) > 1:
        problem = f"reads as after {' or '.join(map(str, sorted(set(steps))))} steps in different processes"
        raise InputError(checkpoint.path, problem, "run again when the shared disk shows all machines the same file")
    if progress is None:
        return Progress(0, configured, configured)
    if fabric.is_global_zero:
        print(f"resuming after {progress.step} steps from {checkpoint.path}", file=sys.stderr)
    return progress if progress.configured == configured else Progress(progress.step, configured, configured)


def _scaled_down(fabric: Fabric) -> bool:
    """Whether float16's scaler answers a gradient that is not finite, by leaving the step out and scaling less."""
    scaler = getattr(fabric.strategy.precision, "scaler", None)
    return scaler is not None and scaler.get_scale() >= 1


def _validate(run: Run, average: AveragedWeights, checkpoint: Checkpoint, log: TrainingLog, progress: Progress) -> None:
    """Log what the averaged network is worth after `progress`; the first process does it alone."""
    what = f"the {VALIDATION_PATCHES} patches of a validation after {progress.step} steps"
    try:
        with enough_memory(what, run.fabric.device), torch.inference_mode(), run.fabric.autocast():
            figures, picture = run.task.validate(average.module), run.task.picture(average.module)
    except InputError:
        log.flush()
        checkpoint.save(progress)
        raise
    log.validated(progress.step - 1, figures, picture)


def _means(figures: dict[str, Tensor]) -> dict[str, float]:
    return {name: values.mean().item() for name, values in figures.items()}


def _keep(fabric: Fabric, checkpoint: Checkpoint, log: TrainingLog | None, progress: Progress) -> None:
    """The first process writes its log, then the checkpoint; the others wait for it."""
    if log:
        log.flush()
        checkpoint.save(progress)
    fabric.barrier()


def _leave(path: Path, done: int, number: int, log: TrainingLog | None) -> None:
    """End after a signal, with its status in the first process."""
    if log:
        log.close()
        name = signal.Signals(number).name
        print(f"stopped by {name} after {done} steps; the same command goes on from {path}", file=sys.stderr)
    raise SystemExit(128 + number if log else 0)


def _not_finite(path: Path, cases: list[str], step: int, losses: Tensor, norm: float) -> InputError:
    bad = (~losses.isfinite()).nonzero().flatten().tolist()
    named = ", ".join(sorted({cases[row] for row in bad or range(len(cases))}))
    what = f"the loss is {losses[bad[0]].item()}" if bad else f"the gradient is {norm}"
    return InputError(
        path,
        f"{what} at step {step} for patches of {named}; the state before that step is kept here",
        "look at these cases; if they are sound, delete this file and train afresh with a lower"
        " training.learning_rate or precision 32-true, which a checkpoint cannot change to",
    )
