"""The whole study on SLURM through the shipped profile, then its jobs in the trouble that clusters bring.

Opt-in (`make test-slurm`), because it starts daemons as root and takes minutes.
"""

import math
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import pandas as pd
import pytest

pytestmark = pytest.mark.slurm

MODEL = "coarser_mask_autoencoder"  # what comes after it is not asked for
CARD = f"results/smallest/models/{MODEL}/card.json"
STEPS = 30
PATIENCE_S = 240
NODE_AWAY_S = 5
TROUBLED_S = 60  # of training: time limits are looked at every 30 seconds
LOSS_TOLERANCE = 1e-3  # relative: several processes add up gradients in another order
MEMORY_CONTROLLER = Path("/sys/fs/cgroup/memory")  # of cgroup v1


@pytest.fixture(scope="module")
def cluster(start_cluster):
    """Where nobody keeps accounts; memory is enforced where it can be."""
    yield from start_cluster(*(["cgroup"] if MEMORY_CONTROLLER.is_dir() else []))


@pytest.fixture(scope="module")
def whole(cluster, slurm_study):
    """The study when all of it has run, the losses of MODEL, what Snakemake said, what SLURM says of every job.

    One of them asked for less memory than it needs.
    """
    study = slurm_study()
    study.edit("workflow/rules/harmonise.smk", "rule overlays:", "escalating(8000)", "escalating(250)")
    study.configure("smallest.yaml", "mask_autoencoder", STEPS)
    said = study.run(profile=study.profile())
    return study, losses(study), said, [cluster.job(number) for number in submitted(said)]


@pytest.fixture(scope="module")
def study(whole):
    return whole[0]


def longer(study, seconds: float) -> str:
    """A configuration with as many steps of MODEL's training as take so many seconds here."""
    each = median(float(row["seconds"]) for row in study.study.rows(f"models/{MODEL}/log.csv")[1:])
    return study.configure("longer.yaml", "mask_autoencoder", math.ceil(seconds / each))


def submitted(said: str) -> list[str]:
    """The numbers of the SLURM jobs that Snakemake asked for."""
    return re.findall(r"submitted with SLURM jobid (\d+)", said)


def of(rule: str, jobs: list[str], what: str) -> list[str]:
    """What SLURM says of a rule's jobs, as a pattern finds it."""
    return [re.search(what, told)[1] for told in jobs if f"Comment=rule_{rule} " in told]


def losses(study) -> pd.DataFrame:
    """The log of MODEL's training, without what it says of time."""
    rows = pd.DataFrame(study.study.rows(f"models/{MODEL}/log.csv")).drop(columns=["seconds", "wait_seconds"])
    return rows.apply(pd.to_numeric)


def resumed(study) -> int:
    """The step that MODEL's training went on from at last; its log must have every step once."""
    steps = [int(row["step"]) for row in study.study.rows(f"models/{MODEL}/log.csv")]
    assert steps == list(range(len(steps)))
    log = (study.results / f"logs/{MODEL}.log").read_text()
    return int(re.search(r"resuming after (\d+) steps", log)[1])


def test_the_whole_study_runs_through_the_profile(whole):
    study, _, said, jobs = whole
    assert (study.results / "claims.md").stat().st_size > 0
    assert (study.results / "report.html").stat().st_size > 0
    accounts = subprocess.run(["sacct"], capture_output=True)
    assert accounts.returncode != 0  # so Snakemake must have asked squeue
    steps = int(re.findall(r"(\d+) of \1 steps \(100%\) done", said)[-1])
    assert len(jobs) < 0.7 * steps  # others ran beside Snakemake, or shared a SLURM job
    assert of("denoiser_wildcards_mask_clip", jobs, r"TresPerJob=(\S+)") == ["gres:gpu:1"]


@pytest.mark.skipif(not MEMORY_CONTROLLER.is_dir(), reason="without cgroup v1 this SLURM does not enforce memory")
def test_a_job_out_of_memory_gets_more(study, whole):
    *_, jobs = whole
    *killed, last = of("overlays", jobs, r"JobState=(\w+)")
    assert killed
    assert set(killed) <= {"OUT_OF_MEMORY", "FAILED"}  # FAILED where only a process of its step was killed
    assert last == "COMPLETED"
    asked = [int(memory) for memory in of("overlays", jobs, r"mem=(\d+)M")]
    assert asked == [250 * attempt for attempt in range(1, len(asked) + 1)]
    (log,) = of("overlays", jobs, r"StdOut=(\S+)")[:1]
    assert "oom-kill" in Path(log).read_text()


