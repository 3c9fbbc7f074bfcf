"""One run of a study at a time in a folder, and none that what a killed one left behind can block or harm.

A run holds a lock of the kernel's on a file, which goes with its process however that ends. What Snakemake itself keeps
to shut others out are files that outlive a `kill -9`, as its steps do.
"""

import fcntl
import os
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from universal_diffusion.errors import InputError

MARK = "UNIVERSAL_DIFFUSION_RUN"  # in the environment of every step: the lock of the run that started it
GLANCE_S = 1  # that another Snakemake may have the lock to see whether a run is alive
PATIENCE_S = 60  # for a step that was asked to end: a training writes its state first


def forget_dead_run(lock: Path, snakemake_locks: Path, results: str) -> None:
    """Remove Snakemake's lock files that name files under `results`, where the run that wrote them is dead.

    It is when nobody holds `lock` and a run of this machine had it last, or none. Raises InputError where one lives.
    """
    with take(lock) as held:
        if _holder(held)[0] in ("", socket.gethostname()):
            for path in snakemake_locks.glob("*.lock"):
                with suppress(FileNotFoundError):
                    locked = path.read_text(encoding="utf-8").splitlines()
                    if any(line.startswith(f"{results}/") for line in locked):
                        path.unlink()


def begin(lock: Path) -> TextIO:
    """Take `lock` for as long as the file that is returned stays open, and write machine and process into it.

    Raises InputError where another run has it, and not only for the moment that a dry run looks at it.
    """
    until = time.monotonic() + GLANCE_S
    while True:
        try:
            held = take(lock)
            break
        except InputError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
    held.seek(0)
    held.truncate()
    held.write(f"{socket.gethostname()} {os.getpid()}\n")
    held.flush()
    return held


def take(lock: Path) -> TextIO:
    """The lock's file, opened and locked. Raises InputError where another run has it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    file = open(lock, "a+", encoding="utf-8")  # noqa: SIM115 (kept open: closing it lets the lock go)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        machine, process = _holder(file)
        file.close()
        problem = f"another run of this study is at work in this folder (process {process} on {machine})"
        raise InputError(
            lock, problem, "wait for its end, or stop it: a run begun after that goes on from there"
        ) from None
    return file


def _holder(file: TextIO) -> tuple[str, str]:
    """Machine and process that had the lock last; empty where nobody had."""
    file.seek(0)
    machine, _, process = file.read().strip().partition(" ")
    return machine, process


def stop_orphans(lock: Path) -> int:
    """End the steps that a killed run of this machine left at work, asked first, and return how many there were.

    They are known by `MARK` in their environment (Linux shows it in /proc; elsewhere none is found).
    """
    orphans = marked(lock)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in marked(lock):
            _signal(process, number)
        until = time.monotonic() + PATIENCE_S
        while marked(lock) and time.monotonic() < until:
            time.sleep(0.1)
    return len(orphans)


def marked(lock: Path) -> list[int]:
    """Processes that a run with that lock started, of this user, but for those that have ended."""
    entry = f"{MARK}={lock.resolve()}".encode()
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if entry in environment.read_bytes().split(b"\0"):  # a process that has ended shows nothing
                found.append(int(environment.parent.name))
        except OSError:  # another user's, or gone
            continue
    return [process for process in found if process != os.getpid()]


def _signal(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def mend_future(paths: Iterable[Path]) -> list[Path]:
    """Date files and folders from the future as of now, and return them.

    A clock that was wrong for a while leaves such files, and Snakemake refuses what is made from them as older. Raises
    InputError for one whose date cannot be changed.
    """
    mended, now = [], time.time()
    for path in paths:
        try:
            if path.lstat().st_mtime > now:
                os.utime(path, (now, now), follow_symlinks=False)
                mended.append(path)
        except FileNotFoundError:
            continue
        except PermissionError:
            problem = "is dated in the future, so that all that is made from it seems older"
            raise InputError(path, problem, "set its date, or this machine's clock, right") from None
    return mended


def tree(*roots: Path) -> Iterator[Path]:
    """Folders with all below them; what vanishes meanwhile is passed over."""
    for root in roots:
        yield root
        for folder, folders, files in os.walk(root):
            yield from (Path(folder, name) for name in (*folders, *files))
