"""Back to the CT's own grid: geometry, files, bytes."""

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from universal_diffusion.preparation.transforms import harmonise_image
from universal_diffusion.segmentation.outputs.native import NEGLIGIBLE, Resampling, to_native
from universal_diffusion.segmentation.outputs.nifti_output import nifti_stream, write_map, write_mask
from universal_diffusion.settings import Preparation
from universal_diffusion.volumes import Grid

HARMONISED = Grid((30, 26, 22), np.array([[4.0, 0, 0, -50], [0, 4, 0, 20], [0, 0, 5, -300], [0, 0, 0, 1]]))


@st.composite
def native_grids(draw) -> Grid:
    """A finer grid over the same place with permuted, flipped, rotated and perhaps sheared axes."""
    axes = np.eye(3)[draw(st.permutations(range(3)))] * draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    turn = Rotation.from_euler("xyz", draw(st.tuples(*[st.floats(-25, 25)] * 3)), degrees=True).as_matrix()
    shear = np.eye(3) + draw(st.sampled_from([0.0, 0.2])) * np.eye(3, k=1)
    spacing = np.array(draw(st.tuples(*[st.floats(1.5, 4.5)] * 3)))
    matrix = turn @ shear @ axes @ np.diag(spacing)
    centre = HARMONISED.affine @ [*(np.array(HARMONISED.shape) - 1) / 2, 1]
    shape = tuple(int(n) for n in np.ceil(190 / spacing))
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = centre[:3] - matrix @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def world(grid: Grid) -> np.ndarray:
    """(3, X, Y, Z) millimetres of the voxel centres."""
    return np.einsum(
        "ij,j...->i...", grid.affine[:3], np.concatenate([np.indices(grid.shape), np.ones((1, *grid.shape))])
    )


def ball(grid: Grid, centre: np.ndarray, radius: float) -> np.ndarray:
    return np.linalg.norm(world(grid) - centre[:, None, None, None], axis=0) <= radius


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * (first & second).sum() / (first.sum() + second.sum())


@settings(max_examples=15)
@given(native_grids())
def test_a_mask_goes_out_and_comes_back(native):
    index = np.array([11, 14, 9])
    centre = (HARMONISED.affine @ [*index, 1])[:3]
    truth = ball(HARMONISED, centre, 24.0)
    out = to_native(truth.astype(np.float32), HARMONISED, native)
    assert out.shape == native.shape
    assert dice(out >= 0.5, ball(native, centre, 24.0)) > 0.9
    assert np.linalg.norm(world(native)[:, out >= 0.5].mean(axis=1) - centre) < 1.0  # a landmark, in millimetres
    back = to_native(out, native, HARMONISED)
    assert dice(back >= 0.5, truth) > 0.95


@settings(max_examples=10)
@given(native_grids(), st.integers(0, 99))
def test_it_is_linear_interpolation_through_the_affines(native, seed):
    """Against SciPy, whose 4 x 4 matrix maps output to input indices; compared away from the border."""
    values = np.random.default_rng(seed).random(HARMONISED.shape, np.float32)
    indices = np.linalg.inv(HARMONISED.affine) @ native.affine
    expected = ndimage.affine_transform(values, indices, output_shape=native.shape, order=1)
    places = np.einsum("ij,jk->ik", indices, np.c_[np.indices(native.shape).reshape(3, -1).T, np.ones(expected.size)].T)
    last = np.array(HARMONISED.shape)[:, None] - 1
    inside = ((places[:3] > 0.01) & (places[:3] < last - 0.01)).all(axis=0).reshape(native.shape)
    outside = ((places[:3] < -0.51) | (places[:3] > last + 0.51)).any(axis=0).reshape(native.shape)
    found = to_native(values, HARMONISED, native)
    assert np.abs(found - expected)[inside].max() < 1e-3
    assert (found[outside] == 0).all()
    assert inside.any()
    assert outside.any()


