"""What a configuration, a path or a wildcard says reaches a shell as one word, whatever it says."""

import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from universal_diffusion import consistency
from universal_diffusion.errors import InputError
from universal_diffusion.settings import Study, read

ROOT = Path(__file__).parents[2]
HOSTILE = 'it\'s "a" ; touch made $(touch made) `touch made` & | > made #'
UNQUOTED = {"threads", "resources.launcher"}  # a number; and words of the profile, which is the user's own program


def commands() -> dict[str, str]:
    """The shell block of every rule, by its file and line."""
    found, place = {}, None
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.match(r"\s+shell:", line):
                place = f"{path.name}:{number}"
                found[place] = ""
            elif not line.strip():
                place = None
            if place:
                found[place] += line + "\n"
    return found


def test_every_value_in_a_shell_command_is_quoted():
    fields = {(place, field) for place, text in commands().items() for field in re.findall(r"\{([^}]*)\}", text)}
    assert len(commands()) > 40
    assert {(place, field) for place, field in fields if not field.endswith(":q") and field not in UNQUOTED} == set()


def test_no_command_is_put_together_outside_of_its_rule():
    for place, text in commands().items():
        assert not re.search(r"shell:\s*\n?\s*(f[\"']|\w+\()|[\"'] *(\+|%) ", text), place


@pytest.mark.parametrize(
    "name", ["a b", "a;b", "$(touch made)", "'", "../up", "/abs", "", ".", "a/b", "{wildcard}", "a\nb"]
)
def test_the_name_of_a_study_is_a_plain_word(name):
    content = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    with pytest.raises(InputError, match=r"configuration\.study: is .*; give letters, digits"):
        consistency.check(read(Study, content | {"study": name}))


def scans(folder: Path, case: str) -> None:
    """An own dataset of one case."""
    hu = np.full((12, 12, 6), -1000, np.int16)
    hu[2:10, 2:10] = 40
    for kind, array in (("images", hu), ("masks", (hu > 0).astype(np.uint8))):
        path = folder / kind / f"{case}.nii.gz"
        path.parent.mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([-8.0, -8.0, 10.0, 1.0])), path)
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"title": HOSTILE, "licence": HOSTILE, "labels": {1: "liver"}}))


def test_hostile_names_of_project_data_cohort_and_cases_run_nothing(project_copy, tmp_path):
    """A project, a data root, a dataset and a case of such names."""
    project = project_copy()
    name = HOSTILE.replace("/", "")
    hostile = tmp_path / name
    shutil.move(project.folder, hostile)
    project.folder = hostile
    case = "ca'se $(touch made);x"
    scans(tmp_path / "da'ta; touch made" / name, case)
    study = yaml.safe_load((hostile / "config/config.yaml").read_text())
    study |= {"study": "plain", "cohort": HOSTILE, "data_root": str(tmp_path / "da'ta; touch made"), "phantom": None}
    study["sources"] = {"mine": {"origin": "local", "role": "test", "path": name}}
    (hostile / "a study's.yaml").write_text(yaml.safe_dump(study))
    run = project.snakemake("--cores", "1", "--configfile", "a study's.yaml", "--", "results/plain/native/mine")
    assert run.returncode == 0, run.stderr
    assert not [path for path in (*tmp_path.rglob("*"), *Path.cwd().iterdir()) if path.name == "made"]
    assert (hostile / f"results/plain/native/mine/images/{case}.nii.gz").exists()


def test_a_hostile_study_stops_before_anything_runs(project_copy):
    project = project_copy()
    study = yaml.safe_load((project.folder / "config/config.yaml").read_text()) | {"study": "x; touch made #"}
    (project.folder / "study.yaml").write_text(yaml.safe_dump(study))
    run = project.snakemake("--cores", "1", "--configfile", "study.yaml", "--", "all")
    assert run.returncode != 0
    assert "configuration.study: is 'x; touch made #'" in run.stderr
    assert not (project.folder / "made").exists()
    assert not (project.folder / "results").exists()
