"""The steps on toy archives and, where they are present, on real CTs."""

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import matplotlib.image
import matplotlib.pyplot as plt
import nibabel
import numpy as np
import pandas as pd
import pytest

from universal_diffusion.datasets.base import Case
from universal_diffusion.datasets.catalogue import entry
from universal_diffusion.datasets.mirror import unmirrored
from universal_diffusion.datasets.readers import reader
from universal_diffusion.errors import InputError
from universal_diffusion.preparation import harmonise, inventory, overlays
from universal_diffusion.preparation.acquire import acquire
from universal_diffusion.preparation.harmonise import harmonise_cases
from universal_diffusion.preparation.pictures import Tile, fullest_slice, sheet, views
from universal_diffusion.preparation.shards import shard_of
from universal_diffusion.preparation.splits import SplitRow, write_splits
from universal_diffusion.preparation.transforms import harmonise as harmonised
from universal_diffusion.preparation.unpack import unpack
from universal_diffusion.settings import Preparation, Source
from universal_diffusion.targets import bits, mask
from universal_diffusion.volumes import VolumeFile

SETTINGS = Preparation((5.0, 5.0, 6.0), (-175.0, 250.0), 40)
DATA = Path(__file__).parents[3] / "shared" / "data"


class ToyReader:
    """Three balls of flesh with a spleen in them."""

    def cases(self) -> tuple[str, ...]:
        return "spleen_2", "spleen_3", "spleen_10"

    def read(self, case: str) -> Case:
        distance = np.linalg.norm(np.indices((40, 40, 20)) * np.array([1, 1, 2]).reshape(3, 1, 1, 1) - 20, axis=0)
        image = np.where(distance < 18, 40.0 + len(case), -1000.0).astype(np.float32)
        labels = np.where(distance < 8, bits(["spleen"]), np.uint32(0))
        return Case("msd09", case, image, np.diag([4.0, 4.0, 8.0, 1]), labels, ("spleen",))


def test_equal_runs_give_equal_bytes(tmp_path):
    for run in "ab":
        harmonise_cases(ToyReader(), ["spleen_2", "spleen_10"], SETTINGS, tmp_path / run)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["spleen_10.h5", "spleen_2.h5"]
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_mirrored_case_is_turned_round_and_the_others_are_not(tmp_path):
    harmonise_cases(ToyReader(), ["spleen_2", "spleen_3"], SETTINGS, tmp_path, mirrored=["spleen_3"])
    for name, case in (("spleen_2", ToyReader().read("spleen_2")), ("spleen_3", unmirrored(ToyReader().read("s")))):
        with VolumeFile(tmp_path / f"{name}.h5") as file:
            assert np.array_equal(file.native_grid.affine, case.affine)


def test_shards_share_the_cases_out():
    cases = [str(i) for i in range(10)]
    shards = [shard_of(cases, f"{i}-of-3") for i in (1, 2, 3)]
    assert sorted(case for shard in shards for case in shard) == cases
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    for wrong in ("0-of-3", "4-of-3", "1/3"):
        with pytest.raises(InputError, match="i-of-n"):
            shard_of(cases, wrong)


def test_the_steps_from_a_local_folder_to_the_sheet(tmp_path, monkeypatch):
    """Through each step's own command line: a toy MSD task, restricted to some of its cases."""
    task = tmp_path / "data/Task09_Spleen"
    for case in ToyReader().cases():
        toy = ToyReader().read(case)
        for folder, array in (
            ("imagesTr", toy.image.astype(np.int16)),
            ("labelsTr", (toy.labels > 0).astype(np.uint8)),
        ):
            (task / folder).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, toy.affine), task / folder / f"{case}.nii.gz")
    source = Source("local", "train", "Task09_Spleen", ("spleen_2", "spleen_10"))
    acquire(entry("msd09"), source, tmp_path / "data", tmp_path / "archives")
    unpack(tmp_path / "archives", tmp_path / "native", None)
    shutil.rmtree(tmp_path / "archives")  # local files are linked to where they are, not through the archives' folder
    out = tmp_path / "volumes/msd09/1-of-1"
    flags = ["--source", "msd09", "--settings", json.dumps(asdict(SETTINGS)), "--native", str(tmp_path / "native")]
    monkeypatch.setattr(sys, "argv", ["harmonise", *flags, "--shard", "1-of-1", "--output", str(out)])
    harmonise.main()
    monkeypatch.setattr(sys, "argv", ["i", "--volumes", str(out), "--output-csv", str(tmp_path / "inventory.csv")])
    inventory.main()
    table = pd.read_csv(tmp_path / "inventory.csv")
    assert table.case.tolist() == ["spleen_2", "spleen_10"]
    assert np.allclose(table.spleen_ml, table.spleen_native_ml, rtol=0.05)
    assert table.liver_ml.isna().all()
    write_splits(tmp_path / "s.csv", [SplitRow("msd09", "msd", case, "g", "train", "") for case in table.case])
    flags = ["--splits", str(tmp_path / "s.csv"), "--output", str(tmp_path / "sheet.png")]
    monkeypatch.setattr(sys, "argv", ["overlays", "--volumes", str(out), *flags])
    overlays.main()
    assert matplotlib.image.imread(tmp_path / "sheet.png").std() > 0.1


