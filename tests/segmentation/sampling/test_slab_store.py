"""The store of finished slabs: what goes in comes out to half a level, and nothing of another run is ever used."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.sampling.engine import SlabMaps
from universal_diffusion.segmentation.sampling.slab_store import SlabStore
from universal_diffusion.volumes import Grid

SHAPE, DEPTHS, TARGETS = (5, 4, 7), (3, 3, 1), ("liver", "left kidney")
GRID = Grid(SHAPE, np.diag([1.5, 1.5, 2.0, 1.0]))
HALF_LEVEL = 0.5 / 65535 * 1.001


def some_slabs(seed: int = 0) -> list[SlabMaps]:
    generator, slabs, first = np.random.default_rng(seed), [], 0
    for depth in DEPTHS:
        mean, variance = generator.random((2, 2, 5, 4, depth), np.float32)
        mean[1], variance[1] = 0, 0  # nothing of the left kidney
        slabs.append(SlabMaps(first, mean, variance / 4, generator.integers(0, 60, (2, 3))))
        first += depth
    return slabs


def opened(folder: Path, identity: dict | None = None, targets=TARGETS, grid=GRID) -> SlabStore:
    return SlabStore.open(folder, identity or {"seed": 1}, grid, targets, 3)


@pytest.fixture
def filled(tmp_path) -> SlabStore:
    store = opened(tmp_path / "store")
    for slab in some_slabs():
        store.write(slab)
    return store


edge = st.integers(0, 7)


@examples(max_examples=40)
@given(st.tuples(*[st.tuples(edge, edge) for _ in range(3)]))
def test_any_box_of_any_target_can_be_read(tmp_path_factory, corners):
    store = opened(tmp_path_factory.mktemp("stores"))
    for slab in some_slabs():
        store.write(slab)
    box = tuple(slice(min(a, b, size), min(max(a, b), size)) for (a, b), size in zip(corners, SHAPE, strict=True))
    whole = [np.concatenate([getattr(slab, kind)[0] for slab in some_slabs()], 2) for kind in ("mean", "variance")]
    mean, variance = store.read("liver", box)
    assert mean.dtype == variance.dtype == np.float32
    assert mean.shape == variance.shape == whole[0][box].shape
    assert np.abs(mean - whole[0][box]).max(initial=0) <= HALF_LEVEL
    assert np.abs(variance - whole[1][box]).max(initial=0) <= HALF_LEVEL / 4
    assert not store.read("left kidney", box)[0].any()


def test_rounding_moves_no_mean_across_the_threshold(tmp_path):
    below = np.nextafter(np.float32(0.5), np.float32(0))
    mean = np.array([below, 0.5, 0, 1, 0.49999, 0.500001], np.float32).reshape(1, 6, 1, 1)
    store = SlabStore.open(tmp_path / "s", {}, Grid((6, 1, 1), np.eye(4)), ["liver"], 1)
    store.write(SlabMaps(0, mean, np.zeros_like(mean), np.zeros((1, 1), np.int64)))
    assert ((store.read("liver")[0] >= 0.5) == (mean[0] >= 0.5)).all()


def test_voxels_are_summed_over_the_slabs(filled):
    assert np.array_equal(filled.voxels("left kidney"), sum(slab.voxels[1] for slab in some_slabs()))


def test_it_goes_on_where_it_was_left(filled):
    filled.batch = 32
    again = opened(filled.folder)
    assert again.done == (0, 3, 6)
    assert again.batch == 32
    assert again.kept is None
    assert np.array_equal(again.read("liver")[0], filled.read("liver")[0])


@pytest.mark.parametrize(
    "other", [{"identity": {"seed": 2}}, {"targets": TARGETS[::-1]}, {"grid": Grid(SHAPE, np.diag([1.5, 1.5, 3, 1]))}]
)
def test_another_identity_starts_anew_and_says_so(filled, capsys, other):
    filled.batch = 32
    again = opened(filled.folder, **other)
    assert again.done == ()
    assert again.batch is None
    assert "started anew" in capsys.readouterr().err
    with pytest.raises(InputError, match="holds 0 of 7 slices"):
        again.read("liver")


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_slab_is_noticed_and_made_again(filled, capsys, damage):
    path = filled.folder / "slab_00003_003.h5"
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-100], "flip": flipped(content), "empty": b""}[damage])
    again = opened(filled.folder)
    assert again.done == (0, 6)
    assert "made again" in capsys.readouterr().err
    again.write(some_slabs()[1])
    assert path.read_bytes() == content


def test_damaged_counts_of_voxels_are_noticed(filled, capsys):
    """They are no levels: 8 bytes for each of 2 targets' 3 samples, found in the file as they are."""
    path = filled.folder / "slab_00003_003.h5"
    content, counts = path.read_bytes(), some_slabs()[1].voxels.astype("<i8").tobytes()
    assert content.count(counts) == 1
    place = content.index(counts) + 8
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    assert opened(filled.folder).done == (0, 6)
    assert "made again" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{", "null", "0", "2.5", '"8"', "true"])
def test_a_damaged_batch_is_told_and_measured_again(filled, capsys, content):
    filled.batch = 32
    (filled.folder / "batch.json").write_text(content)
    again = opened(filled.folder)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{filled.folder / 'batch.json'}: ")
    assert line.endswith("; it is made again")
    assert (again.batch, again.done) == (None, (0, 3, 6))


def flipped(content: bytes) -> bytes:
    """One bit of the liver's levels turned: the random levels are most of the file's end."""
    place = len(content) - 60
    return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


def test_equal_slabs_give_equal_bytes_and_nothing_takes_no_room(tmp_path):
    first, second = opened(tmp_path / "a"), opened(tmp_path / "b")
    for store in (first, second):
        store.write(some_slabs()[0])
    name = "slab_00000_003.h5"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    nothing = np.zeros((29, 200, 200, 2), np.float32)
    store = SlabStore.open(tmp_path / "c", {}, Grid((200, 200, 2), np.eye(4)), ["liver"], 1)
    store.write(SlabMaps(0, nothing, nothing, np.zeros((29, 1), np.int64)))
    assert (tmp_path / "c" / "slab_00000_002.h5").stat().st_size < 10_000


def test_what_is_no_store_is_left_alone(tmp_path):
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(InputError, match=r"holds thesis\.doc"):
        opened(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        opened(tmp_path / "thesis.doc")
    assert (tmp_path / "thesis.doc").exists()


def test_a_store_without_a_readable_identity_is_emptied(filled):
    (filled.folder / "identity.json").write_text("{")
    assert opened(filled.folder).done == ()
    assert json.loads((filled.folder / "identity.json").read_text())["identity"] == {"seed": 1}
    filled.remove()
    assert not filled.folder.exists()
