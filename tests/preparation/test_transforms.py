"""Harmonised volumes against closed forms, MONAI and the case they came from."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest

from universal_diffusion.datasets.base import Case
from universal_diffusion.errors import InputError
from universal_diffusion.preparation.label_resampling import resample_labels, target_boxes
from universal_diffusion.preparation.transforms import body_mask, harmonise, harmonise_image
from universal_diffusion.settings import Preparation
from universal_diffusion.targets import bits, mask

SETTINGS = Preparation((4.0, 4.0, 5.0), (-175.0, 250.0), 48)
AFFINE = np.array([[2.0, 0, 0, -90], [0, 2.5, 0, -70], [0, 0, 3.0, 40], [0, 0, 0, 1]])
SHAPE = (90, 60, 30)


def resampled(labels, affine, grid):
    return resample_labels(labels, target_boxes(labels), affine, grid)


def points(shape, affine):
    return np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]


def body_case() -> Case:
    """An elliptic cylinder of 40 HU over a thin couch; a ball of liver at the patient's right, one of spleen left."""
    world = points(SHAPE, AFFINE)
    body = (world[..., 0] / 70) ** 2 + (world[..., 1] / 50) ** 2 < 1
    image = np.where(body, 40.0, -1000.0).astype(np.float32)
    image[:, 0, :] = 200.0  # the couch, one voxel thick, apart from the body
    labels = np.zeros(SHAPE, np.uint32)
    labels[np.linalg.norm(world - [35, 0, 85], axis=-1) < 25] |= bits(["liver"])
    labels[np.linalg.norm(world - [35, 0, 85], axis=-1) < 9] |= bits(["liver tumor", "colon tumor"])
    labels[np.linalg.norm(world - [-35, 0, 85], axis=-1) < 20] |= bits(["spleen"])
    return Case("msd09", "toy", image, AFFINE, labels, ("spleen", "liver", "liver tumor", "colon tumor"))


def reordered(case: Case, axcodes: str) -> Case:
    """The same body stored in another axis order."""
    steps = nibabel.orientations.axcodes2ornt(tuple(axcodes))
    turn = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt(("R", "A", "S")), steps)
    affine = case.affine @ nibabel.orientations.inv_ornt_aff(turn, case.image.shape)
    image, labels = (nibabel.orientations.apply_orientation(array, turn) for array in (case.image, case.labels))
    return replace(case, image=image, labels=labels, affine=affine)


def test_liver_lies_to_the_right_at_its_place_and_no_bit_is_lost():
    case = body_case()
    volume = harmonise(case, SETTINGS)
    assert nibabel.aff2axcodes(volume.grid.affine) == ("R", "A", "S")
    assert np.allclose(volume.grid.spacing_mm, SETTINGS.spacing_mm)
    world = points(volume.grid.shape, volume.grid.affine)
    for name, centre in {"liver": (35, 0, 85), "colon tumor": (35, 0, 85), "spleen": (-35, 0, 85)}.items():
        assert np.allclose(world[mask(volume.labels, name)].mean(axis=0), centre, atol=1.5)
    assert np.array_equal(volume.native_labels, case.labels)
    assert volume.native_grid.shape == SHAPE
    assert np.array_equal(volume.native_grid.affine, AFFINE)
    assert np.allclose(volume.image[mask(volume.labels, "liver")], (40 + 175) / 425, atol=1e-5)


@pytest.mark.parametrize("axcodes", ["LPS", "IPL", "SAR", "LAS"])
def test_stored_axis_order_does_not_matter(axcodes):
    straight, turned = harmonise(body_case(), SETTINGS), harmonise(reordered(body_case(), axcodes), SETTINGS)
    assert straight.fingerprint == turned.fingerprint
    assert nibabel.aff2axcodes(turned.grid.affine) == ("R", "A", "S")
    world = points(turned.grid.shape, turned.grid.affine)
    assert np.allclose(world[mask(turned.labels, "liver")].mean(axis=0), (35, 0, 85), atol=1.5)
    assert np.allclose(straight.grid.affine, turned.grid.affine)
    assert np.allclose(straight.image, turned.image, atol=1e-4)
    assert mask(straight.labels, "liver").sum() == mask(turned.labels, "liver").sum()


