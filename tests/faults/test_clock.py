"""Clocks that jump: files from the future and from the past."""

import os
import time

import numpy as np
import pytest

pytestmark = pytest.mark.faults

YEAR = 365 * 24 * 3600
LATE = ("tables", "figures", "scores", "claims.csv", "claims.md")  # what is made anew in seconds


def test_after_a_clock_that_ran_ahead_the_run_goes_on(hurt, undisturbed, counted, different):
    """From the middle of the study on it was wrong by five years; it is right again, and a table has yet to be made."""
    dates = hurt.dates()
    middle = sorted(dates.values())[len(dates) // 2]
    wrong = {path: date + 5 * YEAR * 10**9 for path, date in dates.items() if date > middle}
    hurt.redate(wrong)
    for path in ("src/universal_diffusion/evaluation/tables.py", "config/published.csv"):
        os.utime(hurt.folder / path, (time.time() + YEAR,) * 2)
    status, said = hurt.remake("tables/table2.csv")
    assert status == 0, said[-3000:]
    assert "came from the future" in said
    assert "rule table2" in said
    assert "rule segment" not in said
    assert different(hurt, undisturbed[1]) == []
    assert max(hurt.dates().values()) < time.time_ns()
    counted("clock ahead", hurt="dates of files", times=len(wrong) + 2, survived=len(wrong) + 2)


def test_files_from_the_past_are_made_again_in_the_same_bytes(hurt, undisturbed, counted, different):
    """As a clock that was set back leaves them: older than what they are made from."""
    random = np.random.default_rng(1)
    paths = [path for name in LATE for path in sorted((hurt.results / name).rglob("*")) if random.random() < 0.3]
    for path in paths:
        os.utime(path, (random.uniform(0, YEAR),) * 2)
    status, said = hurt.run()
    assert status == 0, said[-3000:]
    assert different(hurt, undisturbed[1]) == []
    status, said = hurt.run()
    assert "Nothing to be done" in said, said[-3000:]
    counted("clock behind", hurt="dates of files", times=len(paths), survived=len(paths))
