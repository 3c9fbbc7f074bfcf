"""The calls of `conda` that Snakemake makes, answered by py-rattler: a real solve and a real link, without conda.

Channels come from the environment file, or from CONDA_FRONT_CHANNEL where it is set, so that a machine without a way to
conda-forge points every environment at one local channel. CONDA_FRONT_ROOT is what conda calls its prefix: the folder
whose `bin/activate` enters an environment. CONDA_OVERRIDE_CUDA stands in for a GPU's driver, as for conda.
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

import yaml
from rattler import Gateway, RepoDataRecord, VirtualPackage, VirtualPackageOverrides, install, solve
from rattler.platform import Subdir

VERSION = "26.7.0"  # Snakemake asks for 24.7.1 or newer
ROOT = Path(os.environ["CONDA_FRONT_ROOT"])


async def create(prefix: str, file: Path) -> None:
    """An environment from an environment file: solved, then linked."""
    wanted = yaml.safe_load(file.read_text(encoding="utf-8"))
    forced = os.environ.get("CONDA_FRONT_CHANNEL")
    declared = [channel for channel in wanted["channels"] if channel != "nodefaults"]
    records = await solve(
        sources=[forced] if forced else declared,
        specs=wanted["dependencies"],
        gateway=Gateway(),
        platforms=[Subdir.current(), Subdir("noarch")],
        virtual_packages=VirtualPackage.detect(VirtualPackageOverrides.from_env()),
    )
    await link(records, prefix)


async def create_pinned(prefix: str, file: Path) -> None:
    """An environment from a pin file: exactly the archives that it names."""
    lines = [line.strip().partition("#")[0] for line in file.read_text(encoding="utf-8").splitlines()]
    wanted = {line for line in lines if line and not line.startswith("@")}
    found = await Gateway().query(
        sources=sorted({url.rsplit("/", 2)[0] for url in wanted}),
        platforms=[Subdir.current(), Subdir("noarch")],
        specs=sorted({url.rsplit("/", 1)[1].rsplit("-", 2)[0] for url in wanted}),
        recursive=False,
    )
    records = [record for group in found for record in group if record.url in wanted]
    if missing := wanted - {record.url for record in records}:
        sys.exit(f"not in the channel: {', '.join(sorted(missing))}")
    await link(records, prefix)


async def link(records: list[RepoDataRecord], prefix: str) -> None:
    """Put solved packages into an environment."""
    await install(records, target_prefix=prefix, cache_dir=ROOT / "packages", show_progress=False)


def archives(prefix: str) -> list[str]:
    """Addresses of the packages of an environment, as a pin file lists them."""
    metadata = sorted(Path(prefix, "conda-meta").glob("*.json"))
    return ["@EXPLICIT", *(json.loads(path.read_text(encoding="utf-8"))["url"] for path in metadata)]


def main() -> None:
    """Answer one call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", action="version", version=f"conda {VERSION}")
    parser.add_argument("--prefix")
    parser.add_argument("--file", type=Path)
    parser.add_argument("command", nargs="+")
    given, _ = parser.parse_known_args()
    match given.command:
        case ["info"]:
            print(json.dumps({"conda_prefix": str(ROOT), "platform": str(Subdir.current()), "conda_version": VERSION}))
        case ["config"]:
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ["env", "create"]:
            asyncio.run(create(given.prefix, given.file))
        case ["create"]:
            asyncio.run(create_pinned(given.prefix, given.file))
        case ["list"] | ["env", "export"]:
            print("\n".join(archives(given.prefix)))
        case ["clean"]:
            pass
        case other:
            sys.exit(f"the front of conda has no answer for {other}")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # py-rattler's threads outlive what was awaited, and crash in an interpreter that is shutting down