@pytest.mark.parametrize("shear", [0.0, 1e-3, 0.05])
def test_affine_is_exact_after_crop_and_pad(shear):
    """Re-sampling a linear function of position gives that function at the new grid's points, sheared CTs included."""
    case = body_case()
    affine = AFFINE + np.outer([1, 0, 0, 0], [0, shear * 2.5, 0, 0])
    world = points(SHAPE, affine)
    slope = (world @ [0.5, 0.25, 1.0]).astype(np.float32)
    image, grid = harmonise_image(np.where(case.image > -500, slope, -1000), affine, SETTINGS, "toy")
    assert min(grid.shape[:2]) >= SETTINGS.patch
    at = points(grid.shape, grid.affine)
    core = (at[..., 0] / 50) ** 2 + (at[..., 1] / 32) ** 2 < 1
    core[..., [0, 1, -2, -1]] = False
    expected = np.clip((at @ [0.5, 0.25, 1.0] + 175) / 425, 0, 1)
    assert np.abs(image - expected)[core].max() < 2e-3
    blocks = np.uint32(1) << (np.floor(world / 20).astype(int) @ [1, 3, 5] % 29).astype(np.uint32)
    here = resampled(blocks, affine, grid)[core]
    inner = (np.abs(at / 20 - np.rint(at / 20)) > 0.25).all(axis=-1)[core]  # a voxel or more from a border
    expected = np.uint32(1) << (np.floor(at / 20).astype(int) @ [1, 3, 5] % 29).astype(np.uint32)
    assert np.mean(here[inner] == expected[core][inner]) > 0.99


def test_crop_leaves_out_the_couch_and_padding_is_air():
    small = replace(SETTINGS, patch=16)
    image, grid = harmonise_image(body_case().image, AFFINE, small, "toy")
    at = points(grid.shape, grid.affine)
    assert at[..., 1].min() >= -50 - 10 - 2 * 4  # body, margin, one voxel; the couch is at -70
    padded, wide = harmonise_image(body_case().image, AFFINE, replace(SETTINGS, patch=64), "toy")
    assert padded.shape[:2] == (64, 64)
    assert padded[0, 0].max() == 0
    inner = np.linalg.inv(wide.affine) @ grid.affine[:, 3]
    x, y, z = np.rint(inner[:3]).astype(int)
    assert np.array_equal(padded[x : x + image.shape[0], y : y + image.shape[1], z:], image)


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "IPL"])
def test_a_target_outside_the_body_is_warned_of(capsys, axcodes):
    case = body_case()
    harmonise(reordered(case, axcodes), SETTINGS)
    assert capsys.readouterr().err == ""
    labels = case.labels.copy()
    spleen, liver = mask(labels, "spleen"), mask(labels, "liver")
    labels[:, 0, 4:] |= bits(["spleen", "stomach"])  # in the couch; the stomach is not annotated
    labels[:6, 0, 0] |= bits(["liver"])  # less than 5 % of it
    labels[:60, 0, 0] |= bits(["liver tumor"])  # much of it, but it has less than 5 ml
    share = labels[:, 0, 4:].size / (spleen.sum() + labels[:, 0, 4:].size)
    assert 6 / liver.sum() < 0.05
    harmonise(reordered(replace(case, labels=labels), axcodes), SETTINGS)
    line = f"warning: msd09 toy: {share:.0%} of spleen lies outside the body found\n"
    assert capsys.readouterr().err == line


def test_body_is_the_largest_region_without_the_couch():
    hu = np.full((60, 60, 10), -1000.0)
    hu[15:45, 20:50] = 30
    hu[5:55, 8:10] = 100
    body = body_mask(hu, (2.0, 2.0, 5.0))
    assert body[30, 30, 5]
    assert not body[:, 8:10].any()


def test_strong_coarsening_averages_noise():
    noise = np.random.default_rng(0).normal(40, 100, (120, 120, 20)).astype(np.float32)
    image, _ = harmonise_image(noise, np.diag([0.6, 0.6, 5.0, 1]), replace(SETTINGS, patch=8), "noise")
    assert image[2:-2, 2:-2].std() * 425 < 15


@pytest.mark.parametrize("image", [np.full((8, 8, 8), 3.0), np.full((8, 8, 8), np.nan), np.zeros((8, 8))])
def test_an_empty_image_is_refused(image):
    with pytest.raises(InputError, match="toy"):
        harmonise_image(image, np.eye(4), SETTINGS, "toy")


def test_a_ct_of_air_is_refused():
    image = np.random.default_rng(0).normal(-1000, 5, (20, 20, 8))
    with pytest.raises(InputError, match="no body"):
        harmonise_image(image, np.eye(4), SETTINGS, "air")
