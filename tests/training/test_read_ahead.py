"""Batches read ahead: any number of workers and any restart give the bytes that the sampler gives."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from universal_diffusion.preparation.patches import PatchSampler
from universal_diffusion.settings import Patches
from universal_diffusion.targets import bits
from universal_diffusion.training.patches import IndexedBatches, ReadAhead
from universal_diffusion.volumes import Grid, Volume, write_volume

P, BATCH, SEED = 16, 5, 7


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder, grid = tmp_path_factory.mktemp("volumes"), Grid((24, 20, 6), np.diag([1.5, 1.5, 2, 1]))
    for number in range(4):
        generator = np.random.default_rng(number)
        image = generator.random(grid.shape, np.float32)
        labels = np.where(generator.random(grid.shape) > 0.9, bits(["spleen"]), np.uint32(0))
        case = Volume("amos", str(number), ("spleen", "liver"), "", image, labels, grid, labels, grid)
        write_volume(folder / f"{number}.h5", case)
    return sorted(folder.glob("*.h5"))


def sampler(volumes) -> PatchSampler:
    return PatchSampler(volumes, Patches(2, 0.5), P, SEED)


def content(batch) -> list[bytes]:
    image, mask, ids = batch
    return [tensor.numpy().tobytes() for tensor in (image.float(), mask.float(), ids)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)
@given(workers=st.integers(0, 2), starts=st.lists(st.integers(0, 1000), min_size=1, max_size=3))
def test_workers_and_restarts_change_no_byte(volumes, workers, starts):
    ahead, alone = ReadAhead(IndexedBatches(sampler(volumes), BATCH), workers), sampler(volumes)
    for start in starts:
        for index in range(start, start + 3):
            expected = alone.draw(index, BATCH)
            arrays = (expected.image, expected.mask, expected.target_ids)
            assert content(ahead.draw(index)) == [array.tobytes() for array in arrays]


@pytest.mark.parametrize("workers", [0, 1])
def test_masks_alone_travel_too(volumes, workers):
    image, mask, ids = ReadAhead(IndexedBatches(sampler(volumes), BATCH, images=False), workers).draw(3)
    expected = sampler(volumes).draw(3, BATCH)
    assert image.shape == (BATCH, 0, P, P)
    assert content((image, mask, ids)) == [b"", expected.mask.tobytes(), expected.target_ids.tobytes()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(index=st.integers(0, 100), first=st.integers(0, BATCH - 1), count=st.integers(1, BATCH))
def test_rows_of_a_batch_are_those_of_the_whole(volumes, index, first, count):
    """What a process reads for itself is what it would have of the batch of a single process."""
    rows = slice(first, first + count)
    whole, own = (IndexedBatches(sampler(volumes), BATCH, rows=part)[index] for part in (slice(None), rows))
    assert content(own) == content(tensor[rows] for tensor in whole)


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_ahead_leaves_the_global_generator_alone(volumes, workers):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    ReadAhead(IndexedBatches(sampler(volumes), BATCH), workers).draw(0)
    assert torch.equal(torch.get_rng_state(), before)
