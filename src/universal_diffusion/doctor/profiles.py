"""The Snakemake profile that will run the study, and whether that of a workstation fits this machine."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from universal_diffusion.errors import InputError


@dataclass(frozen=True)
class Profile:
    """A profile's file and what it holds."""

    file: Path
    content: Mapping

    @property
    def slurm(self) -> bool:
        """Whether SLURM is to run the jobs."""
        return self.content.get("executor") == "slurm"


def read_profile(folder: Path) -> Profile:
    """The profile of a folder. Raises InputError where there is none."""
    path = folder / "profile.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        problem = f"cannot be read ({' '.join(str(error).split())})"
        raise InputError(path, problem, "give a profile's folder, e.g. workflow/profiles/slurm") from None
    if not isinstance(content, Mapping):
        raise InputError(path, "holds no settings", "give a profile's folder, e.g. workflow/profiles/slurm")
    return Profile(path, content)


def memory_gib() -> float:
    """Memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
