"""Fifty kills at seeded moments, of steps, of Snakemake and of both; then a plain run ends in the same bytes."""

import base64
import csv
import hashlib
import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.faults

KILLS, RULES = 50, 12
LONGEST_S = 300  # that a moment is waited for
MOMENTS = {"step": ["any", "writing"], "snakemake": ["any", "writing", "ended"], "all": ["any", "writing", "ended"]}


@dataclass(frozen=True)
class Step:
    """A step at work: its process, and the log that names its rule."""

    process: int
    log: str

    def lives(self) -> bool:
        return Path(f"/proc/{self.process}/fd/1").is_symlink()

    def writing(self, results: Path) -> str:
        """A file under results that it has open to write this moment, its logs apart; none is an empty name."""
        with suppress(OSError):
            for handle in Path(f"/proc/{self.process}/fd").iterdir():
                target = os.readlink(handle)
                if target.startswith(f"{results}/") and not re.search("/(logs|tensorboard)/|log.partial", target):
                    flags = Path(f"/proc/{self.process}/fdinfo/{handle.name}").read_text()
                    if int(re.search(r"flags:\s+(\d+)", flags)[1], 8) & os.O_ACCMODE:
                        return target.removeprefix(f"{results}/")
        return ""


@dataclass(frozen=True)
class Kill:
    """What was killed, at which moment, seconds after the step began, and what was being written then."""

    what: str
    rule: str
    moment: str
    seconds: float
    writing: str


def steps(study) -> list[Step]:
    """Steps at work in the study's folder, by process; those that a step has forked are left out."""
    found, logs = {}, f"{study.results}/logs/"
    for line in sorted(Path("/proc").glob("[0-9]*/cmdline"), key=lambda path: int(path.parent.name)):
        with suppress(OSError, ValueError):
            words = line.read_bytes().split(b"\0")
            said = os.readlink(line.with_name("fd") / "1")
            if said.startswith(logs) and words[words.index(b"-m") + 1].startswith(b"universal_diffusion."):
                found.setdefault(said, Step(int(line.parent.name), said.removeprefix(logs)))
    return list(found.values())


class Killer:
    """Runs a study and kills what a seeded generator says at moments that it draws."""

    def __init__(self, study, reference, seed: int):
        self.study, self.reference, self.random = study, reference, np.random.default_rng(seed)
        self.kills: list[Kill] = []
        self.named = 0  # of the killed steps, those whose run said so
        self._seen: set[Step] = set()

    def round(self) -> bool:
        """Start Snakemake and kill once; whether the run came to its end."""
        what = str(self.random.choice(list(MOMENTS)))
        moment = str(self.random.choice(MOMENTS[what]))
        skipped, share = int(self.random.integers(0, 4)), float(self.random.uniform(0, 1))
        before = len(self.kills)
        snakemake = self.study.start()
        while step := self._next(snakemake, skipped):
            begun = time.monotonic()
            if self._await(step, moment, share):
                self._kill(what, step, moment, time.monotonic() - begun, snakemake)
                break
            skipped = 0
        if snakemake.wait() == 0:
            del self.kills[before:]  # it came too late to hurt anything
            return True
        assert len(self.kills) > before, self.study.told()[-4000:]
        self.named += "the step was killed (SIGKILL)" in self.study.told()
        return False

    def _next(self, snakemake, skipped: int) -> Step | None:
        """The step that begins after `skipped` others have; None when the run ends before."""
        while snakemake.poll() is None:
            for step in steps(self.study):
                if step not in self._seen:
                    self._seen.add(step)
                    if skipped == 0:
                        return step
                    skipped -= 1
            time.sleep(0.02)
        return None

    def _await(self, step: Step, moment: str, share: float) -> bool:
        """Wait for a share of the step's own time, until it has a file open to write, or just past its end."""
        begun, lasts = time.monotonic(), self._lasts(step)
        while step.lives() and time.monotonic() - begun < LONGEST_S:
            if moment == "any" and time.monotonic() - begun >= share * lasts:
                return True
            if moment == "writing" and step.writing(self.study.results):
                return True
            time.sleep(0.0005)
        if moment == "ended":
            time.sleep(share * 0.1)
        return moment == "ended"

    def _lasts(self, step: Step) -> float:
        """Seconds that it took in the undisturbed study."""
        with open((self.reference.results / "benchmarks" / step.log).with_suffix(".tsv")) as file:
            return float(next(csv.DictReader(file, delimiter="\t"))["s"])

    def _kill(self, what: str, step: Step, moment: str, seconds: float, snakemake) -> None:
        writing = step.writing(self.study.results)
        with suppress(ProcessLookupError):
            if what == "step":
                os.kill(step.process, signal.SIGKILL)
            elif what == "snakemake":
                snakemake.kill()
            else:
                os.killpg(snakemake.pid, signal.SIGKILL)
            rule = step.log.removesuffix(".log").split("/")[0]
            self.kills.append(Kill(what, rule, moment, round(seconds, 2), writing))


def torn(study, whole: dict[str, str], known: dict[str, int]) -> list[str]:
    """Files under their final names with other bytes than the undisturbed run's that nothing calls incomplete.

    `known` holds the dates of those that were found to be the same.
    """
    marks = [path for path in (study.folder / ".snakemake/incomplete").rglob("*") if path.is_file()]
    incomplete = {_marked(path, study) for path in marks}
    found = []
    for name in whole:
        path = study.results / name
        with suppress(FileNotFoundError, NotADirectoryError):
            changed = path.stat().st_mtime_ns
            if not {name, *map(str, Path(name).parents)} & incomplete and known.get(name) != changed:
                if whole[name] not in ("is there", hashlib.sha256(path.read_bytes()).hexdigest()):
                    found.append(name)
                known[name] = changed
    return found


def _marked(mark: Path, study) -> str:
    parts = mark.relative_to(study.folder / ".snakemake/incomplete").parts
    key = base64.urlsafe_b64decode("".join(part.removeprefix("@") for part in parts)).decode()
    return key.removeprefix(f"{study.results.relative_to(study.folder)}/")


def test_killed_fifty_times_it_ends_in_the_same_bytes(undisturbed, fresh, counted, different, project_root):
    reference, whole = undisturbed
    begun, killer, half, ended, known = time.monotonic(), Killer(fresh, reference, seed=7), [], False, {}
    while len(killer.kills) < KILLS or not ended:
        if ended:
            fresh.empty()
            known.clear()
        if len(killer.kills) < KILLS:
            ended = killer.round()
        else:
            status, said = fresh.run()
            assert status == 0, said[-4000:]
            ended = True
        half += torn(fresh, whole, known)
        if ended:
            assert different(fresh, whole) == []
            assert fresh.leftovers() == []
    with open(project_root / "docs/kills.csv", "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerows([tuple(Kill.__annotations__), *map(astuple, killer.kills)])
    assert half == []
    assert killer.named == sum(kill.what == "step" for kill in killer.kills)
    assert len({kill.rule for kill in killer.kills}) >= RULES
    hurt = "a step, Snakemake alone (its steps live on), or all at once"
    minutes = round((time.monotonic() - begun) / 60, 1)
    kills = len(killer.kills)
    counted("kill -9", hurt=hurt, times=kills, survived=kills, detected=killer.named, minutes=minutes)
