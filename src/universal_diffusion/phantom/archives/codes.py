"""Label maps in a dataset's own codes, painted from the scan's target bits.

The archives' tables are what the datasets' owners publish, written down independently of `datasets/catalogue.yaml`, so
that a slip in either shows when the archives are read back.
"""

from collections.abc import Sequence

import numpy as np

from universal_diffusion.targets import bits

Code = tuple[int, tuple[str, ...]]

KIDNEYS = ("right kidney", "left kidney")
ADRENALS = ("right adrenal gland", "left adrenal gland")


def paint(labels: np.ndarray, codes: Sequence[Code]) -> np.ndarray:
    """uint8 label map: for each (code, targets) in turn, every voxel of any of the targets takes the code.

    Args:
        labels: uint32 target bits of any shape.
        codes: later entries overwrite earlier ones.
    """
    painted = np.zeros(labels.shape, np.uint8)
    for code, names in codes:
        painted[(labels & bits(names)) != 0] = code
    return painted
