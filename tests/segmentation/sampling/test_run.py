"""A whole volume from the gate to the store: killed at any moment, it goes on and ends in the same bytes."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from universal_diffusion import settings
from universal_diffusion.method.bundle import Bundle, load_bundle
from universal_diffusion.segmentation.sampling import engine
from universal_diffusion.segmentation.sampling.batch_size import batch_size
from universal_diffusion.segmentation.sampling.run import sample_volume
from universal_diffusion.segmentation.sampling.runtime import start_torch
from universal_diffusion.segmentation.sampling.slab_store import SlabStore
from universal_diffusion.volumes import Grid

KILLS = 5
SAMPLING = settings.Segmentation("ddim", 3, 1.0, 2, 0.25, gate=settings.Gate(2, 0.0, 0.0))
IMAGE = np.random.default_rng(0).random((20, 16, 10), np.float32)
GRID = Grid(IMAGE.shape, np.diag([6.0, 6.0, 6.0, 1.0]))
TARGETS = ("liver", "spleen", "stomach")
ONE_SLICE = 1  # byte a slab may take: slabs of a single slice


def sampled(bundle: Bundle, folder: Path, show: bool = False, identity: dict | None = None, **more) -> SlabStore:
    sampling = replace(SAMPLING, **more)
    return sample_volume(bundle, IMAGE, GRID, TARGETS, sampling, 5, folder, identity or {"seed": 5}, show)


def in_one_process(model: Path, folder: Path, begun: Path) -> None:
    start_torch(1)
    engine.SLAB_BYTES, bundle = ONE_SLICE, load_bundle(model)
    begun.touch()
    sampled(bundle, folder, batch=12)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_at_random_moments_it_ends_in_the_same_bytes(model, tmp_path):
    """Moments of the sampling itself: before the first slab, between slabs and while one is written."""
    context = torch.multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "universal_diffusion.segmentation.sampling.run"])

    def sampling(folder: Path):
        """A process that has begun to work in the folder."""
        begun = tmp_path / "begun"
        begun.unlink(missing_ok=True)
        process = context.Process(target=in_one_process, args=(model, folder, begun))
        process.start()
        while process.is_alive() and not begun.exists():
            time.sleep(0.001)
        return process

    whole, killed, left = tmp_path / "whole", tmp_path / "killed", set()
    process, began = sampling(whole), time.monotonic()
    process.join()
    lasts, moments = time.monotonic() - began, np.random.default_rng(0)
    for _ in range(KILLS):
        process = sampling(killed)
        process.join(moments.uniform(0, lasts / 2))
        process.kill()
        process.join()
        left.add(len(list(killed.glob("slab_*.h5"))))
    assert len(left) > 1  # the kills met it with different numbers of slabs finished
    last = sampling(killed)
    last.join()
    assert last.exitcode == 0
    assert len(contents(whole)) == 10 + 3  # slabs, identity, batch, what the gate kept
    assert contents(killed) == contents(whole)


def test_a_damaged_slab_is_made_again_and_nothing_else(conv_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(engine, "SLAB_BYTES", 2 * 8 * 3 * 20 * 16)
    sampled(conv_bundle, tmp_path / "store").close()
    whole, times = contents(tmp_path / "store"), {p.name: p.stat().st_mtime_ns for p in (tmp_path / "store").iterdir()}
    damaged = tmp_path / "store" / "slab_00002_002.h5"
    damaged.write_bytes(whole[damaged.name][:2000])
    sampled(conv_bundle, tmp_path / "store", show=True)
    assert contents(tmp_path / "store") == whole
    assert {p.name for p in (tmp_path / "store").iterdir() if p.stat().st_mtime_ns != times[p.name]} == {damaged.name}
    told = capsys.readouterr().err
    for word in ("slab_00002_002.h5", "made again", "slab 5/5", "row/s"):
        assert word in told


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "another's"])
def test_a_damaged_record_of_the_gate_is_told_and_made_again(conv_bundle, tmp_path, capsys, damage):
    sampled(conv_bundle, tmp_path / "store").close()
    whole, kept = contents(tmp_path / "store"), tmp_path / "store" / "kept.npz"
    content = whole[kept.name]
    place = content.index(b"pairs.npy") + 50  # behind the name and a zip's extra field: packed voxels
    if damage == "another's":
        sample_volume(conv_bundle, IMAGE, GRID, ["liver"], SAMPLING, 5, tmp_path / "other", {}, False)
        content = (tmp_path / "other" / kept.name).read_bytes()
    flipped = content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]
    kept.write_bytes({"cut": content[:-40], "flip": flipped, "empty": b""}.get(damage, content))
    next(iter((tmp_path / "store").glob("slab_*"))).unlink()
    sampled(conv_bundle, tmp_path / "store", show=True)
    assert contents(tmp_path / "store") == whole
    assert len([line for line in capsys.readouterr().err.splitlines() if line.endswith("it is made again")]) == 1


def test_another_identity_starts_anew_and_quiet_is_quiet(conv_bundle, tmp_path, capsys):
    store = sampled(conv_bundle, tmp_path / "store", gate=None)
    assert store.kept is None
    assert capsys.readouterr().err == ""
    first = contents(tmp_path / "store")
    sampled(conv_bundle, tmp_path / "store", gate=None, identity={"seed": 6})
    assert capsys.readouterr().err == ""
    second = contents(tmp_path / "store")
    assert first.pop("identity.json") != second.pop("identity.json")
    assert first == second


def test_a_gate_that_keeps_all_changes_nothing_and_a_closed_one_leaves_nothing(conv_bundle, tmp_path):
    ungated = sampled(conv_bundle, tmp_path / "a", gate=None)
    opened = sampled(conv_bundle, tmp_path / "b")
    closed = sampled(conv_bundle, tmp_path / "c", gate=replace(SAMPLING.gate, threshold=1.1))
    assert opened.kept.share("liver") == 1
    for name in TARGETS:
        assert np.array_equal(opened.read(name)[0], ungated.read(name)[0])
        assert not closed.read(name)[0].any()


def test_masks_depend_on_no_batch_size_set_or_order_of_targets(conv_bundle, tmp_path):
    """Rows of a full batch do not depend on one another; batches of another size round otherwise, by 1e-5 at most."""
    whole = sampled(conv_bundle, tmp_path / "whole", gate=None, batch=16)
    for batch in (1, 6, 40):
        other = sampled(conv_bundle, tmp_path / str(batch), gate=None, batch=batch)
        for name in TARGETS:
            mean, again = whole.read(name)[0], other.read(name)[0]
            assert np.abs(mean - again).max() <= 1e-5 + 1 / 65535
            assert ((mean >= 0.5) == (again >= 0.5)).all()
    alone = sample_volume(
        conv_bundle, IMAGE, GRID, ["spleen"], replace(SAMPLING, gate=None, batch=16), 5, tmp_path / "s", {}, False
    )
    assert all(map(np.array_equal, alone.read("spleen"), whole.read("spleen")))


def test_targets_in_another_order_are_the_same_run(conv_bundle, tmp_path, capsys):
    store = sampled(conv_bundle, tmp_path / "store")
    assert store.targets == ("spleen", "liver", "stomach")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").iterdir()}
    sample_volume(conv_bundle, IMAGE, GRID, TARGETS[::-1], SAMPLING, 5, tmp_path / "store", {"seed": 5}, show=True)
    assert "goes on, 1 of 1 slabs are finished" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").iterdir()} == before


def test_on_a_cpu_the_batch_follows_from_model_and_threads_alone_at_no_cost(conv_bundle, tmp_path):
    began = time.perf_counter()
    rows = {batch_size(conv_bundle, SAMPLING) for _ in range(3)}
    assert time.perf_counter() - began < 0.5
    assert len(rows) == 1
    assert sampled(conv_bundle, tmp_path / "store").batch == rows.pop()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_precision_changes_the_networks_only(conv_bundle, tmp_path, precision):
    exact = sampled(conv_bundle, tmp_path / "exact", gate=None, batch=16)
    store = sampled(conv_bundle, tmp_path / "store", gate=None, batch=16, precision=precision)
    difference = np.abs(exact.read("liver")[0] - store.read("liver")[0]).max()
    assert difference == 0 if precision == "32-true" else 0 < difference < 0.1
