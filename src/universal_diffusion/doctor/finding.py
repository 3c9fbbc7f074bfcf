"""What a check found, and what the checks are asked about."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from universal_diffusion.doctor.profiles import Profile
from universal_diffusion.settings import Study

MARKS = {"ok": "ok", "note": "note", "missing": "MISSING"}


@dataclass(frozen=True)
class Asked:
    """The study, and how it is to be run.

    Attributes:
        project: the project's folder, in which Snakemake is run.
        profile: the Snakemake profile, None without one.
        conda: whether with `--use-conda`.
    """

    study: Study
    project: Path
    profile: Profile | None = None
    conda: bool = False

    @property
    def results(self) -> Path:
        """The study's results."""
        return self.project / "results" / self.study.study

    @property
    def data_root(self) -> Path:
        """What local sources' paths start from, and downloads are kept in."""
        return self.project / self.study.data_root

    @property
    def slurm(self) -> bool:
        """Whether SLURM is to run the jobs."""
        return self.profile is not None and self.profile.slurm


@dataclass(frozen=True)
class Finding:
    """One line: `missing` keeps the study from running as it should, and has a `remedy`; a `note` does not."""

    topic: str
    text: str
    state: Literal["ok", "note", "missing"] = "ok"
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{MARKS[self.state]:8}{self.topic:12}{self.text}"
        return f"{line}\n{'':20}-> {self.remedy}" if self.remedy else line
