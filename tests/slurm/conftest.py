"""A real SLURM of two nodes on this machine; the smallest study on it through the profile that is shipped."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml

CLUSTER = Path(__file__).parent / "cluster.sh"
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
ACCOUNTING = ("slurmdbd", "sacctmgr", "mariadbd")


class Cluster:
    """One that runs; `cluster.sh` does the work."""

    def __init__(self, folder: Path):
        self._folder = folder

    def do(self, *words: str) -> None:
        action, *arguments = words
        done = subprocess.run([CLUSTER, action, self._folder, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def jobs(self) -> dict[str, str]:
        """The state of every job by the number it has, newest last."""
        told = subprocess.run(
            ["squeue", "--states=all", "-h", "-S", "i", "-o", "%i %T"], capture_output=True, text=True
        )
        return dict(line.split() for line in told.stdout.splitlines())

    def end_time(self) -> None:
        """Let the time of the job that runs be over now (a limit is given in minutes, but an end as a moment)."""
        (running,) = [number for number, state in self.jobs().items() if state == "RUNNING"]
        subprocess.run(["scontrol", "update", f"JobId={running}", "EndTime=now+2"], check=True, capture_output=True)

    def job(self, number: str) -> str:
        """All that the controller knows of a job."""
        return subprocess.run(["scontrol", "show", "job", number], capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def start_cluster() -> Callable[..., Iterator[Cluster]]:
    """Runs a cluster with `words` of `cluster.sh start` for as long as the fixture that yields from it lives."""

    def start(*words: str) -> Iterator[Cluster]:
        needed = (*PROGRAMS, *(ACCOUNTING if "acct" in words else ()))
        if missing := [name for name in needed if shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None]:
            pytest.skip(f"no SLURM here: {', '.join(missing)} not found")
        if os.geteuid():
            pytest.skip("no SLURM here: its daemons are started as root")
        with TemporaryDirectory(prefix="slurm-") as folder:  # not pytest's, into which MariaDB's user may not look
            cluster = Cluster(Path(folder))
            try:
                cluster.do("start", *words)
                yield cluster
            finally:
                cluster.do("stop")

    return start


class SlurmStudy:
    """A smallest study whose Snakemake asks the cluster, with the shipped profile as a site would fill it in."""

    def __init__(self, study):
        self.study = study
        self.results = study.results
        self._shipped = yaml.safe_load((study.project.folder / "workflow/profiles/slurm/profile.yaml").read_text())

    def configure(self, name: str, section: str, steps: int, **training: float) -> str:
        """Write the study's configuration with other settings of one section's training into file `name`."""
        folder = self.study.project.folder
        configuration = yaml.safe_load((folder / "smallest.yaml").read_text())
        configuration[section]["training"] |= {"steps": steps, "validate_every": steps} | training
        (folder / name).write_text(yaml.safe_dump(configuration))
        return name

    def edit(self, path: str, after: str, old: str, new: str) -> None:
        """Replace what first follows `after` in a file of the project's copy."""
        file = self.study.project.folder / path
        head, found, tail = file.read_text().partition(after)
        assert found
        assert old in tail
        file.write_text(head + found + tail.replace(old, new, 1))

    def profile(self, account: bool = False, **rules: dict) -> str:
        """The folder of a profile that polls often, with other resources for some rules."""
        profile = deepcopy(self._shipped) | {"slurm-init-seconds-before-status-checks": 5, "latency-wait": 10}
        if not account:
            del profile["default-resources"]["slurm_account"]
        for rule, resources in rules.items():
            profile["set-resources"][rule] = profile["set-resources"].get(rule, {}) | resources
        folder = self.study.project.folder / "profile"
        folder.mkdir(exist_ok=True)
        (folder / "profile.yaml").write_text(yaml.safe_dump(profile))
        return folder.name

    def run(self, *arguments: str, profile: str = "profile", **variables: str) -> str:
        """What Snakemake said; it must succeed."""
        done = self.study.run("--profile", profile, *arguments, **variables)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-6000:]
        return said


@pytest.fixture(scope="session")
def slurm_study(smallest_study) -> Callable[[], SlurmStudy]:
    """Makes a study, not run yet."""
    return lambda: SlurmStudy(smallest_study())
