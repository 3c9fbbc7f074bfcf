"""WORD: `WORD-V0.1.0.zip`, encrypted with the password that its authors publish."""

from pathlib import Path

from universal_diffusion.phantom.archives.codes import ADRENALS, Code
from universal_diffusion.phantom.archives.containers import encrypted_zip
from universal_diffusion.phantom.archives.nifti import image_and_label, in_axes, nifti_gz
from universal_diffusion.phantom.cohort import first_validation, held_out, labelled
from universal_diffusion.settings import Phantom

CODES: tuple[Code, ...] = (
    (1, ("liver",)),
    (2, ("spleen",)),
    (3, ("left kidney",)),
    (4, ("right kidney",)),
    (11, ("intestine",)),
    (10, ("colon",)),
    (5, ("stomach",)),
    (9, ("duodenum",)),
    (8, ("pancreas",)),
    (6, ("gallbladder",)),
    (7, ("esophagus",)),
    (12, ADRENALS),
    (13, ("rectum",)),
    (14, ("bladder",)),
    (15, ("left head of femur",)),
    (16, ("right head of femur",)),
)
AXES = "LPS"
PASSWORD = b"word@uestc"


def write(source: str, phantom: Phantom, study_seed: int, directory: Path) -> None:
    """Write the archive into `directory`: training and validation pairs, test images alone."""
    examinations = labelled(source, phantom, study_seed)
    with encrypted_zip(directory / "WORD-V0.1.0.zip", PASSWORD, study_seed) as add:
        for index, examination in enumerate(examinations):
            part = "Tr" if index < first_validation(len(examinations)) else "Val"
            image, label, affine = image_and_label(examination.acquire(study_seed), CODES, AXES)
            add(f"WORD-V0.1.0/images{part}/word_{index + 1:04d}.nii.gz", nifti_gz(image, affine))
            add(f"WORD-V0.1.0/labels{part}/word_{index + 1:04d}.nii.gz", nifti_gz(label, affine))
        for number, examination in enumerate(held_out(source, phantom, study_seed), start=len(examinations) + 1):
            scan = examination.acquire(study_seed)
            add(f"WORD-V0.1.0/imagesTs/word_{number:04d}.nii.gz", nifti_gz(*in_axes(scan.image, scan.affine, AXES)))
