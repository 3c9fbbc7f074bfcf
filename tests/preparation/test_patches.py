"""Patches: whole volumes are never read, each batch depends on its index, and the draw is as stated."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from universal_diffusion.errors import InputError
from universal_diffusion.preparation import patches as room
from universal_diffusion.preparation.inventory import row
from universal_diffusion.preparation.patches import PatchSampler
from universal_diffusion.preparation.splits import SplitRow, volumes_of
from universal_diffusion.settings import Patches
from universal_diffusion.targets import bits, mask, target
from universal_diffusion.volumes import Grid, Volume, VolumeFile, write_volume

P = 16
ANNOTATED = {"msd09": ("spleen",), "msd03": ("liver", "liver tumor"), "amos": ("spleen", "liver", "gallbladder")}


def toy_volume(source: str, case: str, shape=(40, 30, 12)) -> Volume:
    """Image value = x + 100 y, scaled; a small liver at one corner, spleen in another, no gallbladder, no tumour."""
    x, y, z = np.indices(shape)
    labels = np.zeros(shape, np.uint32)
    if "liver" in ANNOTATED[source]:
        labels[(x > 34) & (y < 4) & (z == 3)] |= bits(["liver"])
    if "spleen" in ANNOTATED[source]:
        labels[(x < 3) & (y > 25) & (z >= 9)] |= bits(["spleen"])
    image = ((x + 64 * y) / 2048).astype(np.float32)
    grid = Grid(shape, np.diag([4.0, 4, 5, 1]))
    return Volume(source, case, ANNOTATED[source], f"{source}{case}", image, labels, grid, labels, grid)


@pytest.fixture
def volumes(tmp_path):
    paths = []
    for source, case in [("msd09", "1"), ("msd03", "1"), ("amos", "1"), ("amos", "2"), ("amos", "3")]:
        paths.append(tmp_path / source / f"{case}.h5")
        write_volume(paths[-1], toy_volume(source, case))
    return paths


def test_patches_are_cut_where_they_say_and_masks_are_their_target(volumes, monkeypatch):
    monkeypatch.setattr(VolumeFile, "read", lambda self: pytest.fail("a whole volume was read"))
    batch = PatchSampler(volumes, Patches(3, 0.5), P, seed=1).draw(0, 32)
    assert batch.image.shape == batch.mask.shape == (32, 1, P, P)
    assert (batch.image.dtype, batch.mask.dtype, batch.target_ids.dtype) == (np.float32, np.float32, np.int64)
    names = {target(name).id: name for name in ("spleen", "liver", "liver tumor", "gallbladder")}
    for image, shown, target_id, origin in zip(batch.image, batch.mask, batch.target_ids, batch.origins, strict=True):
        whole = toy_volume(origin.source, origin.case)
        at = np.s_[origin.x : origin.x + P, origin.y : origin.y + P, origin.z]
        assert np.allclose(image[0], whole.image[at], atol=1e-3)
        assert np.array_equal(shown[0], mask(whole.labels, names[target_id])[at])
        assert names[target_id] in ANNOTATED[origin.source]


def test_a_batch_depends_on_seed_and_index_only(volumes):
    one, other = (PatchSampler(order, Patches(2, 0.5), P, 1) for order in (volumes, volumes[::-1]))
    one.draw(3, 8)
    assert one.draw(7, 8).origins == other.draw(7, 8).origins
    assert one.draw(7, 8).origins != one.draw(8, 8).origins
    assert one.draw(7, 8).origins != PatchSampler(volumes, Patches(2, 0.5), P, 2).draw(7, 8).origins


def test_masks_are_the_same_without_images(volumes, monkeypatch):
    sampler = PatchSampler(volumes, Patches(2, 0.5), P, 1)
    expected = sampler.draw(4, 9)
    monkeypatch.setattr(VolumeFile, "image_patch", lambda *_: pytest.fail("an image was read"))
    batch = sampler.draw(4, 9, images=False)
    assert batch.image.shape == (9, 0, P, P)
    assert np.array_equal(batch.mask, expected.mask)
    assert batch.origins == expected.origins


def test_datasets_and_then_targets_are_uniform_and_absent_targets_are_drawn(volumes):
    """msd (two sources of one case) and amos (three cases) each give half; within a case every annotated target."""
    sampler = PatchSampler(volumes, Patches(1, 0.5), P, 1)
    batch = sampler.draw(0, 3000)
    cases = Counter((origin.source, origin.case) for origin in batch.origins)
    assert cases["msd09", "1"] == pytest.approx(750, abs=90)
    assert cases["amos", "2"] == pytest.approx(500, abs=80)
    drawn = Counter(batch.target_ids[[origin.source == "amos" for origin in batch.origins]])
    assert len(drawn) == 3
    assert min(drawn.values()) > 400
    absent = batch.target_ids == target("gallbladder").id
    assert not batch.mask[absent].any()


@pytest.mark.parametrize(("probability", "low", "high"), [(1.0, 1.0, 1.0), (0.5, 0.48, 0.62), (0.0, 0.0, 0.1)])
def test_a_present_target_is_shown_with_the_set_probability(volumes, probability, low, high):
    batch = PatchSampler(volumes, Patches(4, probability), P, 1).draw(0, 1200)
    present = np.isin(batch.target_ids, [target("spleen").id, target("liver").id])
    assert low <= batch.mask[present].any(axis=(1, 2, 3)).mean() <= high


def test_dataset_case_and_target_follow_the_closed_form(volumes):
    """P(case, target) = 1 / datasets x 1 / cases of its dataset x 1 / targets annotated in it."""
    batch = PatchSampler(volumes, Patches(1, 0.5), P, 2).draw(0, 6000)
    drawn = Counter((o.source, o.case, i) for o, i in zip(batch.origins, batch.target_ids.tolist(), strict=True))
    in_dataset = {"msd09": 2, "msd03": 2, "amos": 3}
    expected = {
        (path.parent.name, path.stem, target(name).id): 6000 / 2 / in_dataset[path.parent.name] / len(names)
        for path in volumes
        for names in [ANNOTATED[path.parent.name]]
        for name in names
    }
    assert drawn.keys() == expected.keys()
    assert chisquare([drawn[key] for key in expected], list(expected.values())).pvalue > 1e-3


@pytest.mark.parametrize("probability", [0.0, 0.4, 1.0])
def test_places_follow_the_closed_form(tmp_path, probability):
    """A slice that shows the target, a voxel of it, a window around the voxel, each uniform; otherwise any window."""
    shape, generator = (20, 18, 4), np.random.default_rng(5)
    labels = np.where(generator.random(shape) > 0.98, bits(["spleen"]), np.uint32(0))
    labels[:, :, 1] = 0
    grid = Grid(shape, np.eye(4))
    write_volume(tmp_path / "1.h5", Volume("msd09", "1", ("spleen",), "", np.zeros(shape), labels, grid, labels, grid))
    expected = np.full((5, 3, 4), (1 - probability) / 60)
    shown = [z for z in range(4) if labels[:, :, z].any()]
    for z in shown:
        voxels = np.argwhere(labels[:, :, z])
        for x, y in voxels:
            window = np.s_[max(0, x - P + 1) : min(4, x) + 1, max(0, y - P + 1) : min(2, y) + 1, z]
            expected[window] += probability / len(shown) / len(voxels) / expected[window].size
    origins = PatchSampler([tmp_path / "1.h5"], Patches(1, probability), P, 3).draw(0, 6000).origins
    drawn = np.zeros(expected.shape)
    np.add.at(drawn, tuple(np.transpose([(o.x, o.y, o.z) for o in origins])), 1)
    possible = expected > 0
    assert not drawn[~possible].any()
    assert chisquare(drawn[possible], 6000 * expected[possible]).pvalue > 1e-3


def test_several_patches_come_from_one_case(volumes):
    origins = PatchSampler(volumes, Patches(4, 0.5), P, 1).draw(0, 10).origins
    assert len({(o.source, o.case) for o in origins[:4]}) == len({(o.source, o.case) for o in origins[8:]}) == 1


def test_every_position_can_occur_and_none_outside(volumes):
    origins = PatchSampler(volumes[:1], Patches(1, 0.0), P, 1).draw(0, 4000).origins
    assert {o.x for o in origins} == set(range(40 - P + 1))
    assert {o.y for o in origins} == set(range(30 - P + 1))
    assert {o.z for o in origins} == set(range(12))


def test_few_files_stay_open(volumes, monkeypatch):
    monkeypatch.setattr(room, "OPEN_FILES", 2)
    sampler = PatchSampler(volumes, Patches(1, 0.5), P, 1)
    expected = PatchSampler(volumes, Patches(1, 0.5), P, 1).draw(0, 20)
    assert np.array_equal(sampler.draw(0, 20).image, expected.image)
    assert len(sampler._open) == 2


def test_volumes_that_cannot_give_patches_are_refused(volumes):
    with pytest.raises(InputError, match="smaller than the 32 x 32 patch"):
        PatchSampler(volumes, Patches(1, 0.5), 32, 1)
    with pytest.raises(InputError, match="are none"):
        PatchSampler([], Patches(1, 0.5), P, 1)


def test_volumes_of_finds_the_cases_of_the_parts(volumes):
    rows = [
        SplitRow(path.parent.name, "", path.stem, "", part, "")
        for path, part in zip(volumes, ["train", "validation", "train", "excluded", "test"], strict=True)
    ]
    folders = {path.parent for path in volumes}
    assert volumes_of(folders, rows, ["train"]) == [volumes[0], volumes[2]]
    assert volumes_of(folders, rows, ["validation", "test"]) == [volumes[1], volumes[4]]


def test_inventory_row_measures_annotated_targets_only(volumes):
    columns = row(toy_volume("amos", "1"))
    assert columns["dataset"] == "amos"
    assert columns["shape"] == "40 x 30 x 12"
    assert columns["liver_ml"] == columns["liver_native_ml"] == pytest.approx(5 * 4 * 80 / 1000)
    assert columns["gallbladder_ml"] == 0
    assert np.isnan(columns["pancreas_ml"])
