"""The CT tasks of the Medical Segmentation Decathlon: `TaskNN_Name.tar`."""

import json
from dataclasses import dataclass
from pathlib import Path

from universal_diffusion.phantom.archives.codes import Code
from universal_diffusion.phantom.archives.containers import Add, mac_side_file, tar
from universal_diffusion.phantom.archives.nifti import image_and_label, nifti_gz, without_spacing
from universal_diffusion.phantom.cohort import Examination, held_out, labelled
from universal_diffusion.settings import Phantom

AXES = ("LAS", "RAS", "LPS")  # by turns


@dataclass(frozen=True)
class Task:
    """A task: its folder, the stem and numbering of its cases, and its codes with their names in `dataset.json`."""

    folder: str
    stem: str
    first: int
    step: int
    digits: int
    codes: tuple[Code, ...]
    names: tuple[str, ...]

    def case(self, index: int) -> str:
        """Name of the case of that index."""
        return f"{self.stem}_{self.first + self.step * index:0{self.digits}d}"


TASKS = {
    "msd03": Task("Task03_Liver", "liver", 0, 1, 1, ((1, ("liver",)), (2, ("liver tumor",))), ("liver", "cancer")),
    "msd06": Task("Task06_Lung", "lung", 1, 2, 3, ((1, ("lung tumor",)),), ("cancer",)),
    "msd07": Task(
        "Task07_Pancreas",
        "pancreas",
        1,
        3,
        3,
        ((1, ("pancreas",)), (2, ("pancreas tumor",))),
        ("pancreas", "cancer"),
    ),
    "msd08": Task(
        "Task08_HepaticVessel",
        "hepaticvessel",
        1,
        1,
        3,
        ((1, ("hepatic vessel",)), (2, ("hepatic vessel tumor",))),
        ("Vessel", "Tumour"),
    ),
    "msd09": Task("Task09_Spleen", "spleen", 2, 4, 1, ((1, ("spleen",)),), ("spleen",)),
    "msd10": Task("Task10_Colon", "colon", 1, 4, 3, ((1, ("colon tumor",)),), ("colon cancer primaries",)),
}


def write(source: str, phantom: Phantom, study_seed: int, directory: Path) -> None:
    """Write a task's tar into `directory`: labelled and test images, `dataset.json`, macOS side files."""
    task = TASKS[source]
    training, tests = labelled(source, phantom, study_seed), held_out(source, phantom, study_seed)
    with tar(directory / f"{task.folder}.tar") as add:
        for index, examination in enumerate(training):
            _add_case(add, task, index, examination, study_seed)
        for index, examination in enumerate(tests, start=len(training)):
            image, _ = _files(examination, task, AXES[0], study_seed)
            add(f"{task.folder}/imagesTs/{task.case(index)}.nii.gz", image)
        description = _description(task, len(training), len(tests))
        add(f"{task.folder}/dataset.json", json.dumps(description, indent=1).encode())
        add(*mac_side_file(f"{task.folder}/dataset.json"))


def _add_case(add: Add, task: Task, index: int, examination: Examination, study_seed: int) -> None:
    image, label = _files(examination, task, AXES[index % len(AXES)], study_seed)
    for part, data in (("imagesTr", image), ("labelsTr", label)):
        name = f"{task.folder}/{part}/{task.case(index)}.nii.gz"
        add(*mac_side_file(name))
        add(name, data)


def _files(examination: Examination, task: Task, axes: str, study_seed: int) -> tuple[bytes, bytes]:
    image, label, affine = image_and_label(examination.acquire(study_seed), task.codes, axes)
    affine = without_spacing(affine) if examination.spacing_lost else affine
    return nifti_gz(image, affine), nifti_gz(label, affine)


def _description(task: Task, training: int, tests: int) -> dict:
    cases = [task.case(index) for index in range(training + tests)]
    return {
        "name": task.folder.split("_")[1],
        "description": "Synthetic phantom in the layout of the Medical Segmentation Decathlon",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background"} | {str(i): name for i, name in enumerate(task.names, start=1)},
        "numTraining": training,
        "numTest": tests,
        "training": [
            {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in cases[:training]
        ],
        "test": [f"./imagesTs/{case}.nii.gz" for case in cases[training:]],
    }
