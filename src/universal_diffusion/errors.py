"""The one error a person should ever read: which file, what is wrong, what to do."""

import sys
from collections.abc import Callable
from functools import wraps


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


def one_line_errors(main: Callable[..., None]) -> Callable[..., None]:
    """Let a step's `main` end on an InputError with its one line on stderr and exit status 2."""

    @wraps(main)
    def wrapped(*args, **kwargs):
        try:
            main(*args, **kwargs)
            return
        except InputError as error:
            line = "error: " + " ".join(part.strip() for part in str(error).splitlines())
        # Out of the except block the traceback is gone, and with it the progress bars, which end their line first.
        print(line, file=sys.stderr)
        raise SystemExit(2)

    return wrapped
