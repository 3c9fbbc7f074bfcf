"""The conda that `--use-conda` calls, and whether it would choose CUDA builds here."""

import json
import re

from universal_diffusion.doctor.finding import Asked, Finding
from universal_diffusion.doctor.gpu import gpus_wanted
from universal_diffusion.doctor.programs import ask

OLDEST = (24, 7, 1)  # Snakemake 9 asks for it


def check_conda(asked: Asked) -> list[Finding]:
    """A line on conda; without `--use-conda` nothing of it is needed."""
    told = ask(["conda", "info", "--json"], 10.0)
    remedy = "install conda from conda-forge (Miniforge), or run without --use-conda" if asked.conda else ""
    state = "missing" if asked.conda else "note"
    if not told.ok:
        why = (told.errors.strip().splitlines() or ["it fails"])[-1]
        return [
            Finding("conda", f"none ({why}){'' if asked.conda else '; only needed for --use-conda'}", state, remedy)
        ]
    info = json.loads(told.output)
    version = info["conda_version"]
    if tuple(map(int, re.findall(r"\d+", version)[:3])) < OLDEST:
        return [Finding("conda", f"{version}; Snakemake wants {'.'.join(map(str, OLDEST))}", state, remedy)]
    cuda = next((each[1] for each in info.get("virtual_pkgs", []) if each[0] == "__cuda"), None)
    if cuda or not gpus_wanted(asked):
        return [Finding("conda", f"{version}{f', __cuda {cuda}: it chooses CUDA builds' if cuda else ''}")]
    text = f"{version}, no __cuda here: it would choose a PyTorch without CUDA"
    remedy = "make the environments with CONDA_OVERRIDE_CUDA=12 set and --config pytorch=cuda (docs/conda.md)"
    return [Finding("conda", text, state, remedy)]
