"""TCIA Pancreas-CT (NIH): the folder `Pancreas-CT` of DICOM series and the zip of NIfTI labels.

Two conventions meet here. The DICOM rows run from posterior to anterior (orientation 1, 0, 0, 0, -1, 0); the labels
have axes (L, A, I), so the slices the other way round, and an origin that is not the scan's.
"""

from pathlib import Path

import numpy as np

from universal_diffusion.phantom.archives.codes import Code, paint
from universal_diffusion.phantom.archives.containers import Add, folder, zipped
from universal_diffusion.phantom.archives.dicom import Series, slice_file
from universal_diffusion.phantom.archives.nifti import in_axes, nifti_gz
from universal_diffusion.phantom.cohort import labelled
from universal_diffusion.phantom.scanner import Scan
from universal_diffusion.randomness import numpy_generator
from universal_diffusion.settings import Phantom

CODES: tuple[Code, ...] = ((1, ("pancreas",)),)
WITHDRAWN = (25, 70)  # their labels are still published, their CTs are not
LABELS = "TCIA_pancreas_labels-02-05-2017"
ROWS_ANTERIORLY = (1, 0, 0, 0, -1, 0)
INTERCEPT = -1024


def write(source: str, phantom: Phantom, study_seed: int, directory: Path) -> None:
    """Write the CT folder and the label zip into `directory`."""
    examinations = labelled(source, phantom, study_seed)
    numbers = [n for n in range(1, len(examinations) + 1 + len(WITHDRAWN)) if n not in WITHDRAWN]
    with (
        folder(directory / "Pancreas-CT") as add_ct,
        zipped(directory / f"{LABELS}-1.zip", compress=False) as add_label,
    ):
        for number, examination in zip(numbers, examinations, strict=False):
            scan = examination.acquire(study_seed)
            _add_series(add_ct, number, scan, study_seed)
            add_label(f"{LABELS}/label{number:04d}.nii.gz", _label(scan))
        recropped = Scan(image=scan.image[:, :, 2:], affine=scan.affine, labels=scan.labels[:, :, 2:])
        add_label(f"{LABELS}/label{WITHDRAWN[0]:04d}.nii.gz", _label(recropped))


def _label(scan: Scan) -> bytes:
    label, affine = in_axes(paint(scan.labels, CODES), scan.affine, "LAI")
    affine[:3, 3] = 0
    return nifti_gz(label, affine)


def _add_series(add: Add, number: int, scan: Scan, study_seed: int) -> None:
    volume, affine = in_axes(scan.image, scan.affine, "LAS")
    right, anterior, superior = np.abs(np.diag(affine)[:3])
    patient = f"PANCREAS_{number:04d}"
    series = Series(patient, study_seed, ROWS_ANTERIORLY, (anterior, right, superior), INTERCEPT)
    folder_name = f"{patient}/{series.uid('study')}/{series.uid('series')}"
    slices = volume.shape[2]
    file_numbers = numpy_generator(study_seed, "file names", patient).permutation(slices) + 1
    for k in range(slices):
        pixels = (volume[:, :, k].T - INTERCEPT).astype(np.uint16)
        x, y, z = affine[:3, :3] @ (0, 0, k) + affine[:3, 3]
        data = slice_file(series, pixels, number=slices - k, position_mm=(-x, -y, z))
        add(f"{folder_name}/1-{file_numbers[k]:03d}.dcm", data)
