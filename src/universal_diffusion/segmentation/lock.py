"""One run at a time in a result's folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from universal_diffusion.errors import InputError

LOCK = ".lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a folder, which is made if it is not there, to this run. Raises InputError if another run has it.

    The lock goes with its process, however that ends; a file of that name that a killed one left locks nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(folder, "another run is at work in it", "wait for its end, or give another --output") from None
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)  # while it is held: who opened it before finds that it has no name
        lock.release()
