"""CHAOS, CT training set: `Train_Sets/CT/N/{DICOM_anon/*.dcm,Ground/liver_GT_*.png}`.

The n-th mask in file order belongs to the n-th DICOM file in file order, which runs from head to feet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK

from universal_diffusion.datasets import layout
from universal_diffusion.datasets.base import Case, itk_name, visible_files
from universal_diffusion.datasets.catalogue import Entry
from universal_diffusion.datasets.dicom import dicom_files, read_folder, slice_order
from universal_diffusion.datasets.hounsfield import check_hounsfield
from universal_diffusion.datasets.labels import add_structure
from universal_diffusion.errors import InputError


@dataclass(frozen=True)
class ChaosReader:
    """Reads `files`: case -> (DICOM_anon, Ground), `base.Reader`. Cases are named "CT_3"."""

    entry: Entry
    files: Mapping[str, tuple[Path, Path]]

    def cases(self) -> tuple[str, ...]:
        return tuple(self.files)

    def paths(self, case: str) -> tuple[Path, ...]:
        return self.files[case]

    def read(self, case: str) -> Case:
        scan, ground = self.files[case]
        slices = dicom_files(scan)
        image, affine = read_folder(scan)
        check_hounsfield(image, scan)
        pictures = visible_files(ground, "*.png")
        if len(pictures) != len(slices):
            raise InputError(
                ground, f"holds {len(pictures)} masks for {len(slices)} slices", "unpack the archive again, whole"
            )
        drawn_on = dict(zip(slices, pictures, strict=True))
        masks = [_mask(drawn_on[path], image.shape[:2]) for path in slice_order(slices)]
        labels = np.zeros(image.shape, np.uint32, order="F")
        add_structure(labels, np.stack([mask.T for mask in masks]).T, self.entry.structures["liver"])
        return Case(self.entry.key, case, image, affine, labels, self.entry.annotated)


def reader(entry: Entry, root: Path) -> ChaosReader:
    """The reader of the CT sets; MR sets (whose series lie one folder deeper) are passed over."""
    files = layout.joined(
        {f"CT_{scan.parent.name}": (scan, scan.parent / "Ground")}
        for scan in layout.folders(root, "DICOM_anon")
        if scan.parent.parent.name == "CT" and (scan.parent / "Ground").is_dir()
    )
    layout.require(files, root, "Train_Sets/CT/1/DICOM_anon/*.dcm and Train_Sets/CT/1/Ground/*.png")
    return ChaosReader(entry, files)


def _mask(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """(columns, rows) boolean mask of one grey picture; its size is looked at before its pixels."""
    picture = SimpleITK.ImageFileReader()
    picture.SetFileName(itk_name(path))
    picture.SetImageIO("PNGImageIO")
    try:
        picture.ReadImageInformation()
        if picture.GetSize() != shape or picture.GetNumberOfComponents() != 1:
            raise InputError(
                path, f"has size {picture.GetSize()} or colours, its slice {shape}", "unpack the archive again, whole"
            )
        return SimpleITK.GetArrayFromImage(picture.Execute()).T > 0
    except RuntimeError:
        raise InputError(path, "is no readable picture", "unpack the archive again") from None
