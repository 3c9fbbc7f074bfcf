"""`universal-diffusion doctor`, on machines made of real files, environment variables and programs on the PATH."""

import fcntl
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from universal_diffusion import cli
from universal_diffusion.costs.amounts import Range
from universal_diffusion.doctor.disk import Step, verdict
from universal_diffusion.doctor.online import server_of, summary, trouble

PARTS = ("Snakefile", "requirements.lock", "config", "benchmarks", "workflow")
PAPER = ("--configfile", "config/paper.yaml")
SLURM = ("--profile", "workflow/profiles/slurm")
TOKEN = "SYNAPSE_AUTH_TOKEN"
CLUSTER = {"sinfo": 'case "$*" in *%G*) echo gpu:h200:2 ;; *) echo cpu; echo gpu ;; esac', "sacct": "exit 1"}
H200 = {"nvidia-smi": "echo 'NVIDIA H200, 143771, 550.54.15'"}
TORCH = """\
import warnings
class cuda:
    is_available = staticmethod(lambda: {seen} > 0 or bool(warnings.warn("{why}")))
    device_count = staticmethod(lambda: {seen})
"""


class Machine:
    """A project's folder, and a PATH with nothing but the programs that a test puts there."""

    def __init__(self, folder: Path, root: Path, monkeypatch, capsys):
        self.folder, self.programs, self._monkeypatch, self._capsys = folder, folder / "bin", monkeypatch, capsys
        self.programs.mkdir()
        for part in PARTS:
            (folder / part).symlink_to(root / part)
        for name in (TOKEN, "CUDA_VISIBLE_DEVICES", "PYTHONPATH"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PATH", str(self.programs))
        monkeypatch.chdir(folder)

    def install(self, programs: dict[str, str]) -> None:
        for name, body in programs.items():
            (self.programs / name).write_text(f"#!/bin/sh\n{body}\n")
            (self.programs / name).chmod(stat.S_IRWXU)

    def sees(self, gpus: int, why: str = "") -> None:
        """Give child processes a PyTorch that sees so many GPUs."""
        (self.folder / "torch.py").write_text(TORCH.format(seen=gpus, why=why))
        self._monkeypatch.setenv("PYTHONPATH", str(self.folder))

    def put(self, path: str, text: str = "") -> Path:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    def replace(self, part: str, *changes: tuple[str, str]) -> None:
        """Put a changed copy in the place of a file of the project."""
        text = (self.folder / part).read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (self.folder / part).unlink()
        self.put(part, text)

    def doctor(self, *arguments: str) -> tuple[int, list[str]]:
        """Exit status and lines."""
        status = 0
        try:
            cli.main(["doctor", *arguments])
        except SystemExit as ended:
            status = ended.code
        told = self._capsys.readouterr()
        return status, (told.out + told.err).splitlines()


@pytest.fixture
def machine(tmp_path, project_root, monkeypatch, capsys) -> Machine:
    return Machine(tmp_path, project_root, monkeypatch, capsys)


def about(lines: list[str], topic: str) -> list[str]:
    return [line for line in lines if line[8:].startswith(f"{topic} ")]


def remedy_of(lines: list[str], part: str) -> str:
    (number,) = (number for number, line in enumerate(lines) if part in line)
    return lines[number + 1]


def test_the_embedded_study_needs_nothing_and_no_torch(project_root):
    code = "import sys; from universal_diffusion.cli import main; main(['doctor']); assert 'torch' not in sys.modules"
    started = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project_root)
    assert time.perf_counter() - started < 10  # under three seconds on a machine that does nothing else
    assert run.returncode == 0 or "MISSING" in run.stdout  # what a developer's machine lacks is not this test's to say
    assert "AssertionError" not in run.stderr
    assert len(run.stdout.splitlines()) < 40
    assert "none, and this study needs none" in run.stdout


