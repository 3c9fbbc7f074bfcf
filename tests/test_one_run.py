"""One run of a study at a time, and what a killed one leaves behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from universal_diffusion import one_run
from universal_diffusion.errors import InputError

HOLD = """
import sys, time
from pathlib import Path
from universal_diffusion import one_run
held = one_run.begin(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""
ORPHAN = """
import signal, sys, time
if sys.argv[1] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("alive", flush=True)
time.sleep(60)
"""


@pytest.fixture
def started():
    """Starts a program that says a word once it is at work; all are killed at the end."""
    processes = []

    def start(program: str, *arguments: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-c", program, *arguments]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | environment))
        processes[-1].stdout.readline()
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def locks(tmp_path) -> Path:
    """Snakemake's locks of two studies."""
    folder = tmp_path / "locks"
    folder.mkdir()
    for number, study in enumerate(("mine", "mine2")):
        (folder / f"{number}.output.lock").write_text(f"benchmarks/a.md\nresults/{study}/splits.csv\n")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_second_run_is_refused_while_the_first_lives_and_not_after(started, tmp_path, locks):
    lock = tmp_path / "mine.run"
    first = started(HOLD, str(lock))
    for refused in (one_run.begin, lambda lock: one_run.forget_dead_run(lock, locks, "results/mine")):
        with pytest.raises(InputError, match=rf"at work in this folder \(process {first.pid} on "):
            refused(lock)
    first.kill()
    first.wait()
    assert len(names(locks)) == 2
    one_run.forget_dead_run(lock, locks, "results/mine")
    one_run.begin(lock).close()


def test_a_run_begins_while_another_only_looks(started, tmp_path):
    started(HOLD.replace("sleep(60)", "sleep(0.3)"), str(tmp_path / "mine.run"))
    one_run.begin(tmp_path / "mine.run").close()


def test_only_the_locks_of_the_dead_run_s_study_are_removed(tmp_path, locks):
    one_run.forget_dead_run(tmp_path / "mine.run", locks, "results/mine")
    assert names(locks) == ["1.output.lock"]


def test_locks_of_a_run_on_another_machine_are_let_be(tmp_path, locks):
    (tmp_path / "mine.run").write_text("elsewhere 17\n")
    one_run.forget_dead_run(tmp_path / "mine.run", locks, "results/mine")
    assert len(names(locks)) == 2


def test_what_a_killed_run_left_at_work_is_ended(started, tmp_path, monkeypatch):
    lock = tmp_path / "mine.run"
    monkeypatch.setattr(one_run, "PATIENCE_S", 0.5)
    mine = [started(ORPHAN, manners, **{one_run.MARK: str(lock)}) for manners in ("polite", "deaf")]
    other = started(ORPHAN, "polite", **{one_run.MARK: f"{lock}2"})
    assert one_run.stop_orphans(lock) == 2
    assert [process.wait(5) for process in mine] == [-15, -9]
    assert other.poll() is None


def test_files_from_the_future_are_dated_as_of_now(tmp_path):
    old, new = tmp_path / "tree/old", tmp_path / "tree/new"
    old.parent.mkdir()
    for path, seconds in ((old, -100), (new, 1000), (new.parent, 1000)):
        if path != new.parent:
            path.touch()
        os.utime(path, (time.time() + seconds,) * 2)
    before = old.stat().st_mtime
    assert one_run.mend_future(one_run.tree(tmp_path / "tree", tmp_path / "none")) == [new.parent, new]
    assert new.stat().st_mtime <= time.time()
    assert old.stat().st_mtime == before
