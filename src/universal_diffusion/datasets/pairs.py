"""The reader of every dataset that ships a scan and its label map as a pair of NIfTI files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from universal_diffusion.datasets.base import Case
from universal_diffusion.datasets.catalogue import Entry
from universal_diffusion.datasets.grids import check_same_grid
from universal_diffusion.datasets.labels import encode
from universal_diffusion.datasets.nifti import read_image, read_label
from universal_diffusion.datasets.sides import resolve


@dataclass(frozen=True)
class PairReader:
    """Reads `files`: case -> (image, label), with the label codes of the catalogue entry (`base.Reader`)."""

    entry: Entry
    files: Mapping[str, tuple[Path, Path]]

    def cases(self) -> tuple[str, ...]:
        return tuple(self.files)

    def paths(self, case: str) -> tuple[Path, ...]:
        return self.files[case]

    def read(self, case: str) -> Case:
        image_path, label_path = self.files[case]
        image, affine = read_image(image_path)
        codes, label_affine = read_label(label_path)
        check_same_grid(image.shape, affine, codes.shape, label_affine, label_path)
        labels = resolve(encode(codes, self.entry.labels, label_path), image, affine, image_path)
        return Case(self.entry.key, case, image, affine, labels, self.entry.annotated)
