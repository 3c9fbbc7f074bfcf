"""The one error a person should ever read: which file, what is wrong, what to do."""

import errno
import os
import sys
from collections.abc import Callable
from functools import wraps

# What a disk or its owner refuses is the reader's to mend; any other OSError is a fault of the program.
REMEDIES = {
    errno.EACCES: "change its permissions, or give another path",
    errno.EPERM: "change its permissions, or give another path",
    errno.EROFS: "give a path on a disk that can be written",
    errno.ENOTDIR: "give another path",
    errno.ENOSPC: "make room, and run again",
    errno.EDQUOT: "make room, and run again",
    errno.EFBIG: "allow larger files, and run again",
    errno.EIO: "check the disk, and run again",
}
WITH_A_NAME = {errno.EACCES, errno.EPERM, errno.ENOTDIR}  # without one they may be of anything, such as a process


class InputError(Exception):
    """A wrong input, told in one line.

    Args:
        where: the file, configuration key or argument that is wrong.
        problem: what is wrong and what was expected.
        remedy: what the reader can do about it.
    """

    def __init__(self, where: object, problem: str, remedy: str):
        super().__init__(f"{where}: {problem}; {remedy}")
        self.where, self.problem, self.remedy = str(where), problem, remedy

    def __reduce__(self):  # between processes
        return type(self), (self.where, self.problem, self.remedy)


def of_the_disk(error: OSError, where: object = "a file that is written") -> InputError | None:
    """What a disk or its owner refused (permission, room, read-only), as one line; None for any other error.

    Args:
        where: what to name if the error names no file, as one of writing does not.
    """
    if error.errno not in REMEDIES or (error.filename is None and error.errno in WITH_A_NAME):
        return None
    named = where if error.filename is None else error.filename
    return InputError(named, f"cannot be read or written ({os.strerror(error.errno)})", REMEDIES[error.errno])


def one_line_errors(main: Callable[..., None]) -> Callable[..., None]:
    """Let a step's `main` end on an InputError, or what `of_the_disk` takes, with one line and exit status 2."""

    @wraps(main)
    def wrapped(*args, **kwargs):
        try:
            main(*args, **kwargs)
            return
        except (InputError, OSError) as error:
            line = _line(error)
            if line is None:
                raise
        # Out of the except block the traceback is gone, and with it the progress bars, which end their line first.
        print(line, file=sys.stderr)
        raise SystemExit(2)

    return wrapped


def _line(error: InputError | OSError) -> str | None:
    told = of_the_disk(error) if isinstance(error, OSError) else error
    return None if told is None else f"error: {one_line(str(told))}"


def one_line(text: str) -> str:
    """A text in one line, with "?" for what a terminal would obey instead of showing (control characters)."""
    line = " ".join(part.strip() for part in text.splitlines())
    return "".join(letter if letter.isprintable() else "?" for letter in line)
