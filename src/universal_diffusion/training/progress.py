"""What a training shows while it runs: a progress bar, `log.csv`, TensorBoard, and pictures of its validation.

The rows of the log live in `log.partial.csv`, not in the checkpoint: `flush` puts them on disk before a checkpoint is
written, and a run that goes on from the checkpoint drops those after it, so that the log of an interrupted run is that
of an uninterrupted one but for the seconds.
"""

import csv
import json
import os
import shutil
import sys
from collections import deque
from pathlib import Path

import numpy as np
from matplotlib.image import imsave
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from universal_diffusion.checksums import write_with_hash
from universal_diffusion.errors import InputError
from universal_diffusion.files import whole_file

LOG, PARTIAL_LOG = "log.csv", "log.partial.csv"
PICTURES, TENSORBOARD = "pictures", "tensorboard"
RECENT = 100  # steps that the bar's figures are taken over
EVERY = 10  # steps between two writings to disk and to TensorBoard, where a scalar costs as much as several rows here
BAR_SECONDS = 5.0


class TrainingLog:
    """Progress bar (loss, patches/s, remaining, data-wait share), log.csv and TensorBoard of one training.

    Only the first process has one. `PARTIAL_LOG` is kept by `finish`, so that a run that is cut off between that and
    the writing of its weights can still go on from its checkpoint; who removes the checkpoint removes it.
    """

    def __init__(self, directory: Path, total: int, batch: int, done: int):
        """Go on after `done` of `total` steps of `batch` patches each, or start afresh.

        Raises:
            InputError: the log of the first `done` steps is not there.
        """
        self._directory, self._batch = Path(directory), batch
        self._columns: list[str] = []
        self._pending: list[dict[str, float]] = []
        self._recent: deque[tuple[float, float, float]] = deque(maxlen=RECENT)
        if done:
            self._keep(done)
        else:
            self._clear()
        self._events = SummaryWriter(str(self._directory / TENSORBOARD), purge_step=done or None)
        self._bar = tqdm(initial=done, total=total, unit="step", mininterval=BAR_SECONDS)

    def step(self, step: int, figures: dict[str, float], waited: float, took: float) -> None:
        """Record a step: its figures, "loss" among them, and the seconds it `waited` for data, of all it `took`."""
        if len(self._pending) >= EVERY:
            self._write()
        seconds = {"seconds": round(took, 4), "wait_seconds": round(waited, 4)}
        self._pending.append({"step": step, "loss": figures["loss"]} | figures | seconds)
        self._recent.append((figures["loss"], waited, took))
        loss, waiting, taken = (sum(values) for values in zip(*self._recent, strict=True))
        speed, share = self._batch * len(self._recent) / taken, waiting / taken
        if (step + 1) % EVERY == 0:
            scalars = {f"train/{name}": value for name, value in figures.items()}
            self._draw(step, scalars | {"speed/patches_per_second": speed, "speed/wait_share": share})
        shown = f"loss {loss / len(self._recent):.4f}, {speed:.1f} patches/s, {share:.0%} waiting for data"
        self._bar.set_postfix_str(shown, refresh=False)
        self._bar.update()

    def validated(self, step: int, figures: dict[str, float], picture: np.ndarray | None) -> None:
        """Add the validation's figures to the row of `step`, the last recorded; keep its picture (H, W, 3) uint8."""
        self._pending[-1] |= figures
        told = {name: round(value, 4) for name, value in self._pending[-1].items()}
        self._bar.write(json.dumps(told), file=sys.stderr)
        self._draw(step, {f"validation/{name.removeprefix('validation_')}": value for name, value in figures.items()})
        if picture is not None:
            with whole_file(self._directory / PICTURES / f"step_{step}.png") as partial:
                imsave(partial, picture, format="png", metadata={"Software": None})
            self._events.add_image("validation/picture", picture, step, dataformats="HWC")

    def flush(self) -> None:
        """Before a checkpoint: all rows up to here are on disk."""
        self._write()
        with open(self._directory / PARTIAL_LOG, "a", encoding="utf-8") as file:
            os.fsync(file.fileno())
        self._events.flush()

    def finish(self) -> None:
        """The whole log as `log.csv`, then `close`."""
        self.flush()
        write_with_hash(self._directory / LOG, (self._directory / PARTIAL_LOG).read_text(encoding="utf-8"))
        self.close()

    def close(self) -> None:
        """Bar and events closed, also of a run that ends early: what is printed then begins a line."""
        self._events.close()
        self._bar.close()

    def _draw(self, step: int, scalars: dict[str, float]) -> None:
        for name, value in scalars.items():
            self._events.add_scalar(name, value, step)

    def _clear(self) -> None:
        """Remove what an earlier run left: it is none of this one's."""
        (self._directory / PARTIAL_LOG).unlink(missing_ok=True)
        for folder in (PICTURES, TENSORBOARD):
            shutil.rmtree(self._directory / folder, ignore_errors=True)

    def _keep(self, done: int) -> None:
        """Keep the rows of the first `done` steps, and drop those after them, which may be cut off."""
        path = self._directory / PARTIAL_LOG
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        lines = text.splitlines(keepends=True)[: done + 1]
        steps = [line.partition(",")[0] for line in lines[1:] if line.endswith("\n")]
        if steps != [str(step) for step in range(done)]:
            problem = f"does not hold the {done} steps that the checkpoint beside it has done"
            raise InputError(path, problem, "put it back, or delete the checkpoint to start afresh")
        self._columns = lines[0].strip().split(",")
        with whole_file(path) as partial:
            partial.write_text("".join(lines), encoding="utf-8")

    def _write(self) -> None:
        """Append the pending rows; a figure that is new in them (the first validation's) widens the table."""
        path = self._directory / PARTIAL_LOG
        columns = list(dict.fromkeys([*self._columns, *(name for row in self._pending for name in row)]))
        if columns != self._columns:
            self._widen(path, columns)
        with open(path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, columns, restval="", lineterminator="\n").writerows(self._pending)
        self._pending.clear()

    def _widen(self, path: Path, columns: list[str]) -> None:
        rows: list[dict[str, str]] = []
        if path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        with whole_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        self._columns = columns
