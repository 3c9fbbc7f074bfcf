"""The cases that are measured on: one synthetic patient, at the size of the paper's cases and of the largest scans."""

import numpy as np

from universal_diffusion.phantom.patient import make_patient
from universal_diffusion.phantom.scanner import Protocol, Scan, scan
from universal_diffusion.targets import all_targets
from universal_diffusion.volumes import Grid, Volume

SEED = 1
HU_WINDOW = (-175.0, 250.0)
ANNOTATED = tuple(target.name for target in all_targets() if target.kind == "organ")


def harmonised(case: str) -> Volume:
    """280 x 280 x 268 voxels of 1.5 x 1.5 x 2 mm, as the paper harmonises an abdomen and pelvis; no native labels."""
    taken = _scan(280, 420.0, 2.0)
    low, high = HU_WINDOW
    image = np.clip((taken.image - np.float32(low)) / np.float32(high - low), 0, 1)
    grid, nowhere = Grid(image.shape, taken.affine), np.zeros((1, 1, 1), np.uint32)
    return Volume("amos", case, ANNOTATED, case, image, taken.labels, grid, nowhere, Grid(nowhere.shape, np.eye(4)))


def native(slices: int = 600) -> Scan:
    """512 x 512 x 600 voxels of 0.82 x 0.82 x 0.79 mm: a scan of half the resolution, its voxels repeated."""
    taken = _scan(256, 420.0, 475.0 / (slices // 2))
    image, labels = (_repeated(array[:, :, : slices // 2]) for array in (taken.image, taken.labels))
    halved = np.diag([0.5, 0.5, 0.5, 1.0])
    halved[:3, 3] = -0.25
    return Scan(image, taken.affine @ halved, labels)


def abdomen(matrix: int) -> Scan:
    """An abdomen of 280 mm in slices of 5 mm, `matrix` x `matrix` voxels over 420 mm, with its truth."""
    protocol = Protocol(matrix, 420.0, 5.0, "abdomen", "portal")
    return scan(make_patient(SEED, "benchmark"), protocol, SEED)


def _scan(matrix: int, field_of_view_mm: float, slice_spacing_mm: float) -> Scan:
    protocol = Protocol(matrix, field_of_view_mm, slice_spacing_mm, "abdomen_pelvis", "portal")
    return scan(make_patient(SEED, "benchmark"), protocol, SEED)


def _repeated(array: np.ndarray) -> np.ndarray:
    for axis in range(3):
        array = array.repeat(2, axis)
    return array