def test_what_the_paper_lacks_is_told_with_its_remedy(machine):
    status, lines = machine.doctor(*PAPER)
    assert status == 1
    missing = [number for number, line in enumerate(lines) if line.startswith("MISSING")]
    assert {"gpu", "credentials"} <= {lines[number].split()[1] for number in missing}
    assert all(lines[number + 1].strip().startswith("-> ") for number in missing)
    assert lines[-1] == f"{len(missing)} missing"
    assert len(lines) < 45
    steps = [line.split()[2] for line in about(lines, "disk")[:6]]
    assert steps == ["archives", "unpacked", "volumes", "models", "predictions", "artefacts"]


def test_a_credential_is_named_and_never_shown(machine, monkeypatch):
    _, lines = machine.doctor(*PAPER)
    assert f"{TOKEN} is not set" in about(lines, "credentials")[0]
    assert "synapse.org" in remedy_of(lines, f"{TOKEN} is not set")
    monkeypatch.setenv(TOKEN, "s3cret-value")
    _, lines = machine.doctor(*PAPER)
    assert about(lines, "credentials") == [f"ok      credentials btcv: {TOKEN} is set"]
    assert "s3cret" not in "\n".join(lines)
    monkeypatch.setenv(TOKEN, " ")
    machine.put("data/downloads/btcv/RawData.zip", "fetched by hand")
    _, lines = machine.doctor(*PAPER)
    assert "is not needed, its archives are there" in about(lines, "credentials")[0]
    assert "1 of 13 downloads are there" in about(lines, "data")[0]


def test_a_gpu_that_torch_sees(machine):
    machine.install(H200)
    machine.sees(1)
    _, lines = machine.doctor(*PAPER)
    assert about(lines, "gpu") == ["ok      gpu         1: NVIDIA H200 (140 GiB), driver 550.54.15"]
    assert about(lines, "torch")[0].startswith("ok      torch       sees 1 (CUDA ")


