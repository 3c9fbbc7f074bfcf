"""The store of harmonised volumes: what goes in comes out, slice by slice, and damage is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from universal_diffusion.errors import InputError
from universal_diffusion.label_codes import encode
from universal_diffusion.targets import all_targets, bits, mask, target
from universal_diffusion.volumes import IMAGE_STEPS, Grid, Volume, VolumeFile, write_volume


def volume(shape=(6, 5, 4), native=(7, 6, 3), seed=0) -> Volume:
    random = np.random.default_rng(seed)
    choices = np.array([0, bits(["liver"]), bits(["liver", "liver tumor"]), bits(["spleen"])], np.uint32)
    return Volume(
        "msd03",
        "liver_0",
        ("liver", "liver tumor"),
        "ab12",
        (random.integers(0, IMAGE_STEPS + 1, shape) / IMAGE_STEPS).astype(np.float32),
        random.choice(choices, shape),
        Grid(shape, np.diag([1.5, 1.5, 2.0, 1.0])),
        random.choice(choices, native),
        Grid(native, np.array([[-0.7, 0, 0, 9], [0, 0.8, 0, -4], [0, 0, 5, 1], [0, 0, 0, 1.0]])),
    )


@pytest.fixture
def stored(tmp_path) -> tuple[Volume, Path]:
    original = volume()
    write_volume(tmp_path / "liver_0.h5", original)
    return original, tmp_path / "liver_0.h5"


def test_volume_is_read_as_it_was_written(stored):
    original, path = stored
    with VolumeFile(path) as file:
        read = file.read()
    for name in ("source", "case", "annotated", "fingerprint"):
        assert getattr(read, name) == getattr(original, name)
    for name in ("image", "labels", "native_labels"):
        np.testing.assert_array_equal(getattr(read, name), getattr(original, name))
        assert getattr(read, name).dtype == getattr(original, name).dtype
    for name in ("grid", "native_grid"):
        assert getattr(read, name).shape == getattr(original, name).shape
        np.testing.assert_array_equal(getattr(read, name).affine, getattr(original, name).affine)


def test_equal_volumes_give_equal_bytes(tmp_path):
    for name in "ab":
        write_volume(tmp_path / name, volume())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(z=st.integers(0, 3), x=st.integers(0, 3), y=st.integers(0, 2), size=st.integers(1, 3))
def test_patch_is_that_part_of_the_slice(stored, z, x, y, size):
    original, path = stored
    window = (slice(x, x + size), slice(y, y + size), z)
    with VolumeFile(path) as file:
        np.testing.assert_array_equal(file.image_patch(z, x, y, size), original.image[window])
        np.testing.assert_array_equal(file.label_patch(z, x, y, size), original.labels[window])


def test_slice_counts_count_every_target(stored):
    original, path = stored
    with VolumeFile(path) as file:
        assert file.slice_counts.shape == (29, 4)
        for row, known in zip(file.slice_counts, all_targets(), strict=True):
            assert list(row) == [mask(original.labels[:, :, z], known.name).sum() for z in range(4)]


def test_target_slice_is_the_mask_of_the_target(stored):
    original, path = stored
    with VolumeFile(path) as file:
        for name in ("liver", "liver tumor", "spleen", "gallbladder"):
            for z in range(4):
                expected = mask(original.labels[:, :, z], name)
                np.testing.assert_array_equal(file.target_slice(z, target(name)), expected)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400))
def test_any_labels_survive_their_coding(seed, unions):
    """Up to 401 different unions of targets: codes of one byte and of two."""
    random = np.random.default_rng(seed)
    labels = random.choice(random.integers(0, 2**29, unions, np.uint32), (9, 10, 11)) * random.integers(
        0, 2, (9, 10, 11), np.uint32
    )
    labels = labels.transpose(random.permutation(3))
    known, codes = encode(labels)
    assert codes.dtype == (np.uint8 if len(known) <= 256 else np.uint16)
    np.testing.assert_array_equal(known[codes], labels)
    np.testing.assert_array_equal(known, np.union1d(labels, [0]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(value=st.floats(0, 1, width=32))
def test_stored_intensities_are_within_half_a_step(tmp_path, value):
    """Half of 1/2048: 2.5e-4 of the HU window."""
    original = replace(volume(), image=np.full((6, 5, 4), value, np.float32))
    write_volume(tmp_path / "liver_0.h5", original)
    with VolumeFile(tmp_path / "liver_0.h5") as file:
        assert abs(file.image_patch(0, 0, 0, 1).item() - value) <= 0.5 / IMAGE_STEPS


def test_half_precision_holds_every_stored_intensity():
    steps = np.arange(IMAGE_STEPS + 1, dtype=np.float32) / IMAGE_STEPS
    np.testing.assert_array_equal(steps.astype(np.float16).astype(np.float32), steps)


@pytest.mark.parametrize("value", [-0.01, 1.01])
def test_intensities_outside_the_window_are_not_written(tmp_path, value):
    with pytest.raises(ValueError, match="leaves"):
        write_volume(tmp_path / "wrong.h5", replace(volume(), image=np.full((6, 5, 4), value, np.float32)))


def test_grid_knows_its_spacing_and_voxel_volume():
    rotation = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([0.5, 2.0, 3.0])
    grid = Grid((1, 1, 1), affine)
    np.testing.assert_allclose(grid.spacing_mm, [0.5, 2.0, 3.0])
    assert grid.voxel_ml == pytest.approx(0.003)


def test_array_of_another_shape_than_its_grid_is_not_written(tmp_path):
    wrong = volume()
    object.__setattr__(wrong, "grid", Grid((1, 1, 1), np.eye(4)))
    with pytest.raises(ValueError, match="image has shape"):
        write_volume(tmp_path / "wrong.h5", wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncate", "text", "empty"])
def test_file_that_is_no_volume_is_told(stored, damage):
    _, path = stored
    content = path.read_bytes()
    path.write_bytes({"truncate": content[: len(content) // 2], "text": b"not hdf5", "empty": b""}[damage])
    with pytest.raises(InputError, match=r"liver_0\.h5: is no whole volume .*; delete its folder and run again"):
        VolumeFile(path)


def test_flipped_byte_in_a_slice_is_told(stored):
    _, path = stored
    with VolumeFile(path) as file:
        chunk = file._file["image"].id.get_chunk_info(2)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    path.write_bytes(content)
    with VolumeFile(path) as file, pytest.raises(InputError, match="is damaged in slice 2"):
        file.image_patch(2, 0, 0, 3)
    with VolumeFile(path) as file, pytest.raises(InputError, match="is damaged"):
        file.read()
