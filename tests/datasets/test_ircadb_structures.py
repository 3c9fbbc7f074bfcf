"""The run-time inventory of 3D-IRCADb's mask folders, against the folder names of patients 1 to 19."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from universal_diffusion.datasets import ircadb
from universal_diffusion.datasets.catalogue import entry
from universal_diffusion.preparation.origin import Origin
from universal_diffusion.preparation.quality.ircadb import structures
from universal_diffusion.preparation.quality.structures import patients_by_target, read_structures
from universal_diffusion.preparation.unpack import write_tree_sums

# Who is annotated for what, read from structures.csv by eye; "kidneys" of patient 3 are both.
ANNOTATED = {
    "spleen": {1, 3, 5, 7},
    "right kidney": {1, 3, 5, 6, 7, 11},
    "left kidney": {1, 3, 5, 6, 7, 11},
    "gallbladder": {2, 9, 11, 18, 19},
    "liver": set(range(1, 20)),
    "stomach": {5},
    "inferior vena cava": {2, 3, 10, 11, 12, 13, 18},
    "pancreas": {5},
    "right adrenal gland": {5, 11},
    "left adrenal gland": {5, 7, 11},
    "liver tumor": {1, 2, 3, 4, 6, 8, 9, 10, 12, 13, 15, 16, 17, 18, 19},
}


@pytest.fixture
def write_masks(write_slice):
    """Writes mask folders of two tiny slices for a patient; those of `empty` mark nothing."""

    def write(root: Path, patient: int, folders: list[str], empty: tuple[str, ...] = ()) -> Path:
        masks = root / f"3Dircadb1.{patient}" / "MASKS_DICOM"
        for folder in folders:
            for number in range(2):
                plane = np.full((3, 4), 0.0 if folder in empty else 256.0)
                write_slice(masks / folder / f"image_{number}", plane, ImagePositionPatient=[0, 0, 2.0 * number])
        return masks

    return write


def folders_of(path: Path) -> dict[int, list[str]]:
    """Mask folders by patient, of `structures.csv`."""
    patients: dict[int, list[str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            patients.setdefault(int(row["patient"]), []).append(row["mask_folder"])
    return patients


@pytest.mark.real_data
def test_every_folder_of_patients_1_to_19_is_a_target_or_known_as_none(real_data, write_masks, tmp_path):
    patients = folders_of(real_data / "3dircadb" / "structures.csv")
    assert sorted(patients) == list(range(1, 20))
    found = []
    for patient, folders in patients.items():
        masks = write_masks(tmp_path, patient, folders)
        own = list(structures(str(patient), masks, entry("ircadb")))
        assert {one.folder for one in own} == set(folders)
        found += own
    assert {one.folder for one in found if one.state not in ("annotated", "no target")} == set()
    assert all(one.reason for one in found if one.state == "no target")
    named = {name: {int(case) for case in cases} for name, cases in patients_by_target(found).items()}
    assert named == ANNOTATED


def test_missing_empty_unlisted_and_unknown_folders_are_told_apart(write_masks, tmp_path):
    masks = write_masks(tmp_path, 3, ["liver", "spleen", "kidneys", "bone", "pituitary"], empty=("spleen",))
    (masks / "pancreas").mkdir()
    found = {one.folder: one for one in structures("3Dircadb1.3", masks, entry("ircadb"))}
    states = {folder: one.state for folder, one in found.items()}
    assert states == {
        "bone": "no target",
        "kidneys": "annotated",
        "liver": "annotated",
        "pancreas": "no files",
        "pituitary": "unknown",
        "spleen": "empty",
    }
    assert found["kidneys"].targets == "right kidney|left kidney"
    assert found["liver"].files == 2
    assert patients_by_target(found.values())["spleen"] == []
    assert patients_by_target(found.values(), "empty")["spleen"] == ["3Dircadb1.3"]
    assert "stomach" not in patients_by_target(found.values())


def test_the_step_lists_unknown_names_where_the_reader_stops(write_masks, tmp_path, write_slice):
    write_masks(tmp_path / "native", 2, ["liver", "pituitary"])
    for number in range(2):
        place = {"ImagePositionPatient": [0, 0, 2.0 * number]}
        scan = tmp_path / "native" / "3Dircadb1.2" / "PATIENT_DICOM"
        write_slice(scan / f"image_{number}", np.arange(12.0).reshape(3, 4) * 10 - 100, **place)
    assert ircadb.reader(entry("ircadb"), tmp_path / "native").cases() == ("3Dircadb1.2",)
    write_tree_sums(tmp_path / "native", Origin("local", (), ""))
    step = [sys.executable, "-m", "universal_diffusion.preparation.quality.ircadb"]
    command = [*step, "--native", tmp_path / "native", "--output", tmp_path / "structures.csv"]
    assert subprocess.run(command, check=False).returncode == 0
    rows = read_structures(tmp_path / "structures.csv")
    assert [(one.case, one.folder, one.state) for one in rows] == [
        ("3Dircadb1.2", "liver", "annotated"),
        ("3Dircadb1.2", "pituitary", "unknown"),
    ]