def test_each_picture_is_titled_by_its_own_case():
    shown = views(harmonised(ToyReader().read("spleen_2"), SETTINGS))
    figure = sheet([Tile(name, "", shown) for name in "abc"], "", across=2, picture_inch=2.0)
    places = {text.get_text(): text.get_position() for text in figure.texts if text.get_text()}
    corners = [axes.get_position() for axes in figure.axes[::2]]
    plt.close(figure)
    for name, corner in zip("abc", corners, strict=True):
        assert places[name] == pytest.approx((corner.x0, corner.y1), abs=0.1)


def test_the_fullest_slice_shows_most_targets_then_most_voxels_then_most_tissue():
    labels, image = np.zeros((4, 4, 5), np.uint32), np.zeros((4, 4, 5), np.float32)
    image[1, 1, 4] = 0.5
    assert fullest_slice(image, labels, axis=2) == 4
    labels[:, :, 0] = bits(["liver"])
    labels[0, :2, 2] = labels[0, :3, 3] = bits(["liver", "spleen"])
    assert fullest_slice(image, labels, axis=2) == 3


def test_light_steps_do_not_load_torch():
    rooms = "acquire, unpack, inventory, split, splits, patches, overlays"
    code = f"import sys; from universal_diffusion.preparation import {rooms}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def native(source: str, path: str, cases: tuple[str, ...], folder: Path):
    if not (DATA / path).exists():
        pytest.skip(f"the labelled CT {path} is not under {DATA}")
    acquire(entry(source), Source("local", "test", path, cases), DATA, folder / "archives")
    unpack(folder / "archives", folder / "native", None)
    return reader(source, folder / "native")


REAL = {
    ("ircadb", "3dircadb", "3Dircadb1.1"): {"liver": 1489, "spleen": 116, "left kidney": 146, "right kidney": 112},
    ("ircadb", "3dircadb", "3Dircadb1.17"): {"liver": 1861},
    ("chaos", "chaos", "CT_3"): {"liver": 1417},
    ("totalsegmentator", "totalsegmentator", "s0009"): {},  # the edge of the scan cuts its liver, spleen and bladder
    ("totalsegmentator", "totalsegmentator", "example_ct"): {},
    ("msd09", "msd/Task09_Spleen", "spleen_8"): {},
}


@pytest.fixture(scope="module", params=REAL, ids=lambda key: key[2])
def real_case(request, tmp_path_factory) -> tuple[Case, dict[str, int]]:
    source, path, case = request.param
    read = native(source, path, (), tmp_path_factory.mktemp(source)).read(case)
    return (unmirrored(read) if case == "spleen_8" else read), REAL[request.param]


@pytest.mark.real_data
@pytest.mark.parametrize("spacing", [(1.5, 1.5, 2.0), (3.0, 3.0, 3.0)])
def test_every_mask_of_a_real_ct_keeps_its_volume_and_side(real_case, spacing):
    case, known_ml = real_case
    volume = harmonised(case, Preparation(spacing, (-175.0, 250.0), 96))
    columns, right_mm = inventory.row(volume), {}
    for name in case.annotated:
        slug = name.replace(" ", "_")
        assert columns[f"{slug}_ml"] == pytest.approx(columns[f"{slug}_native_ml"], rel=0.01), name
        if columns[f"{slug}_ml"] > 0:
            middle = np.argwhere(mask(volume.labels, name)).mean(axis=0)
            right_mm[name] = (volume.grid.affine[:3, :3] @ (middle - np.array(volume.grid.shape) / 2))[0]
    for name, expected in known_ml.items():
        assert columns[f"{name.replace(' ', '_')}_ml"] == pytest.approx(expected, rel=0.005), name
    assert all(right_mm[name] > 0 for name in ("liver", "right kidney") if name in right_mm)
    assert all(right_mm[name] < 0 for name in ("spleen", "left kidney") if name in right_mm)
