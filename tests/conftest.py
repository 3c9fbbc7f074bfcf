"""What tests of the whole project share: a copy of it to run the workflow in."""

import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import hypothesis
import pytest
import yaml

ROOT = Path(__file__).parents[1]
hypothesis.settings.register_profile("any pace", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("any pace")
PARTS = ("Snakefile", "requirements.lock", "workflow", "profiles", "config", "envs", "src")


class Project:
    """A copy of the project in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part, **({"ignore": _caches} if copy is shutil.copytree else {}))

    def snakemake(self, *arguments: str, before: Sequence[str] = (), **variables: str) -> subprocess.CompletedProcess:
        """Run Snakemake as a person would: no activated environment, no inherited settings but these `variables`.

        `before` are the words of a command that runs it, say in a network namespace.
        """
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "SNAKEMAKE"))}
        environment |= variables
        command = [*before, sys.executable, "-m", "snakemake", *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)


def smallest(configuration: dict) -> dict:
    """The embedded study with three sources, eight scans and a handful of training steps."""
    cases = {"msd07": 3, "amos": 3, "ircadb": 2}
    few = {"steps": 4, "batch": 4, "warmup": 1, "validate_every": 4}
    networks = {
        name: configuration[name] | {"training": configuration[name]["training"] | few}
        for name in ("mask_autoencoder", "image_autoencoder", "denoiser", "baseline")
    }
    changes = {
        "study": "smallest",
        "cohort": "eight synthetic scans",
        "sources": {name: configuration["sources"][name] for name in cases},
        "phantom": configuration["phantom"] | {"matrix": 64, "slice_spacing_mm": [8.0, 10.0], "cases": cases},
        "preparation": configuration["preparation"] | {"spacing_mm": [12.0, 12.0, 16.0], "patch": 32},
        "segmentation": configuration["segmentation"] | {"steps": 1, "ensemble": 2},
        "sweep": {"steps": [1], "ensembles": [1], "cases": 1},
    }
    return configuration | networks | changes


class Study:
    """The smallest study in a copy of the project."""

    def __init__(self, project: Project):
        self.project = project
        self.results = project.folder / "results" / "smallest"
        configuration = yaml.safe_load((project.folder / "config/config.yaml").read_text())
        (project.folder / "smallest.yaml").write_text(yaml.safe_dump(smallest(configuration)))

    def run(self, *arguments: str, before: Sequence[str] = (), **variables: str) -> subprocess.CompletedProcess:
        """Run the workflow on this study; `before` and `variables` as of `Project.snakemake`."""
        given = ("--cores", "2", "--configfile", "smallest.yaml", *arguments)
        return self.project.snakemake(*given, before=before, **variables)

    def planned(self) -> dict[str, int]:
        """Jobs by rule that a run would do now."""
        run = self.run("-n")
        assert run.returncode == 0, run.stderr
        return {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", run.stdout + run.stderr, re.MULTILINE)}

    def rows(self, path: str) -> list[dict[str, str]]:
        with open(self.results / path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


_caches = shutil.ignore_patterns("__pycache__", "*.egg-info")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The whole studies first: they take longest, and what comes last may keep one worker busy and the others not."""
    items.sort(key=lambda item: item.get_closest_marker("study") is None)


@pytest.fixture(scope="session")
def project_copy(tmp_path_factory) -> Callable[[], Project]:
    """Makes a fresh copy of the project."""
    return lambda: Project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def smallest_study(project_copy) -> Callable[[], Study]:
    """Makes a smallest study, not run yet, in a fresh copy of the project."""
    return lambda: Study(project_copy())


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The project itself."""
    return ROOT
