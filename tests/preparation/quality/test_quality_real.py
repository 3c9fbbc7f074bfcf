"""The checks on real scans: a header that mirrors its patient, and one that does not."""

from pathlib import Path

import numpy as np
import pytest

from universal_diffusion.datasets.readers import reader
from universal_diffusion.native_hu import EDGES
from universal_diffusion.preparation.quality.checks import check
from universal_diffusion.preparation.transforms import harmonise
from universal_diffusion.settings import Preparation
from universal_diffusion.volumes import Volume, VolumeFile, write_volume

REAL = Path(__file__).resolve().parents[4] / "shared" / "data"
SETTINGS = Preparation(spacing_mm=(4.0, 4.0, 4.0), hu_window=(-175, 250), patch=32)

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL.is_dir(), reason="the labelled CTs of ../shared/data are not here"),
]


def harmonised(source: str, folder: str, case: str, tmp_path: Path) -> tuple[Volume, np.ndarray]:
    """The case after a turn through the store, and its native image."""
    native = reader(source, REAL / folder).read(case)
    write_volume(tmp_path / f"{case}.h5", harmonise(native, SETTINGS))
    with VolumeFile(tmp_path / f"{case}.h5") as file:
        return file.read(), native.image


def test_the_mirrored_header_of_spleen_8_is_found(tables, tmp_path):
    volume, image = harmonised("msd09", "msd", "spleen_8", tmp_path)
    assert np.array_equal(volume.native_hu, np.histogram(np.clip(image, EDGES[0], EDGES[-1] - 1), EDGES)[0])
    hits = [(hit.kind, hit.severity) for hit in check(*tables(volume)) if hit.severity != "note"]
    assert hits == [("mirrored", "warning")]


def test_a_scan_cut_on_all_sides_has_every_organ_on_its_side(tables, tmp_path):
    volume, _ = harmonised("totalsegmentator", "totalsegmentator", "s0009", tmp_path)
    hits = check(*tables(volume))
    assert [hit for hit in hits if hit.severity != "note"] == []
    assert {hit.target for hit in hits if hit.kind == "true absence"} == {"prostate", "kidney cyst"}
    assert "field of view" in {hit.kind for hit in hits}
