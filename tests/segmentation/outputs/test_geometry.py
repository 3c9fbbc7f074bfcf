"""A mask's whole way, from any CT's grid to the harmonised one, through the store and out: it lands where it was.

The bound. What is written of a voxel is a mean of the mask over native voxels, weighted such that their mean place is
the voxel's own; they lie within d_h + d_n of it, the diagonals of a harmonised and of a native voxel, and span at most
w = d_h + 2 d_n in any direction. If a half-space holds at least half of the weight, the voxel is not farther than w / 2
from it: the rest of the weight is at most w away from what is inside, so the mean place cannot be farther. A ball lies
in the half-space of each tangent, so no voxel is set that is more than w / 2 outside. Inside, the ball holds all of the
half-space that is deeper than its surface sags, s^2 / 2R within s = d_h + d_n, so none deeper than w / 2 + s^2 / 2R is
lost.
"""

from pathlib import Path

import nibabel
import numpy as np
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from universal_diffusion.segmentation.outputs.native import to_native
from universal_diffusion.segmentation.outputs.native_files import write_native
from universal_diffusion.segmentation.sampling.engine import SlabMaps
from universal_diffusion.segmentation.sampling.slab_store import SlabStore
from universal_diffusion.volumes import Grid

HARMONISED = Grid((56, 46, 34), np.array([[1.5, 0, 0, -41], [0, 1.5, 0, -12], [0, 0, 2, 407], [0, 0, 0, 1]]))
RADIUS_MM = 12.0
BALLS = {"left kidney": np.array([-17.0, 22, 440]), "right kidney": np.array([20.0, 24, 438])}  # RAS: left is x < 0


@st.composite
def native_grids(draw) -> Grid:
    """A grid around the balls with permuted, flipped, rotated and perhaps sheared axes (a tilted gantry's)."""
    axes = np.eye(3)[draw(st.permutations(range(3)))] * draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    turn = Rotation.from_euler("xyz", draw(st.sampled_from([(0, 0, 0), (8, -12, 20), (-30, 5, 15)])), degrees=True)
    shear = np.eye(3) + draw(st.sampled_from([0.0, 0.25])) * np.eye(3, k=1)
    spacing = np.array(draw(st.tuples(*[st.floats(1.0, 3.0)] * 3)))
    matrix = turn.as_matrix() @ shear @ axes @ np.diag(spacing)
    shape = np.ceil(np.array([84, 74, 74])[np.abs(axes).argmax(axis=0)] / spacing).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = np.array([1.5, 23, 439]) - matrix @ ((shape - 1) / 2)
    return Grid(tuple(shape.tolist()), affine)


def distance(grid: Grid, centre: np.ndarray) -> np.ndarray:
    """Millimetres from a point to each voxel."""
    voxels = np.concatenate([np.indices(grid.shape), np.ones((1, *grid.shape))])
    return np.linalg.norm(np.tensordot(grid.affine[:3], voxels, 1) - centre[:, None, None, None], axis=0)


def diagonal(grid: Grid) -> float:
    """The longest of a voxel's."""
    corners = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1)
    return float(np.linalg.norm(grid.affine[:3, :3] @ corners, axis=0).max())


def exported(folder: Path, native: Grid, masks: dict[str, np.ndarray]) -> None:
    """Masks on the native grid to the harmonised one, into a store of several slabs, and out again."""
    mean = np.stack([to_native(mask.astype(np.float32), native, HARMONISED) for mask in masks.values()])
    store = SlabStore.open(folder / "slabs", {}, HARMONISED, list(masks), 1)
    for first in range(0, HARMONISED.shape[2], 9):
        slab = mean[..., first : first + 9]
        store.write(SlabMaps(first, slab, np.zeros_like(slab), (slab >= 0.5).sum(axis=(1, 2, 3))[:, None]))
    write_native(store, native, folder, ["mask"], threads=1)
    store.close()


def centroid(path: Path) -> np.ndarray:
    """In RAS, by SimpleITK; by nibabel where axes are sheared, which ITK refuses to read."""
    affine = nibabel.load(path).affine[:3, :3]
    axes = affine / np.linalg.norm(affine, axis=0)
    if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-4):
        voxels = np.argwhere(np.asanyarray(nibabel.load(path).dataobj)).mean(axis=0)
        return nibabel.affines.apply_affine(nibabel.load(path).affine, voxels)
    image = SimpleITK.ReadImage(str(path))
    voxels = np.argwhere(SimpleITK.GetArrayViewFromImage(image).T).mean(axis=0)
    return np.array(image.TransformContinuousIndexToPhysicalPoint(voxels.tolist())) * [-1, -1, 1]


@settings(max_examples=12)
@given(native_grids())
def test_a_mask_comes_back_where_it_was(tmp_path_factory, native):
    folder = tmp_path_factory.mktemp("result")
    depths = {name: distance(native, centre) - RADIUS_MM for name, centre in BALLS.items()}
    exported(folder, native, {name: depth <= 0 for name, depth in depths.items()})
    reach, span = diagonal(HARMONISED) + diagonal(native), diagonal(HARMONISED) + 2 * diagonal(native)
    for name, depth in depths.items():
        path = folder / f"{name.replace(' ', '_')}.nii.gz"
        back = np.asanyarray(nibabel.load(path).dataobj) > 0
        assert not back[depth > span / 2].any()
        assert back[depth < -span / 2 - reach**2 / (2 * RADIUS_MM)].all()
        truth = depth <= 0
        assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > 0.9
        ras = centroid(path)
        assert np.linalg.norm(ras - BALLS[name]) < 1.0
        assert (ras[0] < 0) == name.startswith("left")


def test_on_the_harmonised_grid_itself_dice_is_1(tmp_path):
    mask = np.random.default_rng(0).random(HARMONISED.shape) < 0.2
    exported(tmp_path, HARMONISED, {"liver": mask})
    assert np.array_equal(np.asanyarray(nibabel.load(tmp_path / "liver.nii.gz").dataobj) > 0, mask)
