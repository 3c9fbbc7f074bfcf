"""Fingerprints survive re-ordering and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from universal_diffusion.errors import InputError
from universal_diffusion.preparation.leakage import equal_pairs, fingerprint

SCANS = arrays.arrays(np.int16, arrays.array_shapes(min_dims=3, max_dims=3, max_side=6))


@given(SCANS, st.permutations(range(3)), st.lists(st.booleans(), min_size=3, max_size=3), st.floats(-0.4, 0.4))
def test_flips_axis_order_and_rounding_do_not_matter(scan, axes, flips, noise):
    stored = np.flip(scan.transpose(axes), [axis for axis, flip in enumerate(flips) if flip])
    assert fingerprint(stored.astype(np.float32) + np.float32(noise)) == fingerprint(scan)


@given(SCANS, st.data())
def test_one_changed_voxel_matters(scan, data):
    changed = scan.copy()
    at = tuple(data.draw(st.integers(0, side - 1)) for side in scan.shape)
    changed[at] ^= 1
    assert fingerprint(changed) != fingerprint(scan)


@given(SCANS)
def test_padding_and_offset_are_limits(scan):
    assert fingerprint(np.pad(scan, 1)) != fingerprint(scan)
    assert fingerprint(scan.astype(np.int32) + 1024) != fingerprint(scan)


def test_values_that_are_no_hounsfield_units_are_refused():
    with pytest.raises(InputError, match=r"toy: holds values beyond"):
        fingerprint(np.array([[[0.0, 1e8]]]), "toy")


def test_pairs_within_and_across_sources():
    scans = {("b", "2"): "x", ("a", "1"): "x", ("a", "3"): "x", ("c", "4"): "y"}
    assert equal_pairs(scans.items()) == [
        (("a", "1"), ("a", "3"), "x"),
        (("a", "1"), ("b", "2"), "x"),
        (("a", "3"), ("b", "2"), "x"),
    ]
