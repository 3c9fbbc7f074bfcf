"""What an earlier run left: results, a run at work, locks and processes of a dead one."""

import fcntl
import socket
from pathlib import Path

from universal_diffusion import one_run
from universal_diffusion.doctor.finding import Asked, Finding
from universal_diffusion.systems import VARIANTS


def check_results(asked: Asked) -> list[Finding]:
    """What is made, then who holds it."""
    return [_made(asked), *_locks(asked)]


def _made(asked: Asked) -> Finding:
    results, study = asked.results, asked.study
    if not results.exists():
        return Finding("results", f"none yet; they go to {results}")
    stored = sum((results / "volumes" / name).exists() for name in study.sources)
    trained = sum((results / "models" / system.key / "card.json").exists() for system in VARIANTS)
    whole = "whole" if (results / "seal.json").exists() else "not finished; a run goes on from there"
    text = f"{results}: {stored} of {len(study.sources)} sources harmonised, {trained} of {len(VARIANTS)} variants"
    return Finding("results", f"{text} trained; {whole}")


def _locks(asked: Asked) -> list[Finding]:
    lock = asked.project / ".snakemake" / f"{asked.study.study}.run"
    if holder := living_run(lock):
        remedy = "wait for its end, or stop it: a run begun after that goes on from there"
        return [Finding("locks", f"a run of this study is at work (process {holder})", "missing", remedy)]
    orphans = one_run.marked(lock)
    left = stale_locks(asked)
    lines = []
    if orphans:
        text = f"{len(orphans)} steps of a killed run are still at work; the next run ends them"
        lines.append(Finding("locks", text, "note"))
    if left and _last_machine(lock) in ("", socket.gethostname()):
        lines.append(Finding("locks", f"{len(left)} of a dead run; the next run clears them", "note"))
    elif left:
        remedy = "where no run is at work there: snakemake --unlock with this --configfile"
        lines.append(Finding("locks", f"{len(left)}, of a run on {_last_machine(lock)}", "missing", remedy))
    return lines or [Finding("locks", "none")]


def living_run(lock: Path) -> str | None:
    """Machine and process of the run that holds the lock, None where nobody does; takes and changes nothing."""
    if not lock.is_file():
        return None
    with open(lock, encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            machine, _, process = file.read().strip().partition(" ")
            return f"{process} on {machine}"
    return None


def stale_locks(asked: Asked) -> list[Path]:
    """Snakemake's lock files that name results of the study."""
    start = f"results/{asked.study.study}/"
    paths = (asked.project / ".snakemake" / "locks").glob("*.lock")
    return [path for path in paths if any(line.startswith(start) for line in path.read_text().splitlines())]


def _last_machine(lock: Path) -> str:
    return lock.read_text(encoding="utf-8").partition(" ")[0].strip() if lock.is_file() else ""