def test_a_gpu_that_torch_does_not_see(machine, monkeypatch):
    machine.install(H200)
    machine.sees(0, "CUDA initialization: The NVIDIA driver on your system is too old")
    _, lines = machine.doctor(*PAPER)
    assert about(lines, "torch")[0].startswith(
        "MISSING torch       sees 0 of 1: CUDA initialization: The NVIDIA driver"
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    _, lines = machine.doctor(*PAPER)
    assert "sees 0 of 1 with CUDA_VISIBLE_DEVICES=''" in about(lines, "torch")[0]


def test_fewer_gpus_than_a_training_shares(machine, project_root):
    machine.install(H200)
    machine.sees(1)
    text = (project_root / "config/paper.yaml").read_text().replace("devices: 1", "devices: 2")
    machine.put("two.yaml", text)
    _, lines = machine.doctor("--configfile", "two.yaml")
    assert about(lines, "gpu")[0].startswith("MISSING gpu         1: NVIDIA H200 (140 GiB)")
    assert "devices" in remedy_of(lines, "NVIDIA H200")


def test_slurm_with_the_profile_as_it_is_shipped(machine):
    machine.install(CLUSTER)
    _, lines = machine.doctor(*PAPER, *SLURM)
    assert "partitions cpu, gpu; no accounting" in about(lines, "slurm")[0]
    assert about(lines, "slurm")[1] == "MISSING slurm       the account is still 'project'"
    assert about(lines, "gpu") == ["ok      gpu         none here, on SLURM's nodes gpu:h200:2"]


def test_a_partition_that_the_cluster_does_not_have(machine, project_root):
    machine.install(CLUSTER | {"sinfo": "echo small; echo gpu", "sacct": "true"})
    text = (project_root / "workflow/profiles/slurm/profile.yaml").read_text()
    machine.put("slurm/profile.yaml", text.replace("\"'project'\"", "ours"))
    _, lines = machine.doctor(*PAPER, "--profile", "slurm")
    assert "accounting (sacct) answers" in about(lines, "slurm")[0]
    assert about(lines, "slurm")[1:] == ["MISSING slurm       no partition cpu here"]
    machine.put("slurm/profile.yaml", text.replace("\"'project'\"", "ours").replace("'cpu'", "'small'"))
    _, lines = machine.doctor(*PAPER, "--profile", "slurm")
    assert about(lines, "slurm")[1] == "ok      slurm       slurm/profile.yaml names partitions that are here"


def test_a_controller_that_is_down(machine):
    machine.install({"sinfo": "echo 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1"})
    _, lines = machine.doctor(*PAPER)
    assert about(lines, "slurm")[0].startswith("note    slurm       none (slurm_load_partitions: Unable to contact")
    _, lines = machine.doctor(*PAPER, *SLURM)
    assert about(lines, "slurm")[0].startswith("MISSING slurm       sinfo: slurm_load_partitions: Unable to contact")


def test_a_workstations_profile_that_does_not_fit_it(machine):
    machine.install(H200)
    machine.sees(1)
    machine.put("mine/profile.yaml", "resources: {gpu: 2, mem_mb: 1000000000}")
    _, lines = machine.doctor(*PAPER, "--profile", "mine")
    assert "MISSING gpu         mine/profile.yaml hands out 2, this machine has 1" in lines
    assert "lets jobs ask for 1000000000 MB together" in about(lines, "memory")[1]
    machine.put("mine/profile.yaml", "resources: {gpu: 1, mem_mb: 1}")
    _, lines = machine.doctor(*PAPER, "--profile", "mine")
    assert not [line for line in lines if "mine/profile.yaml" in line]
    status, lines = machine.doctor("--profile", "yours")
    assert (status, len(lines)) == (2, 1)
    assert "yours/profile.yaml: cannot be read" in lines[0]


@pytest.mark.parametrize(
    ("version", "virtual", "told"),
    [
        (None, [], "MISSING conda       none (No such file or directory)"),
        ("24.7.0", [], "MISSING conda       24.7.0; Snakemake wants 24.7.1"),
        ("26.1.0", [], "MISSING conda       26.1.0, no __cuda here: it would choose a PyTorch without CUDA"),
        ("26.1.0", [["__cuda", "12.8", "0"]], "ok      conda       26.1.0, __cuda 12.8: it chooses CUDA builds"),
    ],
)
def test_conda(machine, version, virtual, told):
    if version:
        machine.install({"conda": f"echo '{json.dumps({'conda_version': version, 'virtual_pkgs': virtual})}'"})
    _, lines = machine.doctor(*PAPER, "--use-conda")
    assert about(lines, "conda") == [told]
    _, lines = machine.doctor(*PAPER)
    assert not about(lines, "conda")[0].startswith("MISSING")


def test_packages_that_differ_from_the_lock(machine):
    machine.replace("requirements.lock", ("\nnumpy==", "\nnumpy==0."))
    status, lines = machine.doctor()
    assert status == 1
    assert [line for line in about(lines, "packages") if "numpy 2" in line and "(locked 0.2" in line]
    assert "make env" in remedy_of(lines, "numpy 2")


def test_weights_by_hand(machine, project_root):
    paper = (project_root / "config/paper.yaml").read_text()
    weights = "weights:\n  origin: local\n  vgg16: vgg16.pth\n  clip: ViT-B-32.pt\n"
    machine.put("local.yaml", paper.replace("weights:\n  origin: download", weights))
    machine.put("vgg16.pth", "weights")
    _, lines = machine.doctor("--configfile", "local.yaml")
    assert [line.split(" ")[0] for line in about(lines, "weights")] == ["MISSING"]
    assert "clip: " in about(lines, "weights")[0]
    machine.put("ViT-B-32.pt", "weights")
    _, lines = machine.doctor("--configfile", "local.yaml")
    assert about(lines, "weights")[0].startswith("ok")


def test_a_run_at_work_and_the_locks_of_a_dead_one(machine):
    machine.put(".snakemake/locks/0.output.lock", "results/embedded/splits.csv\n")
    machine.put(".snakemake/locks/1.output.lock", "results/other/splits.csv\n")
    lock = machine.put(".snakemake/embedded.run", f"{socket.gethostname()} 1234\n")
    _, lines = machine.doctor()
    assert about(lines, "locks") == ["note    locks       1 of a dead run; the next run clears them"]
    lock.write_text("elsewhere 1234\n")
    _, lines = machine.doctor()
    assert about(lines, "locks") == ["MISSING locks       1, of a run on elsewhere"]
    with open(lock, "a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        _, lines = machine.doctor()
    assert "a run of this study is at work (process 1234 on elsewhere)" in about(lines, "locks")[0]
    assert lock.read_text() == "elsewhere 1234\n"


def test_what_is_there_is_not_needed_again(machine):
    _, before = machine.doctor()
    for source in ("msd03", "amos"):
        (machine.folder / f"results/embedded/volumes/{source}/1-of-1").mkdir(parents=True)
    for variant in ("mask_clip", "mask_learnt", "noise_clip", "noise_learnt"):
        machine.put(f"results/embedded/models/{variant}/card.json")
    _, after = machine.doctor()
    assert "still to come" in about(after, "disk")[2]
    assert "still to come" not in about(before, "disk")[2]
    assert "there (" in about(after, "disk")[3]
    assert "2 of 13 sources harmonised, 4 of 4 variants trained; not finished" in about(after, "results")[0]


@pytest.mark.parametrize(
    ("left", "state"),
    [(Range(0, 1e-9), "ok"), (Range(0, 1e9), "note"), (Range(1e9, 2e9), "missing")],
)
def test_disks_that_hold_and_do_not_hold_a_study(tmp_path, left, state):
    found = verdict([Step("volumes", tmp_path / "not" / "there", left, left)], alone=True)
    assert found.state == state
    assert bool(found.remedy) == (state != "ok")
    assert str(tmp_path) in found.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    assert verdict([Step("volumes", tmp_path, Range(0, 0), Range(0, 0))], alone=True).state == "missing"


def test_servers_that_answer_and_do_not(monkeypatch):
    heard = []

    class Refusing(BaseHTTPRequestHandler):
        def do_HEAD(self):
            heard.append(self.headers.get("Authorization"))
            self.send_error(403)

        def log_message(self, *_):
            pass

    monkeypatch.setenv("NO_PROXY", "localhost")
    server = HTTPServer(("localhost", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = server_of(f"http://localhost:{server.server_port}/some/file?token=1")
    assert trouble(address) is None
    assert heard == [None]
    server.shutdown()
    server.server_close()
    assert trouble(address) == "cannot be reached"


def test_one_server_of_a_download_is_enough():
    wanted = {"one": {"https://a", "https://b"}, "two": {"https://b"}}
    assert [str(each) for each in summary(wanted, {"https://a": None, "https://b": None})] == [
        "ok      online      2 of 2 servers answer"
    ]
    partly = summary({"one": wanted["one"]}, {"https://a": None, "https://b": "is slow"})
    assert [(each.state, each.text) for each in partly] == [("note", "1 of 2 servers answer; is slow: b")]
    found = summary(wanted, {"https://a": None, "https://b": "is slow"})
    assert [each.state for each in found] == ["note", "missing"]
    assert found[1].text == "no server for two"
    assert found[1].remedy


def test_it_wants_the_projects_folder_and_a_configuration(machine, tmp_path, monkeypatch):
    status, lines = machine.doctor("--configfile", "none.yaml")
    assert (status, len(lines)) == (2, 1)
    assert "none.yaml: is no file" in lines[0]
    machine.put("broken.yaml", "study: [")
    status, lines = machine.doctor("--configfile", "broken.yaml")
    assert (status, len(lines)) == (2, 1)
    assert "broken.yaml: is no YAML" in lines[0]
    monkeypatch.chdir(machine.programs)
    status, lines = machine.doctor("--configfile", str(tmp_path / "config/paper.yaml"))
    assert (status, len(lines)) == (2, 1)
    assert "is not the project's folder" in lines[0]
