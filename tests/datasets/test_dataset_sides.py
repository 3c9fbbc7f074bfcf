"""Right and left by anatomy, on bodies made of ellipsoids."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel import orientations

from universal_diffusion.datasets.labels import bits_of
from universal_diffusion.datasets.sides import midline, resolve, split
from universal_diffusion.errors import InputError
from universal_diffusion.targets import bits, mask

SHAPE = (80, 60, 30)
SPACING_MM = 4.0
CENTRE_MM = 12.0  # the patient lies off the scanner's axis
ORIENTATIONS = st.tuples(st.permutations([0, 1, 2]), st.tuples(*[st.sampled_from([1, -1])] * 3))


def ras_affine() -> np.ndarray:
    affine = np.diag([SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = [CENTRE_MM - SPACING_MM * (SHAPE[0] - 1) / 2, -100, 0]
    return affine


def ellipsoid(x_mm: float, y_mm: float, radii_mm: tuple[float, float, float], z_mm: float = 60) -> np.ndarray:
    """A solid whose centre lies x_mm to the patient's right of the mid-line."""
    grid = np.moveaxis(np.indices(SHAPE), 0, -1) * SPACING_MM + ras_affine()[:3, 3]
    return (((grid - [CENTRE_MM + x_mm, y_mm, z_mm]) / radii_mm) ** 2).sum(-1) <= 1


def body() -> np.ndarray:
    """Hounsfield units: air, a body with its right arm beside it, a spine, and a couch."""
    image = np.full(SHAPE, -1000, np.float32)
    image[ellipsoid(0, 10, (110, 90, 900))] = 30
    image[ellipsoid(135, 10, (20, 20, 900))] = 30
    image[ellipsoid(0, -45, (20, 20, 900))] = 400
    image[:, 1] = -100
    return image


KIDNEY = (25, 20, 45)


def merged(*parts: np.ndarray, name: str = "kidneys") -> np.ndarray:
    return np.where(np.any(parts, axis=0), bits_of([name]), np.uint32(0))


def sides_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    result = split(labels, ras_affine(), CENTRE_MM)
    assert not (result & bits_of(["kidneys", "adrenal glands"])).any()
    right, left = mask(result, "right kidney"), mask(result, "left kidney")
    assert np.array_equal(right | left, labels != 0)
    assert not (right & left).any()
    return right, left


def test_midline_is_the_spine():
    assert midline(body(), ras_affine(), Path("scan")) == pytest.approx(CENTRE_MM, abs=SPACING_MM)


def test_midline_of_a_patient_lying_askew_in_the_field_of_view():
    cut = body()[25:]  # the left flank lies outside
    affine = ras_affine()
    affine[0, 3] += 25 * SPACING_MM
    assert midline(cut, affine, Path("scan")) == pytest.approx(CENTRE_MM, abs=SPACING_MM)


def test_midline_needs_a_body():
    with pytest.raises(InputError, match="scan_3: shows no body"):
        midline(np.full(SHAPE, -1000, np.float32), ras_affine(), Path("scan_3"))


def test_two_kidneys():
    right, left = ellipsoid(60, -20, KIDNEY), ellipsoid(-60, -20, KIDNEY)
    assert all(map(np.array_equal, sides_of(merged(right, left)), (right, left)))


@pytest.mark.parametrize("x_mm", [60, -60, 25, -25])
def test_one_kidney_keeps_its_side_even_near_the_midline(x_mm):
    only = ellipsoid(x_mm, -20, KIDNEY)
    right, left = sides_of(merged(only))
    assert np.array_equal(right if x_mm > 0 else left, only)


@pytest.mark.parametrize("x_mm", [60, -60])
def test_a_speck_across_the_midline_is_no_second_kidney(x_mm):
    only, speck = ellipsoid(x_mm, -20, KIDNEY), ellipsoid(-x_mm, -20, (5, 5, 5))
    right, left = sides_of(merged(only, speck))
    assert np.array_equal(right if x_mm > 0 else left, only | speck)


def test_a_third_component_joins_the_kidney_on_its_side():
    right, left, third = ellipsoid(60, -20, KIDNEY), ellipsoid(-60, -20, KIDNEY), ellipsoid(-60, 40, (15, 15, 15))
    assert np.array_equal(sides_of(merged(right, left, third))[1], left | third)


def test_a_horseshoe_is_cut_at_the_midline():
    horseshoe = ellipsoid(60, -20, KIDNEY) | ellipsoid(-60, -20, KIDNEY) | ellipsoid(0, 0, (70, 12, 12), z_mm=30)
    right, left = sides_of(merged(horseshoe))
    assert right.sum() == pytest.approx(left.sum(), rel=0.1)
    assert not (right & ellipsoid(-60, -20, KIDNEY)).any()


def test_a_tumour_across_the_midline_stays_with_its_kidney():
    right, left = ellipsoid(70, -20, KIDNEY), ellipsoid(-60, -20, KIDNEY)
    tumour = ellipsoid(10, 10, (60, 40, 40)) & ~left
    labels = merged(right, tumour)
    labels[tumour] |= bits(["kidney tumor"])
    found_right, found_left = sides_of(labels)
    assert np.array_equal(found_right, right | tumour)
    assert not found_left.any()


@pytest.mark.parametrize("rim", [0, 5])
def test_a_kidney_that_is_almost_all_tumour_keeps_its_side(rim):
    right, left = ellipsoid(60, -20, KIDNEY), ellipsoid(-60, -20, KIDNEY)
    tumour = left.copy()
    tumour[tuple(np.argwhere(left)[:rim].T)] = False
    labels = merged(right, left)
    labels[tumour] |= bits(["kidney tumor"])
    assert all(map(np.array_equal, sides_of(labels), (right, left)))


def test_a_kidney_that_is_all_tumour_is_no_horseshoe():
    tumour = ellipsoid(10, 10, (60, 40, 40))
    right, left = sides_of(merged(tumour) | np.where(tumour, bits(["kidney tumor"]), np.uint32(0)))
    assert np.array_equal(right, tumour)
    assert not left.any()


def test_adrenal_glands_and_kidneys_are_split_apart_and_other_labels_stay():
    glands = merged(ellipsoid(30, -10, (8, 8, 12)), ellipsoid(-30, -10, (8, 8, 12)), name="adrenal glands")
    kidneys = merged(ellipsoid(60, -20, KIDNEY))
    liver = np.where(ellipsoid(70, 20, (50, 50, 50)), bits(["liver"]), np.uint32(0))
    result = split(glands | kidneys | liver, ras_affine(), CENTRE_MM)
    assert mask(result, "right adrenal gland").sum() == mask(result, "left adrenal gland").sum() > 0
    assert np.array_equal(mask(result, "liver"), liver != 0)
    assert not mask(result, "left kidney").any()


@settings(max_examples=12, deadline=None)
@given(ORIENTATIONS)
def test_sides_do_not_depend_on_the_array_s_axes(orientation):
    change = np.column_stack(orientation)
    labels = merged(ellipsoid(60, -20, KIDNEY)) | merged(ellipsoid(-60, -20, (15, 15, 25)))
    expected = resolve(labels, body(), ras_affine(), Path("scan"))
    turned = [orientations.apply_orientation(array, change) for array in (labels, body(), expected)]
    affine = ras_affine() @ orientations.inv_ornt_aff(change, SHAPE)
    assert np.array_equal(resolve(turned[0], turned[1], affine, Path("scan")), turned[2])
