"""The shipped profile where SLURM keeps accounts: jobs are charged to its account, and a wrong one is told at once."""

import subprocess

import pytest

pytestmark = pytest.mark.slurm

ONE = "results/smallest/figures/phantom.png"


@pytest.fixture(scope="module")
def cluster(start_cluster):
    yield from start_cluster("acct")


@pytest.fixture(scope="module")
def study(cluster, slurm_study):
    return slurm_study()


def test_jobs_are_charged_to_the_account_of_the_profile(study):
    study.run("--", ONE, profile=study.profile(account=True))
    told = ["sacct", "-X", "-n", "-P", "-o", "Account,State,Partition,Comment"]
    charged = subprocess.run(told, capture_output=True, text=True, check=True).stdout.split()
    assert charged == ["project|COMPLETED|cpu|rule_phantom_montage"]


def test_an_account_that_does_not_exist_ends_the_run(study):
    (study.study.project.folder / ONE).unlink()
    profile = study.profile(account=True, phantom_montage={"slurm_account": "'nobody'"})
    done = study.study.run("--profile", profile, "--", ONE)
    assert done.returncode != 0
    assert "nobody" in done.stdout + done.stderr
