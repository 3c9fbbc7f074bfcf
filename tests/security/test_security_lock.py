"""What is installed is what was locked: every package by version and hash, every conda package by version."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_every_package_is_locked_by_version_and_hash():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)) if entry]
    assert len(entries) > 100
    for entry in entries:
        assert re.match(r"[a-z0-9][a-z0-9._-]*(\[[a-z,]+\])?==[^\s;]+", entry), entry.splitlines()[0]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry.splitlines()[0]


def test_the_installation_demands_the_hashes():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in makefile.splitlines():
        if "pip install" in line:
            assert "--require-hashes" in line or "--no-deps --no-build-isolation -e ." in line


def test_every_conda_environment_pins_versions_and_one_channel():
    for path in (ROOT / "envs").glob("*.yaml"):
        environment = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert environment["channels"] == ["conda-forge", "nodefaults"], path
        for package in environment["dependencies"]:
            assert re.match(r"[a-z0-9_.-]+[ =]+\d", package), (path.name, package)
