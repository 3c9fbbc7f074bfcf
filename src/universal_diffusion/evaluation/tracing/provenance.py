"""Step: what every number was made from - and, apart, on which machine.

    python -m universal_diffusion.evaluation.tracing.provenance --artefacts F... --origins F... --study JSON
        --output F --output-machine F

`provenance.json` holds no time, host, user or absolute path, so that two runs of the same study give equal files.
`machine.json` describes the hardware, which may differ while the numbers do not.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.files import sha256, write_json
from universal_diffusion.settings import Study, read_json

PACKAGES = (
    "h5py",
    "lpips",
    "matplotlib",
    "monai",
    "nibabel",
    "numpy",
    "open_clip_torch",
    "pandas",
    "pydicom",
    "safetensors",
    "scipy",
    "seaborn",
    "SimpleITK",
    "snakemake",
    "torch",
    "torchvision",
    "universal-diffusion",
)
UNHASHED = ("data_root",)  # where local data lies, not what it is


def versions() -> dict[str, str | None]:
    """Versions of Python and the packages; None for one that this step's environment lacks."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def commit(folder: Path, apart: str | None = None) -> dict[str, str | bool | None]:
    """The git commit and whether tracked or new files differ from it; None for both outside a repository.

    Files of the subfolder `apart` may differ.
    """
    looked_at = ["--", ".", f":!{apart}"] if apart else []
    head, changes = (
        subprocess.run(["git", "-C", str(folder), *command], capture_output=True, text=True, check=False)
        for command in (("rev-parse", "HEAD"), ("status", "--porcelain", *looked_at))
    )
    if head.returncode or changes.returncode:
        return {"commit": None, "dirty": None}
    return {"commit": head.stdout.strip(), "dirty": bool(changes.stdout.strip())}


def configuration_hash(study: Study) -> str:
    """SHA-256 of the configuration's content, whatever its layout or the place of local data."""
    return hashlib.sha256(json.dumps(configuration(study), sort_keys=True).encode()).hexdigest()


def configuration(study: Study) -> dict:
    """The configuration's content, without the place of local data."""
    return {key: value for key, value in asdict(study).items() if key not in UNHASHED}


def artefact_hashes(paths: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of every file, folders file by file, by path relative to the working directory."""
    files = []
    for path in paths:
        if not path.exists():
            raise InputError(path, "is no artefact: there is no such file", "run the rule that makes it")
        files += sorted(inner for inner in path.rglob("*") if inner.is_file()) if path.is_dir() else [path]
    return {Path(os.path.relpath(file)).as_posix(): sha256(file) for file in sorted(files)}


def archive_origins(paths: Sequence[Path]) -> dict[str, dict]:
    """Content of every `native/<source>/origin.json`, by source."""
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(paths)}


def machine() -> dict:
    """The hardware of this job: processor, cores, memory, GPUs."""
    return {
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": _gpus(),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _gpus() -> list[str]:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
    except (OSError, subprocess.CalledProcessError):
        return []


@one_line_errors
def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artefacts", type=Path, nargs="+", required=True, help="files whose hashes are recorded")
    parser.add_argument("--origins", type=Path, nargs="+", required=True, help="origin.json of every source")
    parser.add_argument("--study", required=True, help="JSON of the whole configuration")
    parser.add_argument("--output", type=Path, required=True, help="record to write")
    parser.add_argument("--output-machine", type=Path, required=True, help="file for what depends on the machine")
    arguments = parser.parse_args()
    study = read_json(Study, arguments.study, "configuration")
    content = {
        "study": study.study,
        "cohort": study.cohort,
        "seed": study.seed,
        "configuration": configuration(study),
        "configuration_sha256": configuration_hash(study),
        "source_code": commit(Path(__file__).parent),
        "versions": versions(),
        "archives": archive_origins(arguments.origins),
        "artefacts": artefact_hashes(arguments.artefacts),
    }
    write_json(arguments.output, content)
    write_json(arguments.output_machine, machine())


if __name__ == "__main__":
    main()