def by_itk(values: np.ndarray, grid: Grid, native: Grid) -> np.ndarray:
    """The same by SimpleITK, whose arrays have the last index first."""

    def image(array: np.ndarray, of: Grid) -> SimpleITK.Image:
        made = SimpleITK.GetImageFromArray(array.T)
        made.SetSpacing(of.spacing_mm.tolist())
        made.SetDirection(np.round(of.affine[:3, :3] / of.spacing_mm, 12).ravel().tolist())
        made.SetOrigin(of.affine[:3, 3].tolist())
        return made

    to = image(np.zeros(native.shape, np.uint8), native)
    moved = SimpleITK.Resample(image(values, grid), to, SimpleITK.Transform(), SimpleITK.sitkLinear, 0.0)
    return SimpleITK.GetArrayFromImage(moved).T


@settings(max_examples=10)
@given(native_grids(), st.integers(0, 99))
def test_it_is_what_itk_makes_of_it(native, seed):
    """With the half voxel beyond the outermost centres, but for points on its very edge, where rounding decides."""
    values = np.random.default_rng(seed).random(HARMONISED.shape, np.float32)
    differ = np.abs(to_native(values, HARMONISED, native) - by_itk(values, HARMONISED, native)) > 1e-3
    places = np.linalg.solve(HARMONISED.affine[:3, :3], world(native)[:, differ] - HARMONISED.affine[:3, 3:])
    edges = np.minimum(np.abs(places + 0.5), np.abs(places - np.array(HARMONISED.shape)[:, None] + 0.5))
    assert (edges.min(axis=0) < 1e-4).all()


@settings(max_examples=12)
@given(native_grids(), st.integers(0, 99), st.integers(1, 9))
def test_boxes_where_something_is_hold_the_same_bytes_as_the_whole(native, seed, depth):
    """Slab by slab and only around the content, against all at once: equal where a map is more than negligible."""
    generator = np.random.default_rng(seed)
    values = np.where(ndimage.binary_dilation(generator.random(HARMONISED.shape) < 3e-4, iterations=3), 1, 0)
    values = values * generator.random(HARMONISED.shape, np.float32) + np.float32(NEGLIGIBLE / 3)
    values = np.round(values * 4) / 4 if seed % 2 else values  # many halves, on which rounding could decide
    values = np.maximum(values, NEGLIGIBLE / 3).astype(np.float32)
    expected = to_native(values, HARMONISED, native)
    resampling, found = Resampling(HARMONISED, native), np.zeros(native.shape, np.float32)
    for first in range(0, native.shape[2], depth):
        slab = (*(slice(0, n) for n in native.shape[:2]), slice(first, min(first + depth, native.shape[2])))
        occupied = resampling.occupied(values >= NEGLIGIBLE, slab)
        if occupied:
            held, box = occupied
            found[box] = resampling.box(values[held], held, box)
    some = expected >= NEGLIGIBLE
    assert np.array_equal(found[some], expected[some])
    assert found[~some].max(initial=0) < NEGLIGIBLE


def test_a_grid_onto_itself_is_a_copy_to_the_byte():
    affine = np.array([[0.0, 0, 2.1, 7.3], [-0.7, 0, 0, 3.3], [0, 1.3, 0, 0.1], [0, 0, 0, 1]])
    values = np.random.default_rng(0).random((7, 8, 9), np.float32)
    assert np.array_equal(to_native(values, Grid(values.shape, affine), Grid(values.shape, affine)), values)


