"""A finding outside the 29 targets: the cyst of the liver that some 3D-IRCADb patients have, and that is no tumour."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from universal_diffusion.phantom.scanner import Scan
from universal_diffusion.targets import bits

CYST_HU = 6
LARGEST_RADIUS_MM = 14


def liver_cyst(scan: Scan) -> np.ndarray:
    """Where the cyst sits: a ball around the point of plain liver farthest from its surface, lesions and vessels.

    Returns:
        Boolean (X, Y, Z), empty where there is no liver.
    """
    plain = scan.labels == bits(["liver"])
    spacing = np.diag(scan.affine)[:3]
    depth = distance_transform_edt(plain, sampling=spacing)
    centre = np.unravel_index(depth.argmax(), depth.shape)
    offsets = np.ogrid[tuple(slice(-c, n - c) for c, n in zip(centre, depth.shape, strict=True))]
    squared = sum((o * s) ** 2 for o, s in zip(offsets, spacing, strict=True))
    return plain & (squared < min(0.7 * depth.max(), LARGEST_RADIUS_MM) ** 2)


def with_liver_cyst(scan: Scan) -> Scan:
    """The scan with a cyst of water-like density painted in; its labels stay liver, and its noise stays."""
    cyst = liver_cyst(scan)
    image = scan.image.copy()
    if cyst.any():
        image[cyst] += np.int16(CYST_HU - round(float(image[cyst].mean())))
    return Scan(image=image, affine=scan.affine, labels=scan.labels)
