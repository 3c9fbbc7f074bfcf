"""The common frame: bodies that are moved, scaled or cut differently come to lie in one place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from universal_diffusion.baselines.frame import best_offset, fit_frame, from_frame, outline, tissue_moments, to_frame


def frame_of(*volumes):
    return fit_frame([outline(volume.image).profile for volume in volumes])


def test_moments_are_those_of_the_ellipse_and_move_and_grow_with_it(make_case):
    centre, spread = tissue_moments(make_case("a", range(8, 18)).image)
    assert centre == pytest.approx([32, 30], abs=0.1)
    assert spread == pytest.approx([10, 7], rel=0.03)  # half a semi-axis
    centre, spread = tissue_moments(make_case("a", range(8, 18), centre=(28.0, 33.0), size=1.2).image)
    assert centre == pytest.approx([28, 33], abs=0.1)
    assert spread == pytest.approx([12, 8.4], rel=0.03)


@settings(max_examples=20)
@given(start=st.integers(0, 12), length=st.integers(16, 28), size=st.floats(0.8, 1.2))
def test_a_scan_of_another_field_of_view_and_size_finds_its_place(make_case, start, length, size):
    frame = frame_of(make_case("a", range(40)))
    scan = make_case("b", range(start, start + length), centre=(30.0, 31.0), size=size)
    assert abs(frame.place(outline(scan.image)).first_row - start) <= 1


def test_scans_of_different_ends_join_into_one_frame(make_case):
    frame = frame_of(*(make_case("a", slices) for slices in (range(0, 26), range(8, 34), range(14, 40))))
    assert len(frame.profile) == 40
    assert frame.place(outline(make_case("b", range(14, 40)).image)).first_row == 14


@settings(max_examples=30)
@given(start=st.integers(-3, 8), seed=st.integers(0, 50))
def test_the_best_offset_of_a_piece_is_where_it_was_cut(start, seed):
    whole = np.random.default_rng(seed).standard_normal((32, 4))
    assert best_offset(whole[3 + start : 3 + start + 20], whole[3:27]) == start


def test_to_frame_and_back_restores_a_smooth_field(make_case):
    scan = make_case("b", range(5, 25), centre=(33.0, 29.0), size=1.1)
    frame = frame_of(make_case("a", range(40)))
    placement = frame.place(outline(scan.image))
    x, y, z = np.mgrid[:64, :64, :20]
    field = np.exp(-(((x - 33) / 9) ** 2 + ((y - 29) / 7) ** 2)) * (1 + z / 20)
    restored = from_frame(to_frame(field, placement, len(frame.profile)), placement, field.shape)
    assert np.abs(restored - field).max() < 0.03
