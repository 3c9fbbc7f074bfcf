"""The protocol "clip-universal": Dice as the published comparison on 3D-IRCADb counts it.

Table 3's competitors were measured by the CLIP-Driven Universal Model (Liu et al. 2023), whose evaluation differs from
ours in four ways: on a harmonised grid; only where the target is present; of organs only the largest component of the
prediction is kept; and one is added to the denominator. What that code does was read and is told here; none of it is
used (CC BY-NC-ND). It post-processes vessels other than aorta and vena cava, cysts and tumours by rules of their own,
which are left out: such a target has no score under this protocol.
"""

import numpy as np
from scipy.ndimage import label

from universal_diffusion.boxes import bounding_box

COVERED = frozenset(
    [
        *("spleen", "right kidney", "left kidney", "gallbladder", "esophagus", "liver", "stomach", "pancreas"),
        *("aorta", "inferior vena cava", "right adrenal gland", "left adrenal gland", "duodenum", "colon", "intestine"),
        *("rectum", "bladder", "prostate", "left head of femur", "right head of femur"),
    ]
)
TOUCHING = np.ones((3, 3, 3))  # voxels that share a corner are connected


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest 26-connected component of a boolean mask (X, Y, Z), the first of equal ones; empty stays empty."""
    kept = np.zeros_like(mask)
    box = bounding_box(mask)
    if box is not None:
        components, _ = label(mask[box], TOUCHING)
        sizes = np.bincount(components.ravel(order="K"))
        kept[box] = components == 1 + np.argmax(sizes[1:])
    return kept


def clip_universal_dice(target: str, truth: np.ndarray, predicted: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B| + 1) of the truth and the prediction's largest component, both on the harmonised grid.

    NaN where the truth is empty, and for a target that is not in `COVERED`.
    """
    if target not in COVERED or not truth.any():
        return float("nan")
    kept = largest_component(predicted)
    return 2 * np.count_nonzero(truth & kept) / (np.count_nonzero(truth) + np.count_nonzero(kept) + 1)
