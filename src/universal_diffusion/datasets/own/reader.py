"""Reads the cases of an own dataset: a NIfTI file or a DICOM folder as scan, a label map or a mask per structure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from universal_diffusion.datasets.base import Case
from universal_diffusion.datasets.catalogue import Entry, in_order
from universal_diffusion.datasets.dicom import read_folder
from universal_diffusion.datasets.grids import check_same_grid, in_axis_order
from universal_diffusion.datasets.hounsfield import check_hounsfield
from universal_diffusion.datasets.labels import add_structure, encode
from universal_diffusion.datasets.nifti import read_image, read_label
from universal_diffusion.datasets.own.cases import LABEL_MAP, CaseFiles, find
from universal_diffusion.datasets.own.description import DESCRIPTION, Description, read, refuse_first
from universal_diffusion.datasets.sides import resolve
from universal_diffusion.errors import InputError
from universal_diffusion.targets import target

CODES_NAMED = 5  # unknown codes that a message lists


@dataclass(frozen=True)
class OwnReader:
    """Reads `files` below `root` as `description` says (`base.Reader`)."""

    entry: Entry
    description: Description
    root: Path
    files: Mapping[str, CaseFiles]

    def cases(self) -> tuple[str, ...]:
        return tuple(self.files)

    def paths(self, case: str) -> tuple[Path, ...]:
        return tuple(self.root / path for path in (self.files[case].image, *self.files[case].masks.values()))

    def read(self, case: str) -> Case:
        files = self.files[case]
        image, affine = _read_scan(self.root / files.image)
        read_labels = self._structures if self.description.by_structure else self._label_map
        labels, annotated = read_labels(case, image.shape, affine)
        labels = resolve(labels, image, affine, self.root / files.image)
        return Case(self.entry.key, case, image, affine, labels, annotated)

    def _label_map(self, case: str, shape: tuple[int, ...], affine: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """Label bits of the case's one mask, and the targets that were looked for."""
        path = self.root / self.files[case].masks[LABEL_MAP]
        codes = _on_grid(path, shape, affine)
        _refuse_unknown(codes, self.entry.labels, path)
        missed = self.description.not_annotated.get(case)
        for code, (name, *_) in self.description.labels.items():
            if set(in_order([name])) <= set(missed or ()) and (codes == code).any():
                problem = f"holds label {code} ({name}), which not_annotated says nobody looked for in {case}"
                raise InputError(path, problem, f"correct not_annotated in {DESCRIPTION}, or the mask")
        annotated = tuple(name for name in self.entry.annotated if name not in (missed or ()))
        if missed is None and any(target(name).kind == "organ" for name in annotated) and not codes.any():
            remedy = f"draw it, move the case away, or confirm it by `{case}: []` under not_annotated"
            raise InputError(path, "is empty: not one voxel is labelled", remedy)
        return encode(codes, self.entry.labels, path), annotated

    def _structures(self, case: str, shape: tuple[int, ...], affine: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """Label bits of the case's mask files, and the targets that have one, empty ones included."""
        labels, annotated = np.zeros(shape, np.uint32, order="F"), []
        for structure, name in self.files[case].masks.items():
            path, targets = self.root / name, self.entry.structure_targets(structure)
            if targets is None:
                remedy = f"add `{structure}: <target>` under labels, or {structure} to not_a_target"
                raise InputError(path, f"is of a structure that {DESCRIPTION} does not name", remedy)
            if targets:
                mask = _on_grid(path, shape, affine)
                if mask.min() < 0 or ((mask != 0) & (mask != mask.max())).any():
                    problem = "holds several values, expected 0 and one other"
                    raise InputError(path, problem, "give one structure per file")
                add_structure(labels, mask != 0, targets)
                annotated.append(targets[0])
        if not annotated:
            where = self.root / next(iter(self.files[case].masks.values()))
            raise InputError(where.parent, "holds no mask of any target", "add one, or move the case away")
        return labels, in_order(annotated)


def reader(entry: Entry, root: Path) -> OwnReader:
    """The reader of the own dataset in `root`. Raises InputError for a wrong description or files that lack others."""
    description = read(root)
    found = find(root, description)
    refuse_first(found.problems, root)
    return OwnReader(entry, description, root, found.cases)


def _read_scan(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_dir():
        return read_image(path)
    image, affine = read_folder(path)
    check_hounsfield(image, path)
    return image, affine


def _on_grid(path: Path, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """The integers of a mask in the scan's axis order, whichever its own; an InputError unless the grids are one."""
    codes, own_affine = read_label(path)
    change = nibabel.orientations.ornt_transform(
        *(nibabel.orientations.io_orientation(one) for one in (own_affine, affine))
    )
    turned = own_affine @ nibabel.orientations.inv_ornt_aff(change, codes.shape)
    codes = in_axis_order(codes, own_affine, affine)
    check_same_grid(shape, affine, codes.shape, turned, path)
    return codes


def _refuse_unknown(codes: np.ndarray, table: Mapping[int, tuple[str, ...]], path: Path) -> None:
    """Stop with an InputError that counts the voxels of every code that is not in the table."""
    strange = ~np.isin(codes, (0, *table))
    if not strange.any():
        return
    values, counts = np.unique(codes[strange], return_counts=True)
    told = [f"{value} in {count} voxels" for value, count in zip(values, counts, strict=True)][:CODES_NAMED]
    more = f" and {len(values) - CODES_NAMED} other codes" if len(values) > CODES_NAMED else ""
    if values[0] < 0:
        raise InputError(path, f"holds the negative label {', '.join(told)}{more}", "give codes from 1 on, 0 elsewhere")
    raise InputError(
        path,
        f"holds label {', '.join(told)}{more}; {DESCRIPTION} knows 0, {', '.join(map(str, table))}",
        f"add `{values[0]}: <target>` under labels, or {values[0]} to not_a_target",
    )
