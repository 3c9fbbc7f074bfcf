"""What is written of a store, against whole arrays, nibabel and SimpleITK."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.inputs.ct import CT
from universal_diffusion.segmentation.outputs import native_files
from universal_diffusion.segmentation.outputs.export import Outputs, export
from universal_diffusion.segmentation.outputs.facts import entropy
from universal_diffusion.segmentation.outputs.native import to_native
from universal_diffusion.segmentation.sampling.engine import SlabMaps
from universal_diffusion.segmentation.sampling.slab_store import SlabStore
from universal_diffusion.targets import target
from universal_diffusion.volumes import Grid

GRID = Grid((20, 18, 14), np.array([[3.0, 0, 0, -30], [0, 3, 0, -27], [0, 0, 4, 100], [0, 0, 0, 1]]))
NATIVE = Grid((40, 38, 25), np.array([[-1.5, 0, 0, 29], [0, 1.45, 0, -28], [0, 0, 2.3, 99], [0, 0, 0, 1]]))
NAMES = ("liver", "liver tumor", "spleen", "hepatic vessel", "pancreas")  # nothing of the pancreas is found
EVERYTHING = Outputs(masks=True, multilabel=True, maps=True, dicom_seg=False, overview=True)
NOTHING = Outputs(masks=False, multilabel=False, maps=False, dicom_seg=False, overview=False)


def ellipsoid(centre: tuple, radius: float) -> np.ndarray:
    x, y, z = np.ogrid[tuple(slice(0, n) for n in GRID.shape)]
    distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
    return np.clip((radius - distance) / 2 + 0.5, 0, 1).astype(np.float32)


def maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and variance (K, X, Y, Z), and the samples' voxels (K, 3)."""
    mean = np.stack(
        [
            ellipsoid((12, 9, 7), 5.5),
            ellipsoid((14, 9, 7), 2.5),
            ellipsoid((4, 9, 7), 3.5),
            ellipsoid((12, 9, 7), 2),
            0 * ellipsoid((0, 0, 0), 1) + np.float32(0.3) * ellipsoid((6, 6, 6), 2),
        ]
    )
    voxels = (mean >= 0.5).sum(axis=(1, 2, 3))[:, None] + np.array([-2, 0, 5])
    return mean, mean * (1 - mean) * 0.7, np.maximum(voxels, 0)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> SlabStore:
    mean, variance, voxels = maps()
    made = SlabStore.open(tmp_path_factory.mktemp("store") / "slabs", {}, GRID, NAMES, 3)
    for first in range(0, GRID.shape[2], 6):
        part = slice(first, first + 6)
        share = voxels if first == 0 else np.zeros_like(voxels)
        made.write(SlabMaps(first, mean[..., part], variance[..., part], share))
    return made


@pytest.fixture(scope="module")
def ct() -> CT:
    hu = np.random.default_rng(0).normal(50, 20, NATIVE.shape).astype(np.float32)
    return CT(hu, NATIVE, Path("folder/patient.nii.gz"), "NIfTI")