@settings(max_examples=10)
@given(native_grids())
def test_harmonised_and_back_an_organ_is_where_it_was(native):
    """The whole way of a CT: any axes to RAS, re-spaced, cropped to the body, and its probability back again."""
    centre = world(native)[:, *(n // 2 for n in native.shape)]
    organ = ball(native, centre + np.array([15, -20, 10]), 16.0)
    hu = np.select([organ, ball(native, centre, 60.0)], [250.0, -175.0], -1000.0).astype(np.float32)
    preparation = Preparation((2.0, 2.0, 3.0), (-175.0, 250.0), 48)
    image, grid = harmonise_image(hu, native.affine, preparation, "test")
    found = to_native(image, grid, native) >= 0.5
    assert dice(found, organ) > 0.88
    assert np.linalg.norm(world(native)[:, found].mean(axis=1) - world(native)[:, organ].mean(axis=1)) < 1.0


def test_the_last_half_voxel_of_the_map_still_counts():
    """A CT's last thin slices lie beyond the last centre of a thick harmonised slice; they are not cut off."""
    grid = Grid((4, 4, 2), np.diag([1.0, 1, 6, 1]))
    native = Grid((4, 4, 10), np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -2], [0, 0, 0, 1]]))
    found = to_native(np.ones(grid.shape, np.float32), grid, native)
    assert (found == 1).all()


@settings(max_examples=10)
@given(native_grids())
def test_files_carry_the_grid(tmp_path_factory, native):
    path = tmp_path_factory.mktemp("masks") / "liver.nii.gz"
    mask = ball(native, world(native)[:, 3, 4, 5], 20.0)
    write_mask(path, mask, native)
    image = nibabel.load(path)
    assert image.get_data_dtype() == np.uint8
    assert np.array_equal(image.get_fdata(), mask)
    assert np.allclose(image.affine, native.affine, atol=1e-3)
    assert image.header["sform_code"] == 1
    assert image.header.get_xyzt_units()[0] == "mm"
    if image.header["qform_code"]:
        assert np.allclose(image.get_qform(), native.affine, atol=1e-2)


def test_maps_have_256_levels_of_the_maximum_and_reproducible_bytes(tmp_path):
    values = np.linspace(0, 0.25, 24, dtype=np.float32).reshape(4, 3, 2)
    grid = Grid(values.shape, np.diag([1.0, 2, 3, 1]))
    for name in ("a", "b"):
        write_map(tmp_path / f"{name}.nii.gz", values, 0.25, grid)
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == np.uint8
    assert np.abs(image.get_fdata() - values).max() <= 0.25 / 255 / 2 + 1e-7
    assert image.get_fdata().max() == pytest.approx(0.25)
    assert image.header["qform_code"] == image.header["sform_code"] == 1
    raw = (tmp_path / "a.nii.gz").read_bytes()
    assert raw == (tmp_path / "b.nii.gz").read_bytes()
    assert raw[4:8] == b"\0\0\0\0"  # gzip's time stamp
    assert gzip.decompress(raw)


def test_slices_one_after_the_other_make_the_same_file(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (5, 4, 7), np.uint8)
    grid = Grid(values.shape, np.diag([1.0, 2, 3, 1]))
    write_map(tmp_path / "whole.nii.gz", values / 255, 1.0, grid)
    with nifti_stream(tmp_path / "parts.nii.gz", grid, 1.0) as stream:
        for part in (slice(0, 3), slice(3, 4), slice(4, 7)):
            stream.append(values[..., part])
    assert gzip.decompress((tmp_path / "parts.nii.gz").read_bytes()) == gzip.decompress(
        (tmp_path / "whole.nii.gz").read_bytes()
    )
    assert np.allclose(nibabel.load(tmp_path / "parts.nii.gz").get_fdata() * 255, values)


def test_a_stream_that_breaks_off_leaves_nothing(tmp_path):
    grid = Grid((2, 2, 3), np.eye(4))
    with pytest.raises(ValueError, match="4 voxels"), nifti_stream(tmp_path / "liver.nii.gz", grid) as stream:
        stream.append(np.ones((2, 2, 2), bool))
    with pytest.raises(AttributeError), nifti_stream(tmp_path / "liver.nii.gz", grid) as stream:
        stream.append(None)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="its grid"):
        write_mask(tmp_path / "liver.nii.gz", np.ones((2, 2, 2), bool), Grid((3, 3, 3), np.eye(4)))
    assert not list(tmp_path.iterdir())
