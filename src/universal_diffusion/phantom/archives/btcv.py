"""BTCV (Synapse multi-atlas abdomen): `RawData.zip`."""

from pathlib import Path

from universal_diffusion.phantom.archives.codes import Code
from universal_diffusion.phantom.archives.containers import zipped
from universal_diffusion.phantom.archives.nifti import image_and_label, in_axes, nifti_gz
from universal_diffusion.phantom.cohort import held_out, labelled
from universal_diffusion.settings import Phantom

CODES: tuple[Code, ...] = (
    (6, ("liver",)),
    (1, ("spleen",)),
    (2, ("right kidney",)),
    (3, ("left kidney",)),
    (7, ("stomach",)),
    (11, ("pancreas",)),
    (4, ("gallbladder",)),
    (5, ("esophagus",)),
    (9, ("inferior vena cava",)),
    (10, ("portal vein and splenic vein",)),
    (8, ("aorta",)),
    (12, ("right adrenal gland",)),
    (13, ("left adrenal gland",)),
)
AXES = "LAS"


def write(source: str, phantom: Phantom, study_seed: int, directory: Path) -> None:
    """Write the archive into `directory`: `img`/`label` pairs for training, images alone for testing."""
    with zipped(directory / "RawData.zip", compress=False) as add:
        for index, examination in enumerate(labelled(source, phantom, study_seed)):
            number = index + 1 if index < 10 else index + 11  # 0011-0020 do not exist
            image, label, affine = image_and_label(examination.acquire(study_seed), CODES, AXES)
            add(f"RawData/Training/img/img{number:04d}.nii.gz", nifti_gz(image, affine))
            add(f"RawData/Training/label/label{number:04d}.nii.gz", nifti_gz(label, affine))
        for number, examination in enumerate(held_out(source, phantom, study_seed), start=61):
            scan = examination.acquire(study_seed)
            add(f"RawData/Testing/img/img{number:04d}.nii.gz", nifti_gz(*in_axes(scan.image, scan.affine, AXES)))
