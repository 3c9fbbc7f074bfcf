"""Reading `log.csv` of a training: a row per step with its loss, its seconds, and those spent waiting for data."""

from pathlib import Path

import pandas as pd

from universal_diffusion.checksums import check_hash
from universal_diffusion.errors import InputError

COLUMNS = ("step", "loss", "seconds", "wait_seconds")


def read_log(path: Path) -> pd.DataFrame:
    """The log of one training, a row per step. Raises InputError for a file that is none."""
    check_hash(path)
    try:
        log = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no log of a training ({error})", "train the model again") from None
    missing = [name for name in COLUMNS if name not in log]
    if missing or not len(log):
        raise InputError(path, f"is no log of a training: it lacks {', '.join(missing) or 'steps'}", "train it again")
    return log


def waiting_share(log: pd.DataFrame) -> float:
    """Share of the time of all steps in which the network stood still for want of data."""
    return log["wait_seconds"].sum() / log["seconds"].sum()
