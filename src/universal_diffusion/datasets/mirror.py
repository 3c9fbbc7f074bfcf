"""Correction of a scan whose header mirrors the patient: what it calls right is left.

No affine tells of this; the anatomy does (liver left, spleen right). Such cases are named in the configuration.
"""

from dataclasses import replace

import numpy as np

from universal_diffusion.datasets.base import Case
from universal_diffusion.datasets.catalogue import MERGED, entry
from universal_diffusion.targets import bits, mask

FLIP = np.diag([-1.0, 1.0, 1.0, 1.0])


def unmirrored(case: Case) -> Case:
    """The case with x turned round in its affine. Sides that our reader told apart by place change their names too."""
    known = entry(case.source)
    native_names = {name for names in (*known.labels.values(), *known.structures.values()) for name in names}
    labels = case.labels.copy()
    for pair in (MERGED[name] for name in MERGED if name in native_names):
        labels &= ~bits(pair)
        for side, other in (pair, pair[::-1]):
            labels[mask(case.labels, other)] |= bits([side])
    return replace(case, affine=FLIP @ case.affine, labels=labels)
