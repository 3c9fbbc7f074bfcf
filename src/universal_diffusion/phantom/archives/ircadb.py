"""3D-IRCADb-01: `3Dircadb1.zip` of zips, one DICOM file without suffix per slice of the scan and of every mask.

Folder names differ between patients as in the real set, and a structure without a folder was not looked for.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_fill_holes, label

from universal_diffusion.phantom.archives.codes import KIDNEYS
from universal_diffusion.phantom.archives.containers import Add, zipped, zipped_bytes
from universal_diffusion.phantom.archives.dicom import Series, slice_file
from universal_diffusion.phantom.archives.nifti import in_axes
from universal_diffusion.phantom.cohort import labelled
from universal_diffusion.phantom.incidental import liver_cyst
from universal_diffusion.phantom.scanner import Scan
from universal_diffusion.settings import Phantom
from universal_diffusion.targets import bits

MASK_VALUE = 255
PATIENTS = (  # mask folders of the first, second, ... patient, repeated; "#" numbers the separate tumours
    "artery bone leftkidney leftlung liver liverkyst livertumor0# pancreas portalvein rightkidney rightlung skin spleen"
    " stomach venoussystem",
    "bone gallbladder leftkidney liver livertumor portalvein rightkidney skin spleen venacava",
    "bone gallbladder kidneys leftlung liver livercyst livertumors portalvein rightlung skin spleen stomach venacava",
    "artery bone liver livertumor# pancreas portalvein1 skin venacava",
    "artery bone gallbladder leftkidney leftsurrenalgland liver lungs pancreas portalvein rightkidney"
    " rightsurrenalgland skin spleen stomach venoussystem",
)
DOUBLED = 1  # index of the patient whose zips hold their folder twice: PATIENT_DICOM/PATIENT_DICOM/image_0
TARGETS = {
    "artery": ("aorta",),
    "gallbladder": ("gallbladder",),
    "kidneys": KIDNEYS,
    "leftkidney": ("left kidney",),
    "leftsurrenalgland": ("left adrenal gland",),
    "liver": ("liver",),
    "livertumor": ("liver tumor",),
    "livertumors": ("liver tumor",),
    "pancreas": ("pancreas",),
    "portalvein": ("portal vein and splenic vein",),
    "portalvein1": ("portal vein and splenic vein",),
    "rightkidney": ("right kidney",),
    "rightsurrenalgland": ("right adrenal gland",),
    "spleen": ("spleen",),
    "stomach": ("stomach",),
    "venacava": ("inferior vena cava",),
    "venoussystem": ("inferior vena cava", "hepatic vessel"),
}


def write(source: str, phantom: Phantom, study_seed: int, directory: Path) -> None:
    """Write the archive into `directory`."""
    with zipped(directory / "3Dircadb1.zip", compress=False) as add:
        for index, examination in enumerate(labelled(source, phantom, study_seed)):
            scan = examination.acquire(study_seed)
            folder = f"3Dircadb1/3Dircadb1.{index + 1}"
            depth = 2 if index == DOUBLED else 1
            series = _series(f"liver_{index + 1:02d}^patient", scan, study_seed)
            add(f"{folder}/PATIENT_DICOM.zip", _zip("PATIENT_DICOM/" * depth, [("", scan.image)], series, scan))
            masks = _masks(PATIENTS[index % len(PATIENTS)].split(), scan)
            add(f"{folder}/MASKS_DICOM.zip", _zip("MASKS_DICOM/" * depth, masks, series, scan))


def _series(name: str, scan: Scan, study_seed: int) -> Series:
    x, y, z = np.diag(scan.affine)[:3]
    return Series(name, study_seed, (1, 0, 0, 0, 1, 0), (y, x, z))


def _zip(prefix: str, volumes, series: Series, scan: Scan) -> bytes:
    buffer = io.BytesIO()
    with zipped_bytes(buffer, compress=True) as add:
        for name, volume in volumes:
            _add_slices(add, f"{prefix}{name}", in_axes(volume, scan.affine, "LPS")[0], series)
    return buffer.getvalue()


def _add_slices(add: Add, folder: str, volume: np.ndarray, series: Series) -> None:
    for k in range(volume.shape[2]):
        position = (0.0, 0.0, series.spacing_mm[2] * k)
        add(f"{folder}image_{k}", slice_file(series, volume[:, :, k].T, number=k, position_mm=position))


def _masks(folders: list[str], scan: Scan) -> Iterator[tuple[str, np.ndarray]]:
    """(folder name with a slash, uint8 mask of 0 and 255) for every structure of a patient."""
    for name in folders:
        if name.endswith("#"):
            tumours, count = label((scan.labels & bits(["liver tumor"])) != 0)
            masks = [(f"{name[:-1]}{i}/", tumours == i) for i in range(1, count + 1)]
        else:
            masks = [(f"{name}/", _mask(name, scan))]
        yield from ((folder, np.where(mask, MASK_VALUE, 0).astype(np.uint8)) for folder, mask in masks)


def _mask(name: str, scan: Scan) -> np.ndarray:
    if name in TARGETS:
        return (scan.labels & bits(TARGETS[name])) != 0
    if name in ("liverkyst", "livercyst"):
        return liver_cyst(scan)
    body = _body(scan.image)
    if name == "skin":
        return body
    if name == "bone":
        return body & (scan.image > 250) & (scan.labels == 0)
    lungs = body & (scan.image < -600)
    right = (np.arange(len(lungs)) >= len(lungs) / 2)[:, None, None]  # RAS: x grows to the patient's right
    return lungs & {"lungs": True, "rightlung": right, "leftlung": ~right}[name]


def _body(image: np.ndarray) -> np.ndarray:
    """Filled outline of the largest thing denser than air."""
    things, count = label(image > -300)
    largest = np.argmax(np.bincount(things.ravel())[1:]) + 1 if count else 0
    return np.stack([binary_fill_holes(cut) for cut in np.moveaxis(things == largest, 2, 0)], axis=2)
