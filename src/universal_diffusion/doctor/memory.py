"""Whether memory and cores suffice, by what the largest jobs took (`benchmarks/`)."""

import math
import os

from universal_diffusion.costs.amounts import figure
from universal_diffusion.costs.disk import native_voxels
from universal_diffusion.doctor.finding import Asked, Finding
from universal_diffusion.doctor.profiles import memory_gib

SCORED = 512 * 512 * 150  # voxels of the case of benchmarks/scoring.md
LONGEST = 500 / 300  # slices of the longest CTs to those of `costs.disk.NATIVE_SLICES`' upper bound


def check_memory(asked: Asked) -> list[Finding]:
    """Memory, then cores."""
    needed, why = needed_gib(asked)
    have = memory_gib()
    text = f"{have:.0f} GiB; the largest job takes about {needed:.0f} ({why})"
    small = have < needed
    remedy = "set fewer `threads` in the configuration, or take a larger machine" if small else ""
    if small and asked.slurm:
        lines = [Finding("memory", f"{text}, on SLURM's nodes", "note", "ask `sinfo -o '%n %m'` what they have")]
    else:
        lines = [Finding("memory", text, "missing" if small else "ok", remedy)]
    given = 0 if asked.profile is None else asked.profile.content.get("resources", {}).get("mem_mb", 0)
    if given > have * 1024:
        text = f"{asked.profile.file} lets jobs ask for {given} MB together, more than there is"
        lines.append(Finding("memory", text, "missing", f"write at most {have * 1024:.0f} for mem_mb there"))
    cores = len(os.sched_getaffinity(0))
    if cores < asked.study.threads and not asked.slurm:
        text = f"{cores}, fewer than the {asked.study.threads} `threads` that the study's sums depend on: slower"
        return [*lines, Finding("cores", text, "note")]
    return [*lines, Finding("cores", str(cores))]


def needed_gib(asked: Asked) -> tuple[float, str]:
    """What the largest job takes, in GiB, and which it is."""
    records = asked.project / "benchmarks"
    training = figure(records, "training", "denoiser", "peak GiB")
    each = figure(records, "scoring", "scattered", "peak GiB") * LONGEST * native_voxels(asked.study).high / SCORED
    jobs = {
        "training": training,
        "harmonising the longest CT": figure(records, "harmonise", "this study, volume written", "peak GiB"),
        f"scoring, {asked.study.threads} cases at once": each * asked.study.threads,
    }
    largest = max(jobs, key=jobs.get)
    return math.ceil(jobs[largest]), largest
