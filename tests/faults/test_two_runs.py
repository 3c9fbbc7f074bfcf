"""Two Snakemakes at once in one folder: one works, the other is refused in one line, and nothing is damaged."""

import time

import pytest

pytestmark = pytest.mark.faults

APART_S = (0, 0, 1, 4, 10)
# The first is said when both had the time to begin, the others while the second still reads what the first changes.
REFUSALS = ("another run of this study is at work", "Directory cannot be locked", "a concurrent process has deleted it")
WORK = ("tables/table2.csv", "tables/table3.csv", "tables/targets.csv", "figures/distributions.png")


def test_only_one_of_two_runs_works(hurt, undisturbed, counted, different, tmp_path):
    refused = 0
    for number, seconds in enumerate(APART_S):
        for target in WORK:
            hurt.remove(target)
        logs = [tmp_path / f"{number}-{which}.txt" for which in "ab"]
        first = hurt.start(log=logs[0])
        time.sleep(seconds)
        second = hurt.start(log=logs[1])
        ends = [first.wait(), second.wait()]
        said = [log.read_text() for log in logs]
        assert 0 in ends, said
        for end, words in zip(ends, said, strict=True):
            if end:
                refused += 1
                assert any(refusal in words for refusal in REFUSALS), words
        status, words = hurt.run()
        assert status == 0, words[-3000:]
        assert different(hurt, undisturbed[1]) == []
    assert refused >= 2
    counted("two runs at once", hurt="the folder", times=len(APART_S), survived=len(APART_S), detected=refused)
