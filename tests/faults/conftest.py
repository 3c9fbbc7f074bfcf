"""What the fault harness shares: one undisturbed study, copies of it to hurt, and the table of counts that it writes.

Opt-in (`make test-faults`): it runs studies and kills them for half an hour on two idle cores.
"""

import csv
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

APART = ("logs/*", "benchmarks/*", "models/*/tensorboard/*", "models/*/pictures/*")  # what is said while at work
# What two undisturbed runs do not share either, because it tells times, machine or folder: only looked for.
TELLS_TIME = (
    *("models/*/log.csv*", "models/*/README.md", "figures/training.*", "tables/cost.*", "tables/sampling_seconds.*"),
    *("figures/sampling_seconds.*", "scores/sampling_seconds.csv*", "claims*", "report.html"),
    *("seal.json", "provenance.json", "machine.json"),
)
NOT_YET = (".partial-", ".unfinished-", "last.safetensors", "log.partial.csv")  # names that say: not whole yet
COLUMNS = ["fault", "hurt", "times", "survived", "detected", "harmless", "silent", "minutes"]
BEGIN, END = "<!-- counts: written by make test-faults -->\n", "<!-- end of counts -->\n"


class FaultStudy:
    """The smallest study in a folder that may be copied and hurt."""

    def __init__(self, folder: Path, said: Path | None = None):
        """What a run says goes into the file `said`, or into one beside the folder."""
        self.folder, self.results = folder, folder / "results/smallest"
        self._said = said or folder.with_name(f"{folder.name}.txt")

    def copy(self, folder: Path, said: Path | None = None) -> "FaultStudy":
        """The same study in another folder, files with their dates."""
        return FaultStudy(Path(shutil.copytree(self.folder, folder, symlinks=True)), said)

    def start(self, *arguments: str, log: Path | None = None) -> subprocess.Popen:
        """Snakemake as a person starts it, in a process group of its own; what it says is in `log`, or in `told`."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "SNAKEMAKE"))}
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "smallest.yaml", *arguments]
        with open(log or self._said, "wb") as said:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=said, stderr=said, start_new_session=True
            )

    def told(self) -> str:
        """What the last run said."""
        return self._said.read_text(encoding="utf-8", errors="replace")

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run to the end: exit status and what was said."""
        return self.start(*arguments).wait(), self.told()

    def digests(self) -> dict[str, str]:
        """SHA-256 by path of every file under results; a word for those that tell the time."""
        found = {}
        for path in sorted(self.results.rglob("*")):
            name = path.relative_to(self.results).as_posix()
            if path.is_file() and not _matches(name, APART):
                told = _matches(name, TELLS_TIME)
                found[name] = "is there" if told else hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def empty(self) -> None:
        """Forget everything that was run."""
        for folder in (self.results, self.folder / ".snakemake"):
            shutil.rmtree(folder)

    def keep_every_step(self) -> None:
        """Let trainings write a checkpoint after each step: how a training runs, not what it makes."""
        path = self.folder / "smallest.yaml"
        configuration = yaml.safe_load(path.read_text())
        for name in ("mask_autoencoder", "image_autoencoder", "denoiser", "baseline"):
            configuration[name]["training"]["checkpoint_minutes"] = 0.0
        path.write_text(yaml.safe_dump(configuration))

    def remake(self, target: str) -> tuple[int, str]:
        """Remove one artefact and run until it is there again: exit status and what was said."""
        self.remove(target)
        return self.make(target)

    def make(self, target: str) -> tuple[int, str]:
        """Run until one artefact is there: exit status and what was said."""
        return self.run("--", f"{self.results.relative_to(self.folder)}/{target}")

    def remove(self, target: str) -> None:
        path = self.results / target
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def dates(self) -> dict[Path, int]:
        """When each file and folder under results was written, in nanoseconds."""
        return {path: path.stat().st_mtime_ns for path in [self.results, *self.results.rglob("*")]}

    def redate(self, dates: dict[Path, int]) -> None:
        """Give files that were made anew, in the same bytes, their old dates: nothing that follows them is due."""
        for path, date in dates.items():
            if path.exists():
                os.utime(path, ns=(date, date))

    def leftovers(self) -> list[str]:
        """Names under results that say that they are not whole."""
        return [str(path) for path in self.results.rglob("*") if path.name.startswith(NOT_YET)]


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


@pytest.fixture(scope="session")
def undisturbed(smallest_study) -> tuple[FaultStudy, dict[str, str]]:
    """A study that nothing has hurt, and its digests; FAULTS_STUDY may name one made before, to try a single test."""
    study = FaultStudy(Path(os.environ.get("FAULTS_STUDY") or smallest_study().project.folder))
    status, said = study.run()
    assert status == 0, said[-4000:]
    return study, study.digests()


@pytest.fixture
def fresh(undisturbed, tmp_path) -> FaultStudy:
    """The same study, not run yet, with a checkpoint after every training step."""
    study = undisturbed[0].copy(tmp_path / "study")
    study.empty()
    study.keep_every_step()
    return study


@pytest.fixture
def hurt(undisturbed, tmp_path) -> FaultStudy:
    """A copy of the finished study, to hurt."""
    return undisturbed[0].copy(tmp_path / "study")


@pytest.fixture(scope="session")
def different() -> Callable[[FaultStudy, dict[str, str]], list[str]]:
    """Names of the files that a study lacks, has besides, or has with other bytes than those digests say."""

    def compare(study: FaultStudy, whole: dict[str, str]) -> list[str]:
        found = study.digests()
        return sorted(name for name in found.keys() | whole.keys() if found.get(name) != whole.get(name))

    return compare


@pytest.fixture(scope="session")
def counted(project_root) -> Iterator[Callable[..., None]]:
    """Takes a row of counts; at the end docs/faults.csv and the table in docs/reliability.md have them."""
    rows = {}
    yield lambda fault, **counts: rows.update({fault: {"fault": fault, "minutes": ""} | counts})
    path = project_root / "docs/faults.csv"
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            rows = {row["fault"]: row for row in csv.DictReader(file)} | rows
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval=0, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())
    _print_table(path, project_root / "docs/reliability.md")


def _print_table(counts: Path, page: Path) -> None:
    """Put the counts between the marks of the page, as a table."""
    with counts.open(encoding="utf-8", newline="") as file:
        heads, *rows = csv.reader(file)
    lines = "".join(f"| {' | '.join(row)} |\n" for row in (heads, ["---"] * len(heads), *rows))
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(before + BEGIN + lines + END + rest.partition(END)[2], encoding="utf-8")
