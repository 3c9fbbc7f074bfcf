"""How the Hounsfield units of a native scan are distributed: counts in fixed bins, kept with the harmonised volume.

The harmonised image is clipped to the study's HU window, so that what lies beyond it could not be seen there.
"""

import numpy as np

LOWEST, HIGHEST, WIDTH = -2000, 4000, 20  # HU; the first and the last bin also take what lies beyond
EDGES = np.arange(LOWEST, HIGHEST + WIDTH, WIDTH)
BINS = EDGES.size - 1


def hu_counts(image: np.ndarray) -> np.ndarray:
    """Voxels of a 3-D scan in Hounsfield units in each of the bins: (300,) int64."""
    counts = np.zeros(BINS, np.int64)
    for plane in np.moveaxis(image, int(np.argmax(image.strides)), 0):
        bins = np.clip((plane - LOWEST) // WIDTH, 0, BINS - 1).astype(np.int16)
        counts += np.bincount(bins.ravel(), minlength=BINS)
    return counts
