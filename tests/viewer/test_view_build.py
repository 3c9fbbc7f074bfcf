"""The build hook in a copy of what it needs."""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import zipfile

import pytest


@pytest.fixture
def project(tmp_path, project_root):
    """A project whose package is only the viewer, without niivue."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", ".gitignore"):
        shutil.copy(project_root / name, tmp_path / name)
    viewer = tmp_path / "src/universal_diffusion/viewer"
    shutil.copytree(project_root / viewer.relative_to(tmp_path), viewer, ignore=shutil.ignore_patterns("niivue.*.*"))
    shutil.copytree(project_root / viewer.relative_to(tmp_path) / "npm", viewer / "npm", dirs_exist_ok=True)
    return tmp_path


def hook(project):
    spec = importlib.util.spec_from_file_location("hatch_build", project / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def vendored(project):
    viewer = project / "src/universal_diffusion/viewer"
    try:
        hook(project).vendor(viewer)
    except RuntimeError as error:
        if "npm ci failed" in str(error):
            pytest.skip(f"no npm registry can be reached here: {error}")
        raise
    return viewer


def test_wheel_holds_the_locked_niivue_and_its_licences(project):
    viewer = vendored(project)
    wanted = (viewer / "npm/niivue.umd.js.sha256").read_text().split()[0]
    assert hashlib.sha256((viewer / "niivue.umd.js").read_bytes()).hexdigest() == wanted
    assert "Copyright (c) 2021, Niivue" in (viewer / "niivue.licences.txt").read_text()
    assert not (viewer / "npm/node_modules").exists()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (wheel,) = (project / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("niivue.umd.js", "niivue.licences.txt", "npm/niivue.umd.js.sha256", "assets/view.html"):
        assert f"universal_diffusion/viewer/{name}" in names


def test_nothing_is_fetched_where_it_is_already(project, monkeypatch):
    viewer = vendored(project)
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_offline", "true")
    monkeypatch.setenv("npm_config_cache", str(project / "empty cache"))
    hook(project).vendor(viewer)
    (viewer / "niivue.umd.js").write_text("another version")
    with pytest.raises(RuntimeError, match="npm ci failed"):
        hook(project).vendor(viewer)


def test_a_bundle_with_another_hash_is_refused(project):
    viewer = vendored(project)
    (viewer / "npm/niivue.umd.js.sha256").write_text("0" * 64)
    with pytest.raises(RuntimeError, match="another hash"):
        hook(project).vendor(viewer)
