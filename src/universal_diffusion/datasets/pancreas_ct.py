"""NIH Pancreas-CT: DICOM below `PANCREAS_0001/<study>/<series>/`, labels `label0001.nii.gz` in a folder of their own.

The label files' axes run differently from the scans' (left, anterior, inferior) and their origins are not to be
trusted, so a label is brought to its scan by axis directions, and takes the scan's affine.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from universal_diffusion.datasets import layout
from universal_diffusion.datasets.base import Case, visible_files
from universal_diffusion.datasets.catalogue import Entry
from universal_diffusion.datasets.dicom import dicom_files, read_folder
from universal_diffusion.datasets.grids import check_same_grid, in_axis_order
from universal_diffusion.datasets.hounsfield import check_hounsfield
from universal_diffusion.datasets.labels import encode
from universal_diffusion.datasets.nifti import read_label
from universal_diffusion.errors import InputError

WITHDRAWN = ("0025", "0070")  # their scans left the collection in 2020, their labels did not


@dataclass(frozen=True)
class PancreasReader:
    """Reads `files`: case -> (folder of the series, label), `base.Reader`."""

    entry: Entry
    files: Mapping[str, tuple[Path, Path]]

    def cases(self) -> tuple[str, ...]:
        return tuple(self.files)

    def paths(self, case: str) -> tuple[Path, ...]:
        return self.files[case]

    def read(self, case: str) -> Case:
        series, label_path = self.files[case]
        image, affine = read_folder(series)
        check_hounsfield(image, series)
        codes, label_affine = read_label(label_path)
        codes = in_axis_order(codes, label_affine, affine)
        check_same_grid(image.shape, affine, codes.shape, affine, label_path)
        labels = encode(codes, self.entry.labels, label_path)
        return Case(self.entry.key, case, image, affine, labels, self.entry.annotated)


def reader(entry: Entry, root: Path) -> PancreasReader:
    """The reader of the collection; a scan without a label is passed over, a label without its scan refused."""
    patients = {folder.name[-4:]: folder for folder in layout.folders(root, r"PANCREAS_\d{4}")}
    files = layout.joined(
        _case(label, patients)
        for folder in layout.folders(root, ".*")
        for label in visible_files(folder, "label*.nii.gz")
        if re.fullmatch(r"label\d{4}", layout.stem(label)) and layout.stem(label)[-4:] not in WITHDRAWN
    )
    layout.require(files, root, "PANCREAS_0001/<study>/<series>/*.dcm and label0001.nii.gz in a folder of labels")
    return PancreasReader(entry, files)


def _case(label: Path, patients: Mapping[str, Path]) -> dict[str, tuple[Path, Path]]:
    number = layout.stem(label)[-4:]
    series = (
        [folder for folder in layout.folders(patients[number], ".*") if dicom_files(folder)]
        if number in patients
        else []
    )
    if len(series) != 1:
        raise InputError(
            label,
            f"has {len(series)} series of DICOM files below PANCREAS_{number} instead of one",
            "complete the download, or take the label away",
        )
    return {f"PANCREAS_{number}": (series[0], label)}