@pytest.fixture(scope="module")
def troubled(study, cluster):
    """One training that loses its GPU to a more urgent job, then its node, which comes back, and then runs out of time.

    It writes no checkpoint by the clock before minutes are over: it goes on from what it kept at a SIGTERM.
    """
    events = study.results / "models" / MODEL / "tensorboard"
    known = set(events.glob("*"))
    met = []

    def await_start() -> None:
        until = time.monotonic() + PATIENCE_S
        while set(events.glob("*")) <= known:
            assert time.monotonic() < until, f"no training began after {met or 'the submission'}"
            time.sleep(0.2)
        known.update(events.glob("*"))

    def trouble() -> None:
        await_start()
        urgent = ["sbatch", "--wait", "--partition=urgent", "--gpus=4", "--output=/dev/null", "--wrap=sleep 1"]
        subprocess.run(urgent, check=True, capture_output=True)
        met.append("a more urgent job")
        await_start()
        cluster.do("node", "fail")
        time.sleep(NODE_AWAY_S)
        cluster.do("node", "return")
        met.append("a failed node")
        await_start()
        cluster.end_time()
        met.append("its time limit")
        await_start()

    configuration, profile = longer(study, TROUBLED_S), study.profile()
    with ThreadPoolExecutor() as pool:
        meanwhile = pool.submit(trouble)
        said = study.run("--configfile", configuration, "--forcerun", MODEL, "--", CARD, profile=profile)
        meanwhile.result()
    return said, [cluster.job(number) for number in submitted(said)]


def test_a_training_goes_on_after_a_more_urgent_job_and_a_failed_node(troubled):
    """SLURM itself puts the job back in the queue both times: Snakemake submits it once and waits."""
    _, (job, _) = troubled
    assert int(re.search(r"Restarts=(\d+)", job)[1]) == 2


def test_a_training_goes_on_after_its_time_limit(study, troubled):
    """Snakemake submits a new job, which must have less to do than the first had."""
    said, jobs = troubled
    assert [re.search(r"JobState=(\w+)", job)[1] for job in jobs] == ["TIMEOUT", "COMPLETED"]
    assert said.count("Trying to restart") == 1
    assert resumed(study) > 0


SRUN = "srun --nodes={nodes} --ntasks-per-node={each} --cpus-per-task={cpus} --kill-on-bad-exit=1"
TORCHRUN = "torchrun --nnodes=2 --nproc-per-node=2 --rdzv-backend=c10d --rdzv-endpoint=$(hostname):29500 --no-python"


@pytest.mark.parametrize(
    ("nodes", "launcher"),
    [
        (1, SRUN.format(nodes=1, each=2, cpus=1)),
        (2, SRUN.format(nodes=2, each=2, cpus=1)),
        (2, f"{SRUN.format(nodes=2, each=1, cpus=2)} {TORCHRUN}"),
    ],
    ids=["srun on one node", "srun on two nodes", "torchrun on two nodes"],
)
def test_several_processes_train_what_one_does(study, whole, cluster, nodes, launcher):
    """Two on each node share the batch, on CPUs, with gloo between them; srun starts them, or a torchrun per node."""
    resources = {"gpu": 0, "mpi": "'srun'", "nodes": nodes, "tasks_per_node": 2, "launcher": repr(launcher)}
    profile = study.profile(**{MODEL: resources | {"slurm_partition": "'both'"}})
    said = study.run("--forcerun", MODEL, "--", CARD, profile=profile)
    log = (study.results / f"logs/{MODEL}.log").read_text()
    assert f"Starting with {2 * nodes} processes" in log
    (number,) = submitted(said)
    assert f"NumNodes={nodes} NumCPUs={2 * nodes} NumTasks={2 * nodes} " in cluster.job(number)
    alone = whole[1]
    assert len(alone) == STEPS
    pd.testing.assert_frame_equal(alone, losses(study), rtol=LOSS_TOLERANCE)
