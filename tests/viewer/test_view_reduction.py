"""Fewer voxels, the same place."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from universal_diffusion.viewer.reduction import block_means, reduced_levels, reduction
from universal_diffusion.volumes import Grid

shapes = st.tuples(*[st.integers(1, 14)] * 3)


@st.composite
def grids(draw) -> Grid:
    spacing = np.array(draw(st.tuples(*[st.sampled_from([0.6, 0.6, 1.0, 2.5])] * 3)))
    axes = np.eye(3)[draw(st.permutations(range(3)))] * draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag(spacing)
    affine[:3, 3] = draw(st.tuples(*[st.floats(-100, 100)] * 3))
    return Grid(draw(shapes), affine)


@given(grids(), st.integers(1, 400), st.integers(0, 99))
@settings(max_examples=60)
def test_landmarks_stay_where_they_were(full, most, seed):
    reduced = reduction(full, most)
    assert np.prod(reduced.grid.shape) <= max(most, 1)
    voxel = np.random.default_rng(seed).integers(0, full.shape)
    levels = np.zeros(full.shape, np.uint8)
    levels[tuple(slice(f * (v // f), f * (v // f) + f) for f, v in zip(reduced.factors, voxel, strict=True))] = 1
    part = reduced_levels(levels, reduced)
    assert part.values.tolist() == [[[1]]]
    assert part.start == tuple(v // f for f, v in zip(reduced.factors, voxel, strict=True))
    shown = part.grid.affine[:3, 3]
    assert np.allclose(shown, (reduced.grid.affine @ [*part.start, 1])[:3])
    # The landmark lies within half a block of the voxel that stands for it.
    away = np.linalg.inv(full.affine)[:3, :3] @ (shown - (full.affine @ [*voxel, 1])[:3])
    assert (np.abs(away) <= (np.array(reduced.factors) - 1) / 2 + 1e-6).all()


@given(shapes, st.tuples(*[st.integers(1, 4)] * 3), st.integers(0, 99))
@settings(max_examples=40)
def test_block_means_are_the_means_of_the_blocks(shape, factors, seed):
    values = np.random.default_rng(seed).normal(size=shape)
    means = block_means(values, factors)
    for block in np.ndindex(means.shape):
        within = values[tuple(slice(f * b, f * (b + 1)) for f, b in zip(factors, block, strict=True))]
        assert np.isclose(means[block], within.mean(), atol=1e-5)


def test_masks_keep_blocks_of_which_half_is_in_them():
    full = Grid((4, 2, 1), np.diag([1, 1, 5, 1.0]))
    mask = np.array([[[1], [1]], [[0], [0]], [[1], [0]], [[0], [0]]], np.uint8)
    part = reduced_levels(mask, reduction(full, 2))
    assert (part.start, part.values.tolist()) == ((0, 0, 0), [[[1]]])
    assert reduced_levels(np.zeros_like(mask), reduction(full, 2)) is None


def test_finest_axes_are_reduced_first_and_pixels_stay_square():
    patient = Grid((512, 512, 129), np.diag([0.57, 0.57, 1.6, 1]))
    assert reduction(patient, 12_000_000).factors == (2, 2, 1)
    assert reduction(patient, None).factors == (1, 1, 1)
    long = Grid((512, 512, 800), np.diag([0.7, 0.7, 1.0, 1]))
    assert reduction(long, 12_000_000).factors == (3, 3, 2)
