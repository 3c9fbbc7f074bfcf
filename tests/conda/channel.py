"""Build a conda channel on disk from the distributions that are installed beside this interpreter.

    python channel.py FOLDER

Every distribution becomes a package under the name that conda-forge gives it, with the dependencies that its metadata
declare. A package holds no file but links to the installed ones, so that a channel of PyTorch's size takes seconds; an
environment made from it holds what its packages link to and nothing else. `python` borrows the interpreter. Such
a channel serves this machine only. It says whether an environment file names what its rules import; whether conda-forge
has those versions, only conda-forge can say.
"""

import asyncio
import io
import json
import os
import platform
import re
import sys
import sysconfig
import tarfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from rattler.index import index_fs
from rattler.platform import Platform

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
SITE = Path(sysconfig.get_path("purelib"))
INSIDE = f"lib/python{MINOR}/site-packages"
CONDA_NAMES = {  # distributions that conda-forge packs under another name
    "lightning-fabric": "pytorch-lightning",
    "matplotlib": "matplotlib-base",
    "torch": "pytorch",
    "tzdata": "python-tzdata",
}
ONE = {"0": (0, [])}
BUILDS = {"pytorch": {"cpu_0": (0, []), "cuda_0": (200, ["__cuda"])}}  # build -> number and needs, as conda-forge's


def conda_name(distribution: str) -> str:
    """The name under which conda-forge has a distribution."""
    normal = re.sub(r"[-_.]+", "-", distribution).lower()
    return CONDA_NAMES.get(normal, normal)


def owners(installed: list[Distribution]) -> dict[str, set[str]]:
    """Which distributions have files at or below each path of site-packages."""
    owned: dict[str, set[str]] = {}
    for distribution in installed:
        for path in paths(distribution):
            owned.setdefault(path, set()).add(distribution.name)
    return owned


def paths(distribution: Distribution) -> set[str]:
    """The files of a distribution in site-packages and the folders that hold them; scripts and caches are left out."""
    found: set[str] = set()
    for file in map(str, distribution.files or ()):
        if not file.startswith("..") and "__pycache__" not in file:
            parts = file.split("/")
            found |= {"/".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return found


def links(distribution: Distribution, owned: dict[str, set[str]]) -> list[str]:
    """The highest files and folders of site-packages that are a distribution's alone."""
    mine = {path for path in paths(distribution) if len(owned[path]) == 1}
    return sorted(path for path in mine if path.rpartition("/")[0] not in mine)


def dependencies(distribution: Distribution) -> list[str]:
    """What a distribution asks for, in conda's spelling."""
    wanted = (Requirement(text) for text in distribution.requires or ())
    return [
        f"{conda_name(each.name)} {each.specifier}".strip()
        for each in wanted
        if each.marker is None or each.marker.evaluate({"extra": ""})
    ]


def write_package(folder: Path, name: str, version: str, depends: list[str], files: dict, linked: dict) -> None:
    """Write an archive per build; `files` and `linked` map paths of an environment to bytes and links."""
    for build, (number, needs) in BUILDS.get(name, ONE).items():
        index = {"name": name, "version": version, "build": build, "build_number": number, "subdir": folder.name}
        write_archive(folder / f"{name}-{version}-{build}.tar.bz2", index | {"depends": depends + needs}, files, linked)


def write_archive(place: Path, index: dict, files: dict, linked: dict) -> None:
    """Write one archive."""
    paths = [{"_path": path, "path_type": "hardlink"} for path in files]
    paths += [{"_path": path, "path_type": "softlink"} for path in linked]
    told = {"info/index.json": index, "info/paths.json": {"paths": paths, "paths_version": 1}}
    bodies = files | {path: json.dumps(content).encode() for path, content in told.items()}
    with tarfile.open(place, "w:bz2", compresslevel=1) as archive:
        for path, body in bodies.items():
            member = tarfile.TarInfo(path)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
        for path, to in linked.items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname = tarfile.SYMTYPE, to
            archive.addfile(member)


def write_python(folder: Path) -> None:
    """The interpreter, as a virtual environment looks: it finds the packages of the environment it is linked into."""
    home = Path(sys.base_prefix, "bin")
    settings = f"home = {home}\ninclude-system-site-packages = false\nversion = {platform.python_version()}\n"
    interpreter = {f"bin/python{MINOR}": str(home / f"python{MINOR}")}
    names = {f"bin/{name}": f"python{MINOR}" for name in ("python", "python3")}
    files = {"pyvenv.cfg": settings.encode()}
    write_package(folder, "python", platform.python_version(), [], files, interpreter | names)


def build(channel: Path) -> None:
    """Write every package and the channel's index."""
    folder = channel / str(Platform.current())
    for subdir in (folder, channel / "noarch"):
        subdir.mkdir(parents=True)
    write_python(folder)
    installed = [each for each in distributions() if each.files and Path(each.locate_file("")) == SITE]
    owned = owners(installed)
    for distribution in installed:
        linked = {f"{INSIDE}/{path}": str(SITE / path) for path in links(distribution, owned)}
        version = distribution.version.partition("+")[0]
        depends = [f"python {MINOR}.*", *dependencies(distribution)]
        write_package(folder, conda_name(distribution.name), version, depends, {}, linked)
    asyncio.run(index_fs(channel, write_zst=False, write_shards=False, force=True))


if __name__ == "__main__":
    build(Path(sys.argv[1]))
    os._exit(0)  # as in front.py
