"""Which CT it is, whatever its file is called: `identity.ct_sha256` of a result's report."""

import hashlib

import numpy as np

from universal_diffusion.segmentation.inputs.ct import CT


def ct_sha256(ct: CT) -> str:
    """SHA-256 of a CT's values as they lie in memory, and of its grid."""
    digest = hashlib.sha256(repr((ct.hu.shape, ct.hu.strides, ct.grid.affine.tolist())).encode())
    digest.update(np.ravel(ct.hu, order="K").data)
    return digest.hexdigest()
