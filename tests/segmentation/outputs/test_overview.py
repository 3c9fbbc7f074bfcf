"""How slices hang on the overview, whatever the array order of the CT."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from universal_diffusion.segmentation.inputs.ct import CT
from universal_diffusion.segmentation.outputs.label_map import LabelMap
from universal_diffusion.segmentation.outputs.overview import AXIAL, CORONAL, LETTERS, SAGITTAL, _Slices
from universal_diffusion.targets import target
from universal_diffusion.volumes import Grid

SHAPE, SPACING = (9, 8, 7), np.array([1.0, 2.0, 3.0])  # RAS
STORE = SimpleNamespace(targets=("liver", "spleen"), voxels=lambda name: np.array([1]))
BODY, RIGHT, FRONT, HEAD = 0.0, 100.0, 200.0, 300.0  # HU: a patient with a mark on each side


def slices(order: tuple, flips: tuple) -> _Slices:
    """A CT with marks at the patient's right, front and head, stored along other axes."""
    hu = np.full(SHAPE, BODY, np.float32)
    hu[8], hu[:, 7], hu[:, :, 6] = RIGHT, FRONT, HEAD
    liver = np.zeros(SHAPE, bool)
    liver[5:8, 2:5, 1:4] = True
    affine = np.diag([*SPACING, 1.0])
    flip = tuple(slice(None, None, way) for way in flips)
    for axis in np.flatnonzero(np.array(flips) < 0):
        affine[:3, 3] += affine[:3, axis] * (SHAPE[axis] - 1)
        affine[:3, axis] *= -1
    grid = Grid(tuple(SHAPE[axis] for axis in order), affine[:, [*order, 3]])
    ct = CT(hu[flip].transpose(order), grid, Path("ct.nii"), "NIfTI")
    labels = LabelMap(STORE, grid)
    labels.add("liver", tuple(slice(0, n) for n in grid.shape), liver[flip].transpose(order))
    return _Slices(ct, labels)


@settings(max_examples=30)
@given(st.permutations(range(3)).map(tuple), st.tuples(*[st.sampled_from([1, -1])] * 3))
def test_pictures_are_the_same_for_any_array_order(order, flips):
    turned, plain = slices(order, flips), slices((0, 1, 2), (1, 1, 1))
    for axis in (SAGITTAL, CORONAL, AXIAL):
        found = turned.picture(axis, turned.fullest(axis), "")
        expected = plain.picture(axis, plain.fullest(axis), "")
        if flips[axis] > 0:  # of several equally full slices the first is taken
            assert np.array_equal(found.hu, expected.hu)
        assert np.array_equal(found.ids, expected.ids)
        assert found.aspect == expected.aspect
        assert set(np.unique(found.ids)) == {0, target("liver").id}


def test_marks_are_at_the_letters():
    at = {"R": RIGHT, "A": FRONT, "S": HEAD}
    for axis in (SAGITTAL, CORONAL, AXIAL):
        hu = slices((2, 0, 1), (-1, 1, -1)).picture(axis, 3, "").hu
        edges = {"left": hu[1:-1, 0], "right": hu[1:-1, -1], "top": hu[0, 1:-1], "bottom": hu[-1, 1:-1]}
        for letter, edge in zip(LETTERS[axis], edges.values(), strict=True):
            assert (edge == at.get(letter, BODY)).all(), (axis, letter)


def test_pixels_have_the_height_of_their_spacing():
    shown = slices((0, 1, 2), (1, 1, 1))
    assert [shown.picture(axis, 2, "").aspect for axis in (SAGITTAL, CORONAL, AXIAL)] == [1.5, 3.0, 2.0]


def test_the_largest_section_of_each_target_is_chosen():
    assert 1 <= slices((1, 2, 0), (1, -1, -1)).largest_sections()["liver"] <= 6
    assert "spleen" not in slices((1, 2, 0), (1, -1, -1)).largest_sections()
