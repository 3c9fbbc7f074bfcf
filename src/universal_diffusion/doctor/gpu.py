"""GPUs: how many, their memory and driver, and whether PyTorch sees them, or why not."""

import json
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from universal_diffusion.doctor.finding import Asked, Finding
from universal_diffusion.doctor.programs import ask

VISIBLE = "CUDA_VISIBLE_DEVICES"
QUERY = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
SEEN = "import json, torch; print(json.dumps(torch.cuda.device_count() if torch.cuda.is_available() else 0))"
IMPORT_S = 60.0  # the first import of PyTorch from a cold disk
ON_CPU = "take a machine with one; on CPUs this configuration takes years (docs/costs.md)"


def check_gpu(asked: Asked) -> list[Finding]:
    """The GPUs, and what PyTorch makes of them; PyTorch is only started where there is one."""
    wanted = gpus_wanted(asked)
    told = ask(QUERY)
    gpus = [line.split(", ") for line in told.output.splitlines()] if told.ok else []
    if not gpus:
        return [_none(asked, wanted, told.errors.strip() or told.output.strip())]
    names = ", ".join(f"{name} ({int(memory) / 1024:.0f} GiB)" for name, memory, _ in gpus)
    present = Finding("gpu", f"{len(gpus)}: {names}, driver {gpus[0][2]}")
    if len(gpus) < wanted and not asked.slurm:
        remedy = "lower `devices` in the configuration"
        present = Finding("gpu", f"{present.text}; a training wants {wanted}", "missing", remedy)
    return [present, *_profile(asked, len(gpus)), _torch(len(gpus))]


def _profile(asked: Asked, gpus: int) -> list[Finding]:
    """What is wrong with the number of GPUs that a workstation's profile hands out."""
    given = 0 if asked.profile is None else asked.profile.content.get("resources", {}).get("gpu", 0)
    if given > gpus:
        text = f"{asked.profile.file} hands out {given}, this machine has {gpus}"
        return [Finding("gpu", text, "missing", f"write {gpus} for gpu there")]
    if 0 < given < gpus:
        return [Finding("gpu", f"{asked.profile.file} hands out {given} of {gpus}; the others stay idle", "note")]
    return []


def gpus_wanted(asked: Asked) -> int:
    """GPUs of the study's largest training; 0 for a study of CPU's precision."""
    study = asked.study
    sections = (study.mask_autoencoder, study.image_autoencoder, study.denoiser, study.baseline)
    return max(part.training.devices if part.training.precision != "32-true" else 0 for part in sections)


def _none(asked: Asked, wanted: int, why: str) -> Finding:
    text = f"none: {why.splitlines()[0] if why else 'nvidia-smi lists none'} (nvidia-smi)"
    if not wanted:
        return Finding("gpu", "none, and this study needs none")
    if not asked.slurm:
        return Finding("gpu", text, "missing", ON_CPU)
    offered = ask(["sinfo", "--noheader", "--format=%G"])
    if offered.ok and "gpu" in offered.output:
        return Finding("gpu", f"none here, on SLURM's nodes {' '.join(sorted(set(offered.output.split())))}")
    return Finding("gpu", "none here, and sinfo shows none on SLURM's nodes", "missing", ON_CPU)


def _torch(gpus: int) -> Finding:
    build = cuda_build()
    if build is None:
        remedy = "install the CUDA build: `make env`, or docs/conda.md for conda"
        return Finding("torch", "is a build without CUDA, which sees no GPU", "missing", remedy)
    seen = ask([sys.executable, "-W", "always", "-c", SEEN], IMPORT_S)
    count = json.loads(seen.output) if seen.ok and seen.output.strip() else 0
    if count == gpus:
        return Finding("torch", f"sees {count} (CUDA {build})")
    if VISIBLE in os.environ:
        text = f"sees {count} of {gpus} with {VISIBLE}={os.environ[VISIBLE]!r}"
        return Finding("torch", text, "note" if count else "missing", f"unset {VISIBLE}")
    why = next((line for line in seen.errors.splitlines() if re.search(r"driver|CUDA|error", line, re.I)), "")
    why = re.sub(r"^.*?Warning: ", "", why).strip()[:160]
    remedy = f"a driver for CUDA {build} or newer (nvidia-smi shows which it has), or a PyTorch built for this driver"
    return Finding("torch", f"sees {count} of {gpus}: {why or 'it does not say why'}", "missing", remedy)


def cuda_build() -> str | None:
    """The CUDA that the installed PyTorch was built with, None for a CPU build; without importing it."""
    version = Path(find_spec("torch").submodule_search_locations[0], "version.py")
    found = re.search(r"^cuda: .* = '(.+)'$", version.read_text(encoding="utf-8"), re.MULTILINE)
    return found and found[1]
