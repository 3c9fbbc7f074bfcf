"""KiTS23: the repository's `dataset/` folder with the images beside the masks."""

from pathlib import Path

from universal_diffusion.phantom.archives.codes import KIDNEYS, Code
from universal_diffusion.phantom.archives.containers import folder
from universal_diffusion.phantom.archives.nifti import image_and_label, nifti_gz
from universal_diffusion.phantom.cohort import labelled
from universal_diffusion.settings import Phantom

CODES: tuple[Code, ...] = (
    (1, (*KIDNEYS, "kidney cyst", "kidney tumor")),
    (3, ("kidney cyst",)),
    (2, ("kidney tumor",)),
)
AXES = "IPL"  # slices x rows x columns


def write(source: str, phantom: Phantom, study_seed: int, directory: Path) -> None:
    """Write `dataset/case_NNNNN/{imaging,segmentation}.nii.gz` into `directory`."""
    with folder(directory / "dataset") as add:
        for index, examination in enumerate(labelled(source, phantom, study_seed)):
            image, label, affine = image_and_label(examination.acquire(study_seed), CODES, AXES)
            case = f"case_{case_number(index):05d}"
            add(f"{case}/imaging.nii.gz", nifti_gz(image, affine))
            add(f"{case}/segmentation.nii.gz", nifti_gz(label, affine))


def case_number(index: int) -> int:
    """Training ids are 0-299 and 400-588; the embedded cohort jumps the gap after its third case."""
    return index if index < 3 else 397 + index
