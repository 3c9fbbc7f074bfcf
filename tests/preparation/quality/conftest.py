"""A patient built of ellipsoids, in whom every check finds nothing, and the tables that the checks read."""

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from universal_diffusion.preparation.fingerprints import prints
from universal_diffusion.preparation.inventory import row
from universal_diffusion.preparation.quality.measures import TargetMeasures, scan_measures, target_measures
from universal_diffusion.targets import target
from universal_diffusion.volumes import Grid, Volume

WINDOW = (-175, 250)
SHAPE, SPACING_MM = (96, 76, 62), (4.0, 4.0, 5.0)
ORGANS = {  # centre and half-axes in mm: x to the right, y to the front, z to the head
    "liver": ((70, 20, 60), (70, 60, 75)),
    "liver tumor": ((80, 20, 60), (15, 15, 15)),
    "spleen": ((-100, -30, 60), (28, 40, 45)),
    "stomach": ((-60, 50, 40), (35, 30, 50)),
    "right kidney": ((65, -50, -50), (26, 26, 50)),
    "left kidney": ((-65, -50, -50), (26, 26, 50)),
    "bladder": ((0, 10, -110), (30, 30, 25)),
}
ANNOTATED = tuple(sorted(ORGANS, key=lambda name: target(name).id))


def ellipsoid(centre_mm: tuple, half_mm: tuple) -> np.ndarray:
    """A mask on the patient's grid, whose middle is the origin."""
    axes = [
        ((np.arange(n) - (n - 1) / 2) * step - c) / h
        for n, step, c, h in zip(SHAPE, SPACING_MM, centre_mm, half_mm, strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return x**2 + y**2 + z**2 <= 1


@pytest.fixture(scope="session")
def mask_of() -> Callable:
    """`ellipsoid`, for defects."""
    return ellipsoid


@pytest.fixture(scope="session")
def clean() -> Volume:
    """The clean patient: fat, organs of 60 HU, a spine of 240 HU; the CT's own grid is twice as fine in the slice."""
    x, y = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * 4.0 for n in SHAPE[:2]), indexing="ij")
    hu = np.full(SHAPE, -1000.0, np.float32)
    hu[(x / 170) ** 2 + (y / 130) ** 2 <= 1] = -90
    hu[(x / 22) ** 2 + ((y + 85) / 22) ** 2 <= 1] = 240
    labels = np.zeros(SHAPE, np.uint32)
    for name, shape in ORGANS.items():
        inside = ellipsoid(*shape)
        hu[inside] = 60
        labels[inside] |= target(name).bit
    grid = Grid(SHAPE, np.diag([*SPACING_MM, 1.0]) + np.pad([[-190.0], [-150.0], [-152.5]], ((0, 1), (3, 0))))
    native = Grid((192, 152, 62), grid.affine @ np.diag([0.5, 0.5, 1, 1]))
    fine = labels.repeat(2, 0).repeat(2, 1)
    image = np.clip((hu - WINDOW[0]) / (WINDOW[1] - WINDOW[0]), 0, 1).astype(np.float32)
    native_hu = prints(np.where(hu == 240, 700, hu)).native_hu
    return Volume("amos", "p", ANNOTATED, "", image, labels, grid, fine, native, native_hu)


@pytest.fixture(scope="session")
def relabelled(clean) -> Callable[..., Volume]:
    """The patient with other masks (harmonised grid; None: empty), the same on the CT's own grid."""

    def change(**masks: np.ndarray | None) -> Volume:
        labels = clean.labels.copy()
        for slug, mask in masks.items():
            bit = target(slug).bit
            labels &= ~bit
            if mask is not None:
                labels[mask] |= bit
        return replace(clean, labels=labels, native_labels=labels.repeat(2, 0).repeat(2, 1))

    return change


@pytest.fixture(scope="session")
def tables() -> Callable[..., tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]]:
    """Inventory, scans and targets of some volumes, as the steps write them."""

    def measured(*volumes: Volume) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        scans = [scan_measures(volume, WINDOW) for volume in volumes]
        targets = [one for volume in volumes for one in target_measures(volume, WINDOW)]
        columns = [field.name for field in fields(TargetMeasures)]
        return pd.DataFrame(map(row, volumes)), pd.DataFrame(scans), pd.DataFrame(targets, columns=columns)

    return measured
