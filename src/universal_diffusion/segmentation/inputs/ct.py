"""One CT as its user gave it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom

from universal_diffusion.volumes import Grid


@dataclass(frozen=True)
class CT:
    """One CT as its user gave it.

    Attributes:
        hu: (X, Y, Z) float32 Hounsfield units in the file's own array order; for DICOM columns, rows, slices.
        grid: its voxel grid; the affine of a tilted DICOM series is sheared.
        path: as given.
        format: what it was read from.
        notes: decisions worth telling: which series of which, tilt, a fourth axis of length 1.
        headers: of DICOM only, without pixels and private elements: one per slice along the third axis, in its order,
            or that of the one enhanced (multi-frame) file.
        frames: of an enhanced file the number, from 1, of the frame that each slice along the third axis is.
    """

    hu: np.ndarray
    grid: Grid
    path: Path
    format: Literal["NIfTI", "NRRD", "MetaImage", "DICOM"]
    notes: tuple[str, ...] = ()
    headers: tuple[pydicom.Dataset, ...] = ()
    frames: tuple[int, ...] = ()
