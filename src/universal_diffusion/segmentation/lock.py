"""One run at a time in a result's folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.sampling.store_folder import LOCK


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a folder, which is made if it is not there, to this thread.

    A thread may take a folder that it has already. The lock goes with its process, however that ends; a file of that
    name that a killed one left locks nothing.

    Raises:
        InputError: another run has it, or it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(folder, "is a file, expected a folder", "give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.resolve() / LOCK, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(folder, "another run is at work in it", "wait for its end, or give another folder") from None
    try:
        yield
    finally:
        if lock.lock_counter == 1:
            (folder / LOCK).unlink(missing_ok=True)  # while it is held: who opened it before finds that it has no name
        lock.release()
