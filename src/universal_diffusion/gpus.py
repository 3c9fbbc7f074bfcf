"""Run a command with GPUs that no other such command has: `python -m universal_diffusion.gpus 1 COMMAND`.

Snakemake counts GPUs, but does not say which of them a job may use: two trainings on a machine with two would share the
first. A GPU is held by a lock of the kernel's, which goes with the command's processes however they end.
"""

import argparse
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

from universal_diffusion.errors import InputError, one_line_errors

LOCKS = Path(".snakemake", "gpus")
VISIBLE = "CUDA_VISIBLE_DEVICES"
WAIT_S = 1.0


def present() -> list[str]:
    """The GPUs that this process may use, by index or UUID: those of CUDA_VISIBLE_DEVICES, or what nvidia-smi lists.

    Raises InputError where there is no GPU.
    """
    if (given := os.environ.get(VISIBLE)) is not None:
        found = [name.strip() for name in given.split(",") if name.strip()]
    else:
        found = _listed()
    if not found:
        remedy = "take a machine with one, or leave the profile out: without it the workflow runs on CPUs"
        raise InputError("nvidia-smi", "shows no GPU on this machine", remedy)
    return found


def _listed() -> list[str]:
    try:
        command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []


def claim(count: int, names: list[str], locks: Path) -> list[str]:
    """`count` of the GPUs `names`, held until this process and all that inherit from it end; waits for them.

    Args:
        locks: a folder for lock files, one per GPU.

    Raises:
        InputError: there are fewer than `count`.
    """
    if count > len(names):
        raise InputError("gpu", f"{count} are asked for, this machine has {len(names)}", "ask for fewer")
    locks.mkdir(parents=True, exist_ok=True)
    while True:
        held = _free(names, locks)
        if len(held) >= count:
            break
        for lock in held.values():  # all or none: two commands that each hold a part would wait for ever
            os.close(lock)
        time.sleep(WAIT_S)
    taken = list(held)[:count]
    for name, lock in held.items():
        if name in taken:
            os.set_inheritable(lock, True)
        else:
            os.close(lock)
    return taken


def _free(names: list[str], locks: Path) -> dict[str, int]:
    """The lock of every GPU that nobody has, taken now."""
    held = {}
    for name in names:
        lock = os.open(locks / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held[name] = lock
        except BlockingIOError:
            os.close(lock)
    return held


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("count", type=int)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    taken = claim(arguments.count, present(), LOCKS)
    print(f"{VISIBLE}={','.join(taken)}", file=sys.stderr, flush=True)
    os.execvpe(arguments.command[0], arguments.command, os.environ | {VISIBLE: ",".join(taken)})


if __name__ == "__main__":
    main()
