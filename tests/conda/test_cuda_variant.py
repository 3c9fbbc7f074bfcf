"""The CUDA variant of envs/train.yaml: what it asks for, what a solver makes of it, and how it is chosen."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml
from rattler import BuildString, Gateway, GenericVirtualPackage, PackageName, Version, solve
from rattler.exceptions import SolverError

DRIVER = [GenericVirtualPackage(PackageName("__cuda"), Version("12.8"), BuildString("0"))]
PYTORCH = {"cpu_generic_0": (0, []), "cuda128_generic_0": (200, ["__cuda"])}  # as conda-forge builds it


@pytest.fixture(scope="module")
def channel(tmp_path_factory, project_root) -> Path:
    """A channel's index with one version of all that the environment names, of PyTorch in both builds."""
    folder = tmp_path_factory.mktemp("channel")
    packages = {}
    for wanted in dependencies(project_root, "train"):
        name, version = wanted.split("=")
        for build, (number, needs) in PYTORCH.items() if name == "pytorch" else [("0", (0, []))]:
            index = {"name": name, "version": f"{version}.0", "build": build, "build_number": number}
            packages[f"{name}-{version}.0-{build}.tar.bz2"] = index | {"depends": needs, "subdir": "linux-64"}
    for subdir, content in (("linux-64", packages), ("noarch", {})):
        (folder / subdir).mkdir()
        text = json.dumps({"info": {"subdir": subdir}, "packages": content})
        (folder / subdir / "repodata.json").write_text(text)
    return folder


def dependencies(root: Path, environment: str) -> list[str]:
    return yaml.safe_load((root / "envs" / f"{environment}.yaml").read_text())["dependencies"]


def pytorch_of(channel: Path, wanted: list[str], virtual: list[GenericVirtualPackage]) -> str:
    """The build of PyTorch that conda's solver picks."""
    solved = asyncio.run(
        solve([channel.as_uri()], wanted, Gateway(), platforms=["linux-64", "noarch"], virtual_packages=virtual)
    )
    return next(str(record.build) for record in solved if record.name.normalized == "pytorch")


def test_only_pytorch_differs(project_root):
    plain, cuda = (dependencies(project_root, name) for name in ("train", "train.cuda"))
    assert [(one, other) for one, other in zip(plain, cuda, strict=True) if one != other] == [
        ("pytorch=2.15", "pytorch 2.15.* cuda*")
    ]


@pytest.mark.parametrize(
    ("environment", "virtual", "build"),
    [
        ("train", [], "cpu_generic_0"),
        ("train", DRIVER, "cuda128_generic_0"),
        ("train.cuda", DRIVER, "cuda128_generic_0"),
    ],
)
def test_the_driver_decides_which_build_is_taken(channel, project_root, environment, virtual, build):
    assert pytorch_of(channel, dependencies(project_root, environment), virtual) == build


def test_the_variant_is_refused_without_a_driver(channel, project_root):
    with pytest.raises(SolverError, match="__cuda"):
        pytorch_of(channel, dependencies(project_root, "train.cuda"), [])


def test_an_unknown_build_is_refused(smallest_study):
    refused = smallest_study().run("-n", "--config", "pytorch=gpu")
    assert refused.returncode != 0
    assert "error: configuration.pytorch: is 'gpu'; give any or cuda" in refused.stdout + refused.stderr
