"""AbdomenCT-1K, the fully supervised benchmark: `Subtask1.zip` and `Subtask2.zip` with equal file names inside."""

from pathlib import Path

import numpy as np

from universal_diffusion.phantom import cohort
from universal_diffusion.phantom.archives.codes import KIDNEYS, Code
from universal_diffusion.phantom.archives.containers import zipped
from universal_diffusion.phantom.archives.nifti import image_and_label, nifti_gz, without_spacing
from universal_diffusion.settings import Phantom

CODES: tuple[Code, ...] = ((1, ("liver",)), (2, KIDNEYS), (3, ("spleen",)), (4, ("pancreas",)))
AXES = "LPS"
SHEARED = (1, 2)  # subtask and number of the case that SimpleITK refuses: "no orthonormal definition found"
SHEAR = np.array([[1, 1e-3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def write(source: str, phantom: Phantom, study_seed: int, directory: Path) -> None:
    """Write both archives into `directory`."""
    for subtask, examinations in enumerate(cohort.abdomenct1k(phantom, study_seed), start=1):
        with zipped(directory / f"Subtask{subtask}.zip", compress=False) as add:
            for number, examination in enumerate(examinations, start=1):
                image, label, affine = image_and_label(examination.acquire(study_seed), CODES, AXES)
                if examination.spacing_lost:
                    affine = without_spacing(affine)
                if (subtask, number) == SHEARED:
                    affine = affine @ SHEAR
                add(f"Subtask{subtask}/TrainImage/train_{number:04d}_0000.nii.gz", nifti_gz(image, affine))
                add(f"Subtask{subtask}/TrainMask/train_{number:04d}.nii.gz", nifti_gz(label, affine))
