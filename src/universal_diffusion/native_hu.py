"""How the Hounsfield units of a native scan are distributed: counts in fixed bins, kept with the harmonised volume.

The harmonised image is clipped to the study's HU window, so that what lies beyond it could not be seen there.
"""

import numpy as np

LOWEST, HIGHEST, WIDTH = -2000, 4000, 20  # HU; the first and the last bin also take what lies beyond
EDGES = np.arange(LOWEST, HIGHEST + WIDTH, WIDTH)
BINS = EDGES.size - 1


def binned(lowest: int, counts: np.ndarray) -> np.ndarray:
    """Voxels in each of the bins, (300,) int64, from the voxels at each whole HU from `lowest` on."""
    bins = np.clip((lowest + np.arange(counts.size) - LOWEST) // WIDTH, 0, BINS - 1)
    result = np.zeros(BINS, np.int64)
    np.add.at(result, bins, counts)
    return result
