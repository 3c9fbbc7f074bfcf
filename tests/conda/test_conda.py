"""Every family of rules in its own conda environment, solved and linked from a local channel, with no network.

Opt-in (`make test-conda`), because it runs a study. What this proves, and what only conda-forge can: `channel.py`.
"""

import re
import stat
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = pytest.mark.conda

HERE = Path(__file__).parent
TORCH = version("torch").partition("+")[0]
FAMILIES = ("acquire", "prepare", "train", "evaluate", "report")
WALL = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")  # only the loopback device
FRONT = """#!/bin/sh
CONDA_FRONT_ROOT={root} exec {python} {front} "$@"
"""
ACTIVATE = """export CONDA_PREFIX="$1"
export PATH="$1/bin:$PATH"
hash -r
"""


@pytest.fixture(scope="module")
def channel(tmp_path_factory) -> Path:
    """A channel with everything that is installed beside this interpreter."""
    folder = tmp_path_factory.mktemp("conda") / "channel"
    subprocess.run([sys.executable, HERE / "channel.py", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def conda(channel) -> Path:
    """The `conda` that Snakemake calls."""
    root = channel.parent
    (root / "bin").mkdir()
    (root / "bin/activate").write_text(ACTIVATE)
    command = root / "bin/conda"
    command.write_text(FRONT.format(root=root, python=sys.executable, front=HERE / "front.py"))
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return command


@pytest.fixture(scope="module")
def study(smallest_study):
    return smallest_study()


@pytest.fixture(scope="module")
def run(channel, conda, study) -> Callable[..., subprocess.CompletedProcess]:
    """Runs the smallest study as a user with conda would, behind a wall, with modules about that must not leak in."""
    if subprocess.run([*WALL, "true"], capture_output=True).returncode != 0:
        pytest.skip("a network namespace needs root: nothing would keep the environments from the network")
    outside = channel.parent / "outside"
    outside.mkdir()
    for module in ("nibabel", "universal_diffusion"):  # none that Snakemake itself imports
        (outside / f"{module}.py").write_text("raise ImportError('leaked in from outside')\n")
    variables = {
        "PATH": f"{conda.parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": str(outside),
        "CONDA_FRONT_CHANNEL": channel.as_uri(),
    }
    return lambda *arguments, **more: study.run("--use-conda", *arguments, before=WALL, **variables, **more)


@pytest.fixture(scope="module")
def finished(run) -> str:
    """The whole smallest study, every rule in its environment: what Snakemake said."""
    whole = run()
    assert whole.returncode == 0, whole.stderr[-4000:]
    return whole.stdout + whole.stderr


def environments(study) -> dict[str, Path]:
    """The environment of each family, told by the file that Snakemake keeps beside it."""
    texts = {(study.project.folder / f"envs/{family}.yaml").read_text(): family for family in FAMILIES}
    kept = (study.project.folder / ".snakemake/conda").glob("*.yaml")
    return {texts[path.read_text()]: path.with_suffix("") for path in kept if path.read_text() in texts}


def test_every_family_ran_in_an_environment_of_its_own(finished, study):
    made = environments(study)
    assert set(made) == set(FAMILIES)
    entered = {Path(path).name for path in re.findall(r"Activating conda environment: (\S+)", finished)}
    assert entered == {path.name for path in made.values()}


@pytest.mark.parametrize("family", FAMILIES)
def test_an_environment_lacks_what_its_file_does_not_ask_for(finished, study, family):
    python = environments(study)[family] / "bin/python"
    for module in ("snakemake", "universal_diffusion", "hypothesis"):
        assert subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode != 0, module


@pytest.mark.parametrize(
    ("family", "package", "rule", "target"),
    [
        ("acquire", "matplotlib-base", "phantom_montage", "figures/phantom.png"),
        ("prepare", "h5py", "inventory", "inventory.csv"),
        ("train", "monai", "cost", "tables/cost.csv"),
        ("evaluate", "nibabel", "score", "scores/parts/prior_mask.csv"),
        ("report", "seaborn", "training_curves", "figures/training.png"),
    ],
)
def test_a_package_missing_from_an_environment_file_stops_its_rules(
    finished, run, study, family, package, rule, target
):
    file = study.project.folder / f"envs/{family}.yaml"
    before = file.read_text()
    file.write_text(re.sub(rf"(?m)^  - {package}=.*\n", "", before))
    try:
        stopped = run("--rerun-triggers", "mtime", "--forcerun", rule, "--", f"results/smallest/{target}")
    finally:
        file.write_text(before)
    assert stopped.returncode != 0
    assert f"No module named '{package.removesuffix('-base')}'" in stopped.stdout + stopped.stderr


def test_a_pin_file_decides_what_an_environment_holds(finished, run, study, conda):
    made = environments(study)["report"]
    told = subprocess.run([conda, "list", "--explicit", "--prefix", made], capture_output=True, text=True, check=True)
    without = [line for line in told.stdout.splitlines() if "/seaborn-" not in line]
    assert len(without) == len(told.stdout.splitlines()) - 1
    pinned = study.project.folder / "envs/report.linux-64.pin.txt"
    pinned.write_text("\n".join(without) + "\n")
    try:
        stopped = run(
            "--rerun-triggers", "mtime", "--forcerun", "training_curves", "--", "results/smallest/figures/training.png"
        )
    finally:
        pinned.unlink()
    assert "No module named 'seaborn'" in stopped.stdout + stopped.stderr


def test_the_cuda_variant_is_refused_without_a_driver_and_made_with_one(run, study):
    only = ("--conda-create-envs-only", "--config", "pytorch=cuda")
    refused = run(*only)
    assert refused.returncode != 0
    assert "__cuda" in refused.stdout + refused.stderr
    made = run(*only, CONDA_OVERRIDE_CUDA="12.8")
    assert made.returncode == 0, made.stderr[-4000:]
    wanted = (study.project.folder / "envs/train.cuda.yaml").read_text()
    kept = (study.project.folder / ".snakemake/conda").glob("*.yaml")
    (environment,) = (path.with_suffix("") for path in kept if path.read_text() == wanted)
    assert [path.name for path in environment.glob("conda-meta/pytorch-2*.json")] == [f"pytorch-{TORCH}-cuda_0.json"]
