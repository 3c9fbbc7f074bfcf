"""A landmark goes the whole way, native file to harmonised volume and back, and stays at its place in the patient.

A bright ball in a body, labelled, is drawn at a random place in world millimetres; the scan is written in each native
format on a random grid of that format, read by its reader, harmonised, and its label brought back to the scan's grid.
Image and label must show the ball at the same place at each stage.
"""

import io
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from universal_diffusion.datasets.base import Case
from universal_diffusion.datasets.readers import reader
from universal_diffusion.phantom.archives.dicom import Series, slice_file
from universal_diffusion.phantom.archives.nifti import nifti_gz
from universal_diffusion.preparation.transforms import harmonise
from universal_diffusion.segmentation.outputs.native import to_native
from universal_diffusion.settings import Preparation
from universal_diffusion.volumes import Grid

SETTINGS = Preparation((4.0, 4.0, 5.0), (-175.0, 250.0), 32)
EDGE_MM, BODY_MM, BALL_MM = 180.0, 75.0, 14.0
PAIRS = {
    "msd09": ("Task09_Spleen/imagesTr/spleen_2.nii.gz", "Task09_Spleen/labelsTr/spleen_2.nii.gz"),
    "btcv": ("RawData/Training/img/img0001.nii.gz", "RawData/Training/label/label0001.nii.gz"),
    "kits23": ("dataset/case_00000/imaging.nii.gz", "dataset/case_00000/segmentation.nii.gz"),
    "abdomenct1k": ("Subtask1/TrainImage/train_0001_0000.nii.gz", "Subtask1/TrainMask/train_0001.nii.gz"),
    "amos": ("amos22/imagesTr/amos_0001.nii.gz", "amos22/labelsTr/amos_0001.nii.gz"),
    "word": ("WORD-V0.1.0/imagesTr/word_0001.nii.gz", "WORD-V0.1.0/labelsTr/word_0001.nii.gz"),
    "totalsegmentator": ("s0001/ct.nii.gz", "s0001/segmentations/liver.nii.gz"),
}
ORDERS = [
    np.eye(3)[:, list(axes)] * signs for axes, signs in product(permutations(range(3)), product((1, -1), repeat=3))
]
PLANES = [order for order in ORDERS if np.linalg.det(order) > 0]  # DICOM's slices run along row x column direction
LPS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Scene:
    """A grid over the body, HU and the mask of the ball on it, and the ball's centre in RAS mm."""

    grid: Grid
    hounsfield: np.ndarray
    mask: np.ndarray
    ball: np.ndarray


def scene(directions: np.ndarray, spacing_mm, centre, offset) -> Scene:
    """The body around `centre`, on a grid of these axis directions (columns), with the ball at `offset` from there."""
    affine = np.eye(4)
    affine[:3, :3] = directions @ np.diag(spacing_mm)
    shape = tuple(int(n) for n in np.ceil(EDGE_MM / np.asarray(spacing_mm)))
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    world = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    ball = np.asarray(centre) + offset
    mask = np.linalg.norm(world - ball, axis=-1) <= BALL_MM
    body = np.linalg.norm(world - centre, axis=-1) <= BODY_MM
    return Scene(Grid(shape, affine), np.select([mask, body], [900, 0], -1000).astype(np.int16), mask, ball)


@st.composite
def scenes(draw, orders: list[np.ndarray], oblique_degrees: float) -> Scene:
    angles = draw(st.tuples(*[st.floats(-oblique_degrees, oblique_degrees)] * 3))
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    spacing_mm = [round(draw(st.floats(4.0, 6.5)), 3) for _ in range(3)]
    centre = [round(draw(st.floats(-400, 400)), 2) for _ in range(3)]
    offset = draw(st.tuples(*[st.floats(-35, 35)] * 3))
    return scene(turn @ draw(st.sampled_from(orders)), spacing_mm, centre, offset)


