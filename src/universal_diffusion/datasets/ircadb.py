"""3D-IRCADb-01: `3Dircadb1.N/{PATIENT_DICOM/image_*,MASKS_DICOM/<structure>/image_*}`, one mask folder a structure.

Folders are named differently from patient to patient; the catalogue's `structures` says which are targets. The set
never says that something is absent: what has no folder, or an empty one, was not annotated. The same holds for the
side on which a folder of both kidneys or adrenal glands shows nothing, and for an organ of which only the tumour has a
folder.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from universal_diffusion.datasets import layout
from universal_diffusion.datasets.base import Case
from universal_diffusion.datasets.catalogue import Entry, in_order
from universal_diffusion.datasets.dicom import dicom_files, read_folder
from universal_diffusion.datasets.grids import check_same_grid
from universal_diffusion.datasets.hounsfield import check_hounsfield
from universal_diffusion.datasets.labels import add_structure
from universal_diffusion.datasets.sides import resolve
from universal_diffusion.errors import InputError
from universal_diffusion.targets import mask

PARTS = ("PATIENT_DICOM", "MASKS_DICOM")
EXPECTED = "3Dircadb1.N/PATIENT_DICOM/image_0 and 3Dircadb1.N/MASKS_DICOM/liver/image_0 (the inner zips unpacked)"


@dataclass(frozen=True)
class IrcadbReader:
    """Reads `files`: case -> (folder of the scan, folder of the mask folders), `base.Reader`."""

    entry: Entry
    files: Mapping[str, tuple[Path, Path]]

    def cases(self) -> tuple[str, ...]:
        return tuple(self.files)

    def paths(self, case: str) -> tuple[Path, ...]:
        return self.files[case]

    def read(self, case: str) -> Case:
        scan, masks = self.files[case]
        image, affine = read_folder(scan)
        check_hounsfield(image, scan)
        labels = np.zeros(image.shape, np.uint32, order="F")
        shown = []
        for folder in layout.folders(masks, ".*")[1:]:
            if not dicom_files(folder):
                continue
            names = self.entry.structure_targets(folder.name)
            if names is None:
                raise InputError(
                    folder, "is a structure that the catalogue does not know", "enter it in datasets/catalogue.yaml"
                )
            if names:
                values, mask_affine = read_folder(folder)
                check_same_grid(image.shape, affine, values.shape, mask_affine, folder)
                add_structure(labels, values > 0, names)
                if values.any():
                    shown.append(names[0])
        labels = resolve(labels, image, affine, scan)
        annotated = tuple(name for name in in_order(shown) if mask(labels, name).any())
        return Case(self.entry.key, case, image, affine, labels, annotated)


def reader(entry: Entry, root: Path) -> IrcadbReader:
    """The reader of the patients found below `root`."""
    folders = layout.folders(root, r"3Dircadb1\.\d+")
    patients = [folder for folder in folders if any(_part(folder, name) for name in PARTS)]
    files = layout.joined({folder.name: _scan_and_masks(folder)} for folder in patients)
    layout.require(files, root, EXPECTED)
    return IrcadbReader(entry, files)


def _scan_and_masks(patient: Path) -> tuple[Path, Path]:
    """The two folders of a patient that hold files, below a doubled one where there is one."""
    scan, masks = (_part(patient, name) for name in PARTS)
    for part, name in zip((scan, masks), PARTS, strict=True):
        if part is None:
            raise InputError(patient, f"has no folder {name}", f"expected {EXPECTED}")
    return scan, masks


def _part(patient: Path, name: str) -> Path | None:
    """The innermost folder of that name, unless another patient's folder lies between (a doubled patient folder)."""
    inner = [
        folder
        for folder in layout.folders(patient, name)
        if not any(re.fullmatch(r"3Dircadb1\.\d+", part) for part in folder.relative_to(patient).parts)
    ]
    return inner[-1] if inner else None
