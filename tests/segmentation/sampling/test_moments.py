"""Running mean and variance against NumPy in float64, also where naive sums of squares fail."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from universal_diffusion.segmentation.sampling.moments import Moments


def folded(samples: np.ndarray) -> Moments:
    moments = Moments(torch.from_numpy(samples[0]))
    for sample in samples:
        moments.add(torch.from_numpy(sample))
    return moments


@examples(max_examples=50)
@given(arrays(np.float32, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.floats(0, 1, width=32)))
def test_probabilities_have_numpys_moments(samples):
    moments = folded(samples)
    assert np.allclose(moments.mean, samples.mean(0, dtype=np.float64), atol=1e-6)
    assert np.allclose(moments.variance, samples.var(0, dtype=np.float64), atol=1e-6)
    assert (moments.variance >= 0).all()


@pytest.mark.parametrize(("centre", "spread"), [(1 - 1e-3, 1e-4), (0.5, 1e-6), (1e-20, 1e-21), (1e15, 1e10)])
def test_a_small_spread_around_a_large_mean_survives(centre, spread):
    samples = np.random.default_rng(0).normal(centre, spread, (200, 50)).astype(np.float32)
    moments, exact = folded(samples), samples.astype(np.float64)
    assert np.allclose(moments.mean, exact.mean(0), rtol=1e-6)
    assert np.allclose(moments.variance, exact.var(0), rtol=0.05, atol=(np.spacing(np.float32(centre))) ** 2)


def test_equal_samples_and_a_single_one_have_no_variance_at_all():
    value = np.array([0.1, 1 / 3, 1e-30, 1.0], np.float32)
    for count in (1, 2, 7):
        moments = folded(np.repeat(value[None], count, axis=0))
        assert np.array_equal(moments.mean, value)
        assert not moments.variance.any()