def place_mm(chosen: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """World place of the middle of a mask."""
    return (affine @ [*np.argwhere(chosen).mean(axis=0), 1])[:3]


def assert_survives(case: Case, truth: Scene) -> None:
    """The ball is where it was drawn: as read, harmonised, and back on the scan's own grid."""
    volume = harmonise(case, SETTINGS)
    back = to_native((volume.labels != 0).astype(np.float32), volume.grid, volume.native_grid)
    assert volume.native_grid.shape == back.shape == case.image.shape
    stages = {
        "image as read": (case.image > 450, case.affine),
        "label as read": (case.labels != 0, case.affine),
        "image harmonised": (volume.image > 0.8, volume.grid.affine),
        "label harmonised": (volume.labels != 0, volume.grid.affine),
        "label brought back": (back >= 0.5, case.affine),
    }
    voxel_mm = max(*truth.grid.spacing_mm, *SETTINGS.spacing_mm)
    for stage, (chosen, affine) in stages.items():
        assert np.linalg.norm(place_mm(chosen, affine) - truth.ball) < 0.5 * voxel_mm, stage
    assert np.array_equal(case.image > 450, case.labels != 0)
    assert (case.image > 450).sum() == truth.mask.sum()


def read_only_case(source: str, root: Path) -> Case:
    native = reader(source, root)
    return native.read(*native.cases())


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_pair(root: Path, source: str, truth: Scene, form="sform") -> None:
    for name, array in zip(PAIRS[source], (truth.hounsfield, truth.mask.astype(np.uint8)), strict=True):
        write(root / name, nifti_gz(array, truth.grid.affine, form))


def write_slices(folder: Path, stored: np.ndarray, grid: Grid, names: list[str], numbers: list[int]) -> None:
    """DICOM slices along the third array axis, their files and InstanceNumbers in any order."""
    axes = LPS @ grid.affine[:3, :3] / grid.spacing_mm
    columns_mm, rows_mm, slices_mm = grid.spacing_mm
    orientation = tuple(axes[:, :2].T.ravel())
    series = Series(folder.name, 1, orientation, (rows_mm, columns_mm, slices_mm))
    for k, (name, number) in enumerate(zip(names, numbers, strict=True)):
        position = LPS @ (grid.affine @ [0, 0, k, 1])[:3]
        write(folder / name, slice_file(series, stored[:, :, k].T, number=number, position_mm=tuple(position)))


@pytest.mark.parametrize("source", PAIRS)
@settings(max_examples=5)
@given(truth=scenes(ORDERS, 30.0), form=st.sampled_from(["sform", "qform"]))
def test_a_landmark_survives_nifti(tmp_path_factory, source, truth, form):
    root = tmp_path_factory.mktemp("nifti")
    write_pair(root, source, truth, form)
    assert_survives(read_only_case(source, root), truth)


def test_a_landmark_survives_all_48_axis_orders(tmp_path):
    for order in ORDERS:
        truth = scene(order, (5.0, 4.0, 6.0), (30.0, -80.0, 900.0), (25, -15, 30))
        write_pair(tmp_path, "msd09", truth)
        assert_survives(read_only_case("msd09", tmp_path), truth)


@settings(max_examples=6)
@given(truth=scenes(PLANES, 30.0), data=st.data())
def test_a_landmark_survives_dicom_in_any_file_order(tmp_path_factory, truth, data):
    root, count = tmp_path_factory.mktemp("dicom") / "3Dircadb1.2", truth.grid.shape[2]
    for folder, stored in (
        ("PATIENT_DICOM", truth.hounsfield),
        ("MASKS_DICOM/liver", 255 * truth.mask.astype(np.uint8)),
    ):
        names = [f"image_{n}" for n in data.draw(st.permutations(range(count)))]
        write_slices(root / folder, stored, truth.grid, names, data.draw(st.permutations(range(count))))
    assert_survives(read_only_case("ircadb", root.parent), truth)


@settings(max_examples=6)
@given(truth=scenes([order for order in PLANES if abs(order[2, 2]) == 1], 0.0), data=st.data())
def test_a_landmark_survives_pancreas_ct(tmp_path_factory, truth, data):
    """Its label's axes run otherwise than its scan's rows and slices, and its origin is anywhere."""
    root, count = tmp_path_factory.mktemp("pancreas"), truth.grid.shape[2]
    names = [f"1-{n:03d}.dcm" for n in data.draw(st.permutations(range(count)))]
    write_slices(root / "Pancreas-CT/PANCREAS_0002/1/2", truth.hounsfield, truth.grid, names, list(range(count)))
    turned, affine = turned_label(truth, data.draw(st.sampled_from(ORDERS)))
    affine[:3, 3] = data.draw(st.tuples(*[st.floats(-500, 500)] * 3))
    write(root / "labels/label0002.nii.gz", nifti_gz(turned, affine))
    assert_survives(read_only_case("pancreas_ct", root), truth)


def turned_label(truth: Scene, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mask with its array axes permuted and reversed so that they run in the world directions of `order`."""
    change = np.rint((truth.grid.affine[:3, :3] / truth.grid.spacing_mm).T @ order).astype(int)  # old axis x new axis
    axes, signs = abs(change).argmax(axis=0), change.sum(axis=0)
    turned = truth.mask.transpose(axes)[tuple(slice(None, None, int(sign)) for sign in signs)]
    return turned.astype(np.uint8), np.block(
        [[order @ np.diag(truth.grid.spacing_mm[axes]), np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]]
    )


@settings(max_examples=6)
@given(truth=scenes(PLANES, 20.0), data=st.data())
def test_a_landmark_survives_chaos(tmp_path_factory, truth, data):
    """Pictures belong to slices by file order, whatever way the slices run."""
    root, count = tmp_path_factory.mktemp("chaos"), truth.grid.shape[2]
    order = data.draw(st.sampled_from([range(count), range(count)[::-1], data.draw(st.permutations(range(count)))]))
    folder = root / "Train_Sets/CT/3"
    names = [f"i{n:04d},0000b.dcm" for n in order]
    write_slices(folder / "DICOM_anon", truth.hounsfield, truth.grid, names, list(range(count)))
    for k, number in enumerate(order):
        buffer = io.BytesIO()
        PIL.Image.fromarray(255 * truth.mask[:, :, k].T.astype(np.uint8)).save(buffer, "png")
        write(folder / f"Ground/liver_GT_{number:03d}.png", buffer.getvalue())
    assert_survives(read_only_case("chaos", root), truth)


def test_denormal_directions_are_brought_back():
    """A turn by next to nothing leaves numbers like 1e-312 in an affine, on which ITK's inverse fails silently."""
    affine = np.diag([3.0, 3.0, 6.0, 1.0])
    affine[:3, :3] = [
        [3, -1.16486851e-312, 4.06657107e-314],
        [1.16504595e-312, 2.999543, -0.104714],
        [0, 0.052357, 5.999086],
    ]
    grid, native = Grid((40, 40, 20), affine), Grid((30, 30, 30), np.diag([3.0, 3.0, 3.0, 1.0]))
    assert to_native(np.ones(grid.shape, np.float32), grid, native).mean() > 0.8
