"""Prints survive what data sets do to a scan, and nothing else does."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from universal_diffusion.errors import InputError
from universal_diffusion.native_hu import EDGES
from universal_diffusion.preparation.fingerprints import HIGHEST, LOWEST, NO_DIGEST, fingerprint, prints
from universal_diffusion.preparation.repeats import LEAST_RUN, coincidences, longest_runs

SCANS = arrays.arrays(np.int16, arrays.array_shapes(min_dims=3, max_dims=3, max_side=6))
SHAPE = (26, 22, 18)


def body(seed: int, noise_seed: int) -> np.ndarray:
    """A noisy ellipsoid of soft tissue in air: the anatomy of one seed, the noise of another."""
    places = np.indices(SHAPE).astype(float)
    centre = np.random.default_rng(seed).uniform(0.4, 0.6, 3)
    offsets = [(p / side - c) ** 2 for p, side, c in zip(places, SHAPE, centre, strict=True)]
    tissue = np.where(4 * (offsets[0] + offsets[1]) + offsets[2] < 0.8, 60, -1000)
    noise = np.random.default_rng((seed, noise_seed)).normal(0, 40, SHAPE)
    return np.clip(np.rint(tissue + noise), -1024, 3071)


def longest(first: np.ndarray, second: np.ndarray):
    """The longest run of equal slices of two scans, or None."""
    runs = list(longest_runs(coincidences([prints(scan).slice_prints for scan in (first, second)])).itertuples())
    return runs[0] if runs else None


@given(SCANS, st.permutations(range(3)), st.lists(st.booleans(), min_size=3, max_size=3), st.floats(-0.4, 0.4))
def test_flips_axis_order_and_rounding_do_not_matter_to_the_whole(scan, axes, flips, noise):
    stored = np.flip(scan.transpose(axes), [axis for axis, flip in enumerate(flips) if flip])
    assert fingerprint(stored.astype(np.float32) + np.float32(noise)) == fingerprint(scan)


@given(SCANS, st.data())
def test_one_changed_voxel_matters_to_the_whole(scan, data):
    changed = scan.copy()
    at = tuple(data.draw(st.integers(0, side - 1)) for side in scan.shape)
    changed[at] ^= 1
    assert fingerprint(changed) != fingerprint(scan)


def test_values_that_are_no_hounsfield_units_are_refused():
    with pytest.raises(InputError, match=r"toy: holds values beyond"):
        fingerprint(np.array([[[0.0, 1e8]]]), "toy")


@settings(max_examples=40)
@given(
    seed=st.integers(0, 9),
    crop=st.tuples(st.integers(0, 5), st.integers(12, 18)),
    axes=st.permutations(range(3)),
    flips=st.lists(st.integers(0, 2), unique=True),
    offset=st.integers(-400, 400),
    fraction=st.floats(-0.15, 0.15),
    slope=st.floats(0.05, 0.6),
    floor=st.integers(-1024, -700),
)
def test_a_copy_cropped_clipped_turned_offset_and_requantised_is_recognised(
    seed, crop, axes, flips, offset, fraction, slope, floor
):
    scan = body(seed, 0)
    stored = np.flip(np.maximum(scan[:, :, slice(*crop)], floor), flips).transpose(axes)
    stored = np.rint(stored / slope) * slope + offset + fraction
    run = longest(stored.astype(np.float32), scan)
    assert run.matched_slices >= crop[1] - crop[0]
    assert run.offset_hu == offset


@pytest.mark.parametrize("offset", [-24.5, -0.5, 0.5, 10.5])
def test_an_offset_by_half_a_unit_is_recognised(offset):
    """Halves go upwards in every slice, not to the even number: an offset moves all values alike."""
    scan = body(3, 0)
    assert longest((scan + offset).astype(np.float32), scan).matched_slices == max(SHAPE)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 5), st.integers(6, 9))
@settings(max_examples=20)
def test_another_patient_and_another_scan_of_the_same_are_not(seed, other, first_noise, second_noise):
    assert longest(body(seed, first_noise), body(other, second_noise)) is None


@given(
    arrays.arrays(np.float32, st.just((4, 3, 5)), elements=st.integers(-36_000, 36_000).map(lambda n: n / 4)),
    st.permutations(range(3)),
)
@settings(max_examples=60)
def test_one_count_gives_what_numpy_counts_for_each_purpose(scan, axes):
    """Values of quarters of HU, beyond what slices and bins tell apart too, in any axis order."""
    told, values = prints(scan.transpose(axes)), np.floor(scan + 0.5).astype("<i8")
    pairs = np.stack(np.unique(values, return_counts=True), axis=1).astype("<i8")
    assert told.fingerprint == hashlib.sha256(pairs.tobytes() + (60).to_bytes(8, "little")).hexdigest()
    inside = np.clip(scan, EDGES[0], EDGES[-1] - 1)
    np.testing.assert_array_equal(told.native_hu, np.histogram(inside, EDGES)[0])
    cuts = [cut for axis in axes for cut in np.moveaxis(np.clip(values, LOWEST, HIGHEST), axis, 0)]
    if values.min() <= HIGHEST and values.max() >= LOWEST:
        levels = [np.sort(cut, axis=None)[-max(1, cut.size // 10)] for cut in cuts]
        np.testing.assert_array_equal(told.slice_prints["level"], levels)


def test_prints_are_told_by_axis_in_array_order():
    straight = prints(body(1, 0)).slice_prints
    np.testing.assert_array_equal(straight["axis"], np.repeat([0, 1, 2], SHAPE))
    turned = prints(body(1, 0)[::-1]).slice_prints
    np.testing.assert_array_equal(straight[straight["axis"] == 0], turned[turned["axis"] == 0][::-1])
    assert len(np.unique(straight["digest"])) == len(straight)


def test_level_is_reached_by_a_tenth_of_the_pixels():
    scan = np.arange(-200, 200).reshape(20, 20, 1).astype(np.float32)
    across = prints(scan).slice_prints[-1]
    assert across["level"] == 160
    assert (scan >= across["level"]).mean() == 0.1


@given(st.integers(-1024, 100), st.integers(0, 30))
@settings(max_examples=20)
def test_padding_says_nothing(value, values):
    padding = np.full((40, 40, 3), value)
    padding[0, :values] += np.arange(1, values + 1)[:, None]
    assert set(prints(padding).slice_prints["digest"]) == {NO_DIGEST}


def test_limits_are_a_resampled_copy_and_one_cropped_along_two_axes():
    scan = body(3, 0)
    assert longest(scan[2:-2, 2:-2], scan) is None
    assert longest((scan[:, :, 1:] + scan[:, :, :-1]) / 2, scan) is None
    assert longest(scan[2:-2], scan).matched_slices == SHAPE[0] - 4 >= LEAST_RUN
