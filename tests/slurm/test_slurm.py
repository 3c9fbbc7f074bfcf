"""The workflow on a real SLURM of one node with a make-believe GPU, through the profile that the project ships.

Opt-in (`make test-slurm`), because it starts daemons as root and takes minutes.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slurm

CLUSTER = Path(__file__).parent / "cluster.sh"
DAEMONS = ("slurmctld", "slurmd", "munged", "sbatch")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Callable[..., str]:
    """A running cluster; calls `cluster.sh`."""
    if missing := [name for name in DAEMONS if shutil.which(name) is None]:
        pytest.skip(f"no SLURM here: {', '.join(missing)} not found")
    folder = tmp_path_factory.mktemp("cluster")
    for parent in folder.parents[:-2]:
        parent.chmod(0o755)

    def call(action: str, *arguments: str) -> str:
        done = subprocess.run([CLUSTER, action, folder, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        call("start")
        yield call
    finally:
        call("stop")


@pytest.fixture(scope="module")
def study(cluster, smallest_study, project_root):
    """The smallest study with the profile as a site would fill it in: its partitions, no account, no slurmdbd."""
    study = smallest_study()
    profile = yaml.safe_load((project_root / "workflow/profiles/slurm/profile.yaml").read_text())
    del profile["default-resources"]["slurm_account"]
    profile |= {
        "slurm-status-command": "squeue",
        "slurm-init-seconds-before-status-checks": 9,
        "latency-wait": 10,
        "keep-going": False,
    }
    folder = study.project.folder / "profile"
    folder.mkdir()
    (folder / "profile.yaml").write_text(yaml.safe_dump(profile))
    return study


def test_the_whole_study_runs_through_the_profile(study):
    done = study.run("--profile", "profile")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert (study.results / "claims.md").stat().st_size > 0
    jobs = subprocess.run(["sacct"], capture_output=True, text=True)
    assert jobs.returncode != 0  # no accounting here: Snakemake must have asked squeue
