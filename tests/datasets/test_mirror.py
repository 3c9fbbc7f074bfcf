"""A scan whose header mirrors the patient, turned round."""

import numpy as np
import pytest

from universal_diffusion.datasets.base import Case
from universal_diffusion.datasets.mirror import unmirrored
from universal_diffusion.targets import bits, mask

AFFINE = np.array([[2.0, 0.1, 0, -30], [0, 2, 0, 5], [0, 0, 3, 7], [0, 0, 0, 1]])


@pytest.mark.parametrize(("source", "named"), [("amos", False), ("word", True), ("kits23", True)])
def test_places_are_mirrored_and_only_sides_told_by_place_change_names(source, named):
    labels = np.zeros((6, 4, 4), np.uint32)
    pair = ("right adrenal gland", "left adrenal gland") if source == "word" else ("right kidney", "left kidney")
    labels[:2] = bits([pair[0], "liver"])
    labels[4:] = bits(pair[1:])
    case = Case(source, "a", np.arange(96.0, dtype=np.float32).reshape(6, 4, 4), AFFINE, labels, (*pair, "liver"))
    turned = unmirrored(case)
    here, there = ([*index, 1] @ affine.T for index, affine in (((1, 2, 3), case.affine), ((1, 2, 3), turned.affine)))
    assert np.allclose(there, here * [-1, 1, 1, 1])
    assert np.array_equal(mask(turned.labels, "liver"), mask(labels, "liver"))
    assert np.array_equal(mask(turned.labels, pair[0]), mask(labels, pair[1 if named else 0]))
    assert np.array_equal(mask(turned.labels, pair[1]), mask(labels, pair[0 if named else 1]))
    assert np.array_equal(unmirrored(turned).labels, labels)
    assert np.array_equal(unmirrored(turned).affine, AFFINE)
