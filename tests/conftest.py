"""What tests of the whole project share: a copy of it to run the workflow in."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "workflow", "config", "envs", "src")


class Project:
    """A copy of the project in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part, **({"ignore": _caches} if copy is shutil.copytree else {}))

    def snakemake(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        """Run Snakemake as a person would: no activated environment, no inherited settings but these `variables`."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "SNAKEMAKE"))}
        environment |= variables
        command = [sys.executable, "-m", "snakemake", *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)


_caches = shutil.ignore_patterns("__pycache__", "*.egg-info")


@pytest.fixture(scope="session")
def project_copy(tmp_path_factory) -> Callable[[], Project]:
    """Makes a fresh copy of the project."""
    return lambda: Project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The project itself."""
    return ROOT
