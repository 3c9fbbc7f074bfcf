"""What a benchmark leaves behind: its rows as CSV, and a page that also names the machine and the commit."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.tables import write_csv
from universal_diffusion.evaluation.tracing.provenance import commit, machine
from universal_diffusion.files import write_text


def seconds(work: Callable[[], object], repeats: int, before: Callable[[], object] = lambda: None) -> float:
    """Median wall time of `work` over some repeats; `before` runs ahead of each and is not timed."""
    times = []
    for _ in range(repeats):
        before()
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def peak_gib() -> float:
    """The largest resident memory that this process ever had."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def forget(paths: Sequence[Path]) -> None:
    """Drop files from the page cache, so that the next read comes from the disk, as with a store larger than memory."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)  # only clean pages can be dropped
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def write_record(csv: Path, rows: pd.DataFrame, title: str, notes: Sequence[str]) -> None:
    """Write the rows to `csv` and the page beside it as Markdown."""
    write_csv(csv, rows)
    texts = rows.map(_text)
    page = tables.Printed(texts, tables.unmarked(texts), f"# {title}\n\n{_where()}", tuple(notes), label="")
    write_text(csv.with_suffix(".md"), tables.markdown(page))


def _where() -> str:
    hardware, state = machine(), commit(Path.cwd(), apart="benchmarks")  # where the records themselves lie
    gpus = ", ".join(hardware["gpus"]) or "no GPU"
    changed = " with uncommitted changes" if state["dirty"] else ""
    return (
        f"Measured on {hardware['cores']} cores of {hardware['processor']}, {hardware['memory_gib']} GiB, {gpus}, "
        f"{hardware['system']}, at commit {state['commit']}{changed}."
    )


def _text(value: object) -> str:
    """A number with three significant digits at least, anything else as it is."""
    if isinstance(value, float):
        return tables.NOTHING if pd.isna(value) else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
