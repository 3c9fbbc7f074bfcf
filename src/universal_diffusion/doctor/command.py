"""`universal-diffusion doctor`: every check, side by side, on one screen."""

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from universal_diffusion import consistency
from universal_diffusion.doctor.conda import check_conda
from universal_diffusion.doctor.disk import check_disk
from universal_diffusion.doctor.finding import Asked, Finding
from universal_diffusion.doctor.gpu import check_gpu
from universal_diffusion.doctor.memory import check_memory
from universal_diffusion.doctor.online import check_online
from universal_diffusion.doctor.profiles import read_profile
from universal_diffusion.doctor.results import check_results
from universal_diffusion.doctor.slurm import check_slurm
from universal_diffusion.doctor.software import check_software
from universal_diffusion.doctor.sources import check_archives, check_credentials, check_weights
from universal_diffusion.errors import InputError
from universal_diffusion.settings import Study, read

CHECKS: tuple[Callable[[Asked], list[Finding]], ...] = (
    *(check_software, check_disk, check_memory, check_gpu, check_archives, check_credentials, check_weights),
    *(check_conda, check_slurm, check_results),
)


def examine(asked: Asked, online: bool = False) -> list[Finding]:
    """What every check finds, in their order."""
    checks = [*CHECKS, check_online] if online else CHECKS
    with ThreadPoolExecutor(len(checks)) as pool:
        return [finding for found in pool.map(lambda check: check(asked), checks) for finding in found]


def read_study(configfile: Path) -> Study:
    """The configuration, as the workflow reads it. Raises InputError for the first thing wrong in it."""
    try:
        content = yaml.safe_load(configfile.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(configfile, "is no file", "give a configuration, such as config/paper.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(configfile, f"is no YAML ({' '.join(str(error).split())})", "mend it") from None
    study = read(Study, content)
    consistency.check(study)
    return study


def run(arguments: argparse.Namespace) -> None:
    """Print what is found; exit status 1 if anything is missing."""
    project = Path.cwd()
    if not (project / "Snakefile").is_file():
        raise InputError(
            project, "is not the project's folder (it has no Snakefile)", "run this where snakemake is run"
        )
    profile = read_profile(arguments.profile) if arguments.profile else None
    asked = Asked(read_study(arguments.configfile), project, profile, arguments.use_conda)
    found = examine(asked, arguments.online)
    print(f"study {asked.study.study} ({arguments.configfile}) in {project}\n")
    print("\n".join(map(str, found)))
    missing = sum(finding.state == "missing" for finding in found)
    print(f"\n{missing} missing" if missing else "\nready")
    if missing:
        raise SystemExit(1)
