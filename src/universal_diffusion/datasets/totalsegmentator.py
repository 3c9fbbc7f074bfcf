"""TotalSegmentator: `sNNNN/{ct.nii.gz,segmentations/<structure>.nii.gz}`, one mask file a structure.

Every structure has a file in every case, so an empty one means that the structure is not in this scan (mostly outside
its field of view): it was looked for, and is absent. A structure without a file was not annotated, even if that of a
lesion in it shows a part of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from universal_diffusion.datasets import layout
from universal_diffusion.datasets.base import Case, visible_files
from universal_diffusion.datasets.catalogue import Entry, in_order
from universal_diffusion.datasets.grids import check_same_grid
from universal_diffusion.datasets.labels import add_structure
from universal_diffusion.datasets.nifti import read_image, read_label
from universal_diffusion.errors import InputError


@dataclass(frozen=True)
class TotalSegmentatorReader:
    """Reads `files`: case -> (scan, folder of the masks), `base.Reader`."""

    entry: Entry
    files: Mapping[str, tuple[Path, Path]]

    def cases(self) -> tuple[str, ...]:
        return tuple(self.files)

    def paths(self, case: str) -> tuple[Path, ...]:
        return self.files[case]

    def read(self, case: str) -> Case:
        scan, masks = self.files[case]
        image, affine = read_image(scan)
        labels = np.zeros(image.shape, np.uint32, order="F")
        annotated = []
        for path in visible_files(masks, "*.nii.gz"):
            names = self.entry.structure_targets(layout.stem(path))
            if names is None:
                raise InputError(
                    path, "is a structure that the catalogue does not know", "enter it in datasets/catalogue.yaml"
                )
            if names:
                values, mask_affine = read_label(path)
                check_same_grid(image.shape, affine, values.shape, mask_affine, path)
                add_structure(labels, values > 0, names)
                annotated.append(names[0])
        if not annotated:
            raise InputError(masks, "holds no mask of any target", "unpack the archive again, whole")
        return Case(self.entry.key, case, image, affine, labels, in_order(annotated))


def reader(entry: Entry, root: Path) -> TotalSegmentatorReader:
    """The reader of the scans that have a folder of masks."""
    files = layout.joined(
        {masks.resolve().parent.name: (masks.parent / "ct.nii.gz", masks)}
        for masks in layout.folders(root, "segmentations")
        if (masks.parent / "ct.nii.gz").is_file()
    )
    layout.require(files, root, "s0000/ct.nii.gz and s0000/segmentations/*.nii.gz")
    return TotalSegmentatorReader(entry, files)
