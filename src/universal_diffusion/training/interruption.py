"""Signals that ask a training to end: they are remembered, and the loop leaves when its state is whole."""

import os
import signal
import threading
from multiprocessing import parent_process

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)  # a kill, SLURM's warning before the time limit, Ctrl-C


class Interruption:
    """While its block runs, a signal is kept in `number` (0: none) instead of ending the process.

    A second Ctrl-C ends at once, as ever. Blocks belong into the main thread, where Python handles signals.
    """

    def __init__(self):
        self.number = 0
        self._before = {}

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _) -> None:
        if self.number == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = int(number)


def deaf(_worker: int = 0) -> None:
    """Let a worker process ignore what is meant for its parent, though the signal reaches both; only that ends it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_obey_parent, daemon=True).start()


def _obey_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent_process().pid:
        pass
    os._exit(0)
