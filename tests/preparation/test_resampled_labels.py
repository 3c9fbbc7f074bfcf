"""Labels on another grid, against closed forms and the nearest-neighbour rule of SciPy."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from universal_diffusion.preparation.label_resampling import resample_labels, smoothed, target_boxes
from universal_diffusion.targets import all_targets, bits, mask
from universal_diffusion.volumes import Grid

EVERY_BIT = np.bitwise_or.reduce([target.bit for target in all_targets()])


def resampled(labels, affine, grid):
    return resample_labels(labels, target_boxes(labels), affine, grid)


def covering(shape, affine, spacing_mm) -> Grid:
    """The grid of a spacing (mm) with the centre of a scan, which covers it."""
    factors = np.asarray(spacing_mm) / np.linalg.norm(affine[:3, :3], axis=0)
    count = np.ceil(np.asarray(shape) / factors).astype(int)
    steps = np.diag([*factors, 1.0])
    steps[:3, 3] = ((np.asarray(shape) - 1) - (count - 1) * factors) / 2
    return Grid(tuple(count), affine @ steps)


def places(grid: Grid) -> np.ndarray:
    return np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def ball(grid: Grid, centre, radius) -> np.ndarray:
    return np.linalg.norm(places(grid) - centre, axis=-1) < radius


def dice(a, b) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@settings(max_examples=20)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 2**32 - 1))
def test_the_same_grid_gives_the_same_labels(shape, seed):
    labels = np.random.default_rng(seed).integers(0, 2**32, shape, dtype=np.uint32) & EVERY_BIT
    affine = np.array([[-0.7, 0, 0, 3], [0, 0, 1.1, -9], [0, -2.5, 0, 8], [0, 0, 0, 1]])
    assert np.array_equal(resampled(labels, affine, Grid(shape, affine)), labels)


@settings(max_examples=60)
@given(
    spacing=st.tuples(*[st.floats(0.5, 6.0)] * 3),
    wanted=st.tuples(*[st.floats(1.0, 6.0)] * 3),
    centre=st.tuples(*[st.floats(-40.0, 40.0)] * 3),
    radius=st.floats(4.0, 30.0),
    shear=st.sampled_from([0.0, 0.1]),
    order=st.permutations(range(3)),
)
def test_volume_is_kept_to_half_a_voxel_even_where_the_scan_cuts_the_target(
    spacing, wanted, centre, radius, shear, order
):
    affine = np.eye(4)
    affine[:3, :3] = np.diag(spacing)[order]
    affine[0, 1] += shear
    shape = tuple(np.ceil(80 / np.array(spacing)).astype(int))
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    native = Grid(shape, affine)
    organ = ball(native, centre, radius)
    assume(organ.any())
    labels = np.where(organ, bits(["liver"]), 0).astype(np.uint32)
    grid = covering(shape, affine, wanted)
    found = mask(resampled(labels, affine, grid), "liver")
    assert abs(found.sum() * grid.voxel_ml - organ.sum() * native.voxel_ml) <= 0.5 * grid.voxel_ml + 1e-9


@pytest.mark.parametrize("wanted", [(1.5, 1.5, 2.0), (3.0, 3.0, 3.0), (5.0, 5.0, 6.0)])
@pytest.mark.parametrize("radius", [9.0, 25.0])
def test_shape_is_the_balls_own_and_closer_to_it_than_the_nearest_voxel(wanted, radius):
    native = Grid((130, 130, 50), np.array([[0.7, 0, 0, -45.2], [0, 0.7, 0, -45.2], [0, 0, 2.0, -49], [0, 0, 0, 1]]))
    centre = (3.3, -5.1, 2.7)
    organ = ball(native, centre, radius)
    grid = covering(native.shape, native.affine, wanted)
    steps = np.linalg.inv(native.affine) @ grid.affine
    near = ndimage.affine_transform(organ, steps[:3, :3], steps[:3, 3], grid.shape, order=0)
    ours = mask(resampled(np.where(organ, bits(["spleen"]), 0).astype(np.uint32), native.affine, grid), "spleen")
    truth = ball(grid, centre, radius)
    assert dice(ours, truth) > 0.93
    assert dice(ours, truth) >= dice(near, truth) - 0.005
    assert np.allclose(places(grid)[ours].mean(axis=0), centre, atol=min(wanted) / 4)


def test_a_thin_wall_keeps_its_volume_where_a_threshold_would_lose_it():
    native = Grid((60, 60, 60), np.diag([1.0, 1, 1, 1]))
    wall = ball(native, (30, 30, 30), 20) & ~ball(native, (30, 30, 30), 18.5)
    grid = covering(native.shape, native.affine, (4.0, 4.0, 4.0))
    found = mask(resampled(np.where(wall, bits(["colon"]), 0).astype(np.uint32), native.affine, grid), "colon")
    assert abs(found.sum() * 64 - wall.sum()) <= 32
    assert abs(np.linalg.norm(places(grid)[found] - 30, axis=-1) - 19.25).max() < 4


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(2.0, 5.0))
def test_a_tumour_stays_in_its_organ_and_both_keep_their_volume(seed, spacing):
    # The kidneys are 7 mm apart: of organs nearer than a voxel, both may claim it.
    generator = np.random.default_rng(seed)
    native = Grid((50, 50, 40), np.diag([1.3, 1.3, 1.7, 1]))
    organs = {side: ball(native, (at, 30, 34), 14) for side, at in (("left kidney", 15), ("right kidney", 50))}
    lesions = np.zeros(native.shape, bool)
    for organ in organs.values():  # on the surface, where the two masks compete
        lesions |= organ & ball(native, places(native)[organ][generator.integers(organ.sum())], generator.uniform(3, 9))
    labels = np.zeros(native.shape, np.uint32)
    for name, part in {**organs, "kidney tumor": lesions}.items():
        labels[part] |= bits([name])
    grid = covering(native.shape, native.affine, (spacing,) * 3)
    found = resampled(labels, native.affine, grid)
    tumour, both = mask(found, "kidney tumor"), mask(found, "left kidney") | mask(found, "right kidney")
    assert not (tumour & ~both).any()
    for name in (*organs, "kidney tumor"):
        volume = mask(labels, name).sum() * native.voxel_ml
        assert abs(mask(found, name).sum() * grid.voxel_ml - volume) <= 0.5 * grid.voxel_ml + 1e-9
    assert not (mask(found, "left kidney") & mask(found, "right kidney")).any()


def test_a_tumour_outside_any_labelled_organ_stays_alone():
    native = Grid((30, 30, 30), np.eye(4))
    labels = np.zeros(native.shape, np.uint32)
    labels[4:12, 4:12, 4:12] = bits(["hepatic vessel tumor"])
    labels[12:20, 4:12, 4:12] = bits(["hepatic vessel"])
    found = resampled(labels, native.affine, covering(native.shape, native.affine, (2.0, 2.0, 2.0)))
    assert not ((found & bits(["hepatic vessel tumor"])) & (found & bits(["hepatic vessel"]))).any()
    assert mask(found, "hepatic vessel").sum() == mask(found, "hepatic vessel tumor").sum() == 64


def test_what_lies_outside_the_new_grid_does_not_count():
    native = Grid((40, 40, 40), np.eye(4))
    labels = np.zeros(native.shape, np.uint32)
    labels[10:30, 10:30, 10:30] = bits(["liver"])
    half = np.diag([2.0, 2, 2, 1])
    half[:3, 3] = (19.5 + 1, 0.5, 0.5)  # its first plane of cells begins in the middle of the cube
    found = mask(resampled(labels, native.affine, Grid((10, 20, 20), half)), "liver")
    assert found.sum() * 8 == 10 * 20 * 20
    assert found[:5, 5:15, 5:15].all()


def test_boxes_are_the_smallest():
    labels = np.zeros((9, 8, 7), np.uint32)
    labels[2:4, 3:8, 6] |= bits(["liver"])
    labels[3, 3, 0] |= bits(["liver", "spleen"])
    boxes = target_boxes(labels)
    assert boxes == {
        bits(["liver"]): (slice(2, 4), slice(3, 8), slice(0, 7)),
        bits(["spleen"]): (slice(3, 4), slice(3, 4), slice(0, 1)),
    }


def test_smoothing_leaves_axes_alone_that_do_not_become_coarser():
    noise = np.random.default_rng(0).normal(size=(12, 12, 12)).astype(np.float32)
    assert np.array_equal(smoothed(noise, (0.5, 1.0, 0.9)), noise)
    coarser = smoothed(noise, (1.0, 1.0, 4.0))
    assert coarser.std() < 0.6
    assert np.allclose(coarser, ndimage.gaussian_filter1d(noise, 1.5, axis=2, mode="nearest"), atol=1e-6)


def test_smoothing_is_scipy_s_to_the_bit_in_any_axis_order():
    noise = np.random.default_rng(5).normal(0, 300, (9, 12, 14)).astype(np.float32).transpose(2, 0, 1)
    expected = ndimage.gaussian_filter(noise, (0.4, 0.0, 0.75), mode="nearest", truncate=4.0)
    assert np.array_equal(smoothed(noise, (1.8, 0.7, 2.5)), expected)
