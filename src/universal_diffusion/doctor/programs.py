"""Asks a program of this machine, and does not wait long."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PATIENCE_S = 5.0  # a controller that is down keeps its clients waiting longer


@dataclass(frozen=True)
class Answer:
    """What a program printed; `ok` is False if it failed, is not there or gave no answer in time."""

    ok: bool
    output: str
    errors: str


def ask(command: Sequence[str], patience_s: float = PATIENCE_S, environment: Mapping | None = None) -> Answer:
    """Run a command that only tells something."""
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=patience_s, env=environment)
    except subprocess.TimeoutExpired:
        return Answer(False, "", f"no answer in {patience_s:g} s")
    except OSError as error:
        return Answer(False, "", error.strerror or str(error))
    return Answer(run.returncode == 0, run.stdout, run.stderr)