@pytest.fixture(scope="module")
def written(store, ct, tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("result")
    return folder, export(store, NATIVE, folder, EVERYTHING, ct)


def whole(store: SlabStore, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Native mean and variance, resampled at once."""
    return tuple(to_native(one, GRID, NATIVE) for one in store.read(name))


@pytest.mark.parametrize("name", NAMES)
def test_files_are_those_of_the_whole_volume_to_the_byte(store, written, name):
    folder, _ = written
    mean, variance = whole(store, name)
    stored = {kind: nibabel.load(folder / native_files.file_name(name, kind)) for kind in native_files.MAXIMUM}
    expected = {"mask": mean >= 0.5, "mean": mean * 255, "variance": variance * 4 * 255, "entropy": entropy(mean) * 255}
    for kind, image in stored.items():
        levels = np.asanyarray(image.dataobj.get_unscaled())
        assert np.array_equal(levels, np.rint(expected[kind]).astype(np.uint8)), kind
        assert np.allclose(image.affine, NATIVE.affine, atol=1e-4)


def test_facts_are_those_of_the_whole_volume(store, ct, written):
    _, facts = written
    assert list(facts) == list(NAMES)
    for name in NAMES[:-1]:
        mean, _ = whole(store, name)
        mask, told = mean >= 0.5, facts[name]
        assert told.voxels == mask.sum()
        assert told.volume_ml == pytest.approx(mask.sum() * NATIVE.voxel_ml)
        assert told.volume_sd_ml == pytest.approx(np.std([-2, 0, 5], ddof=1) * GRID.voxel_ml)
        assert told.mean_hu == pytest.approx(ct.hu[mask].mean(dtype=float))
        assert told.sd_hu == pytest.approx(ct.hu[mask].std(dtype=float), rel=1e-6)
        p = mean[mean >= 0.05].astype(float)
        p = p[p < 1]
        bits = -(p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum() / (mean >= 0.05).sum()
        assert told.uncertainty == pytest.approx(bits, abs=1e-4)
    empty = facts["pancreas"]
    assert (empty.voxels, empty.volume_ml, empty.mean_hu, empty.sd_hu) == (0, 0.0, None, None)
    assert empty.uncertainty > 0.5  # nowhere above 0.3, but there


def test_entropy_is_in_bits():
    assert entropy(np.array([0, 0.5, 1], np.float32)).tolist() == [0, 1, 0]
    assert entropy(np.float32(0.11)) == pytest.approx(0.4999, abs=1e-3)


def test_a_voxel_of_several_targets_is_the_tumours_then_the_smaller_ones(written):
    folder, _ = written
    labels = nibabel.load(folder / "segmentation.nii.gz")
    assert labels.get_data_dtype() == np.uint8
    ids = np.asanyarray(labels.dataobj)
    masks = {name: np.asanyarray(nibabel.load(folder / f"{target(name).slug}.nii.gz").dataobj) > 0 for name in NAMES}
    expected = np.zeros(NATIVE.shape, np.uint8)
    for name in ("liver", "spleen", "hepatic vessel", "liver tumor"):
        expected[masks[name]] = target(name).id
    assert (masks["liver tumor"] & masks["hepatic vessel"]).any()
    assert np.array_equal(ids, expected)


def test_names_of_the_labels_are_there_for_viewers(written):
    folder, _ = written
    snap = (folder / "segmentation_labels.txt").read_text().splitlines()
    assert snap[0].endswith('"Clear Label"')
    assert '29 255 135 210 1 1 1 "colon tumor"' not in snap  # not asked for
    assert '6 60 120 255 1 1 1 "liver"' in snap
    slicer = (folder / "segmentation_labels.ctbl").read_text().splitlines()
    assert "25 liver_tumor 0 150 90 255" in slicer


def test_simpleitk_finds_every_mask_at_its_world_point(written):
    folder, _ = written
    for name, centre in (("liver", (12, 9, 7)), ("spleen", (4, 9, 7))):
        image = SimpleITK.ReadImage(str(folder / f"{name}.nii.gz"))
        ras = GRID.affine @ [*centre, 1]
        shape = SimpleITK.LabelShapeStatisticsImageFilter()
        shape.Execute(image)
        assert np.allclose(np.array(shape.GetCentroid(1)) * [-1, -1, 1], ras[:3], atol=1.0)


def test_bytes_depend_neither_on_threads_nor_on_slabs(store, ct, written, tmp_path, monkeypatch):
    folder, facts = written
    monkeypatch.setattr(native_files, "SLAB", 7)
    again = export(store, NATIVE, tmp_path, EVERYTHING, ct, threads=1)
    assert again.keys() == facts.keys()
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    for name in names:
        if name.endswith((".txt", ".ctbl", ".png")):
            assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()
        else:
            first, second = (nibabel.load(place / name) for place in (folder, tmp_path))
            assert np.array_equal(first.dataobj.get_unscaled(), second.dataobj.get_unscaled())
            assert first.header == second.header
    assert not [name for name in names if "partial" in name]


def test_twice_the_same_bytes(store, ct, written, tmp_path):
    folder, _ = written
    export(store, NATIVE, tmp_path, EVERYTHING, ct, threads=3)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_only_what_is_asked_for_is_written(store, tmp_path):
    facts = export(store, NATIVE, tmp_path, NOTHING)
    assert not list(tmp_path.iterdir())
    assert facts["liver"].voxels
    assert facts["liver"].mean_hu is None


def test_a_native_volume_along_other_axes_is_the_same(store, written, tmp_path):
    """Slabs across the patient's side instead of his head: the store is read along its other axes."""
    folder, facts = written
    order, shape = [2, 0, 1], np.array(NATIVE.shape)
    turned = Grid(tuple(shape[order].tolist()), NATIVE.affine[:, [*order, 3]])
    told = export(store, turned, tmp_path, Outputs(True, False, True, False, False))
    assert {name: one.voxels for name, one in told.items()} == {name: one.voxels for name, one in facts.items()}
    for kind in native_files.MAXIMUM:
        file = native_files.file_name("liver", kind)
        first, second = (nibabel.load(place / file).dataobj.get_unscaled() for place in (folder, tmp_path))
        assert np.abs(first.transpose(order).astype(int) - second).max() <= 1  # the order of summing rounds


def test_the_overview_is_a_picture(written):
    with Image.open(written[0] / "overview.png") as image:
        assert image.size[0] > 1000
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert (np.abs(pixels.astype(int) - [60, 120, 255]).max(axis=1) < 8).sum() > 50  # the liver's outline


def test_what_cannot_be_written_is_refused_before_anything_is(store, ct, tmp_path):
    with pytest.raises(InputError, match=r"patient.nii.gz: gives no DICOM-SEG: the CT is no DICOM"):
        export(store, NATIVE, tmp_path, Outputs(True, False, False, True, False), ct)
    with pytest.raises(InputError, match="none is given"):
        export(store, NATIVE, tmp_path, Outputs(True, False, False, False, True))
    assert not list(tmp_path.iterdir())


def test_a_damaged_store_leaves_no_half_files(tmp_path):
    store = SlabStore.open(tmp_path / "slabs", {}, GRID, NAMES, 3)
    mean, variance, voxels = maps()
    store.write(SlabMaps(0, mean[..., :6], variance[..., :6], voxels))
    with pytest.raises(InputError, match="holds 6 of 14 slices"):
        export(store, NATIVE, tmp_path / "result", Outputs(True, False, True, False, False))
    assert not (tmp_path / "result").exists() or not list((tmp_path / "result").iterdir())
