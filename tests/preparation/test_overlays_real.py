"""The harmonised labels of real CTs lie on the organs that they name: right density, right side, the native volume.

Every labelled CT of ../shared/data (labels_only holds no scans) is read, harmonised to 3 mm and stored, as a study
does, and read back. The header of spleen_8 mirrors its patient; it is turned round as `mirrored` of a source does.
"""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from universal_diffusion.datasets import catalogue
from universal_diffusion.datasets.readers import reader
from universal_diffusion.datasets.sides import midline
from universal_diffusion.preparation.harmonise import harmonise_cases
from universal_diffusion.settings import Preparation
from universal_diffusion.targets import mask
from universal_diffusion.volumes import Volume, VolumeFile

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
SETTINGS = Preparation(spacing_mm=(3.0, 3.0, 3.0), hu_window=(-175, 250), patch=32)
CASES = {
    "3Dircadb1.1": ("ircadb", {"liver", "spleen", "right kidney", "left kidney"}),
    "3Dircadb1.17": ("ircadb", {"liver"}),
    "CT_3": ("chaos", {"liver"}),
    "s0009": ("totalsegmentator", {"liver", "spleen", "right kidney", "left kidney"}),
    "example_ct": ("totalsegmentator", {"liver", "spleen", "right kidney", "left kidney"}),
    "spleen_8": ("msd09", {"spleen"}),
}
FOLDERS = {"ircadb": "3dircadb", "chaos": "chaos", "totalsegmentator": "totalsegmentator", "msd09": "msd"}
HU = {  # medians from before contrast to its strongest phase; masks of kidneys, adrenals and pancreas hold fat as well
    "liver": (30, 160),
    "spleen": (30, 200),
    "right kidney": (0, 250),
    "left kidney": (0, 250),
    "right adrenal gland": (-60, 160),
    "left adrenal gland": (-60, 160),
    "pancreas": (-60, 160),
    "gallbladder": (-20, 60),
    "aorta": (20, 250),
    "inferior vena cava": (20, 250),
    "portal vein and splenic vein": (20, 250),
    "prostate": (0, 150),
}
RIGHT = ("liver", "right kidney", "right adrenal gland", "right head of femur")
LEFT = ("spleen", "left kidney", "left adrenal gland", "left head of femur")

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL.is_dir(), reason="the labelled CTs of ../shared/data are not here"),
]


def native_folder(source: str, case: str, folder: Path) -> Path:
    """The case's native tree: unpacked into `folder` (of 3D-IRCADb the targets' masks), or where it lies."""
    if source not in ("ircadb", "chaos"):
        return REAL / FOLDERS[source]
    known = catalogue.entry(source)
    archives = sorted((REAL / FOLDERS[source]).glob(f"{case}/*.zip" if source == "ircadb" else "*.zip"))
    for path in archives:
        with zipfile.ZipFile(path) as archive:
            wanted = [
                name
                for name in archive.namelist()
                if path.stem != "MASKS_DICOM" or known.structure_targets(name.split("/")[1])
            ]
            archive.extractall(folder / case if source == "ircadb" else folder, wanted)
    return folder


@pytest.fixture(scope="module", params=CASES)
def harmonised(request, tmp_path_factory) -> Volume:
    source, _ = CASES[request.param]
    folder = tmp_path_factory.mktemp("real")
    native = reader(source, native_folder(source, request.param, folder))
    mirrored = {request.param} & {"spleen_8"}
    harmonise_cases(native, [request.param], SETTINGS, folder / "volumes", mirrored)
    with VolumeFile(folder / "volumes" / f"{request.param}.h5") as file:
        return file.read()


def hounsfield(volume: Volume) -> np.ndarray:
    """HU within the window of the settings."""
    low, high = SETTINGS.hu_window
    return low + (high - low) * volume.image


def shown(volume: Volume) -> list[str]:
    return [name for name in volume.annotated if mask(volume.labels, name).any()]


def test_the_organs_are_there(harmonised):
    assert set(shown(harmonised)) >= CASES[harmonised.case][1]


def test_organs_have_the_density_of_organs(harmonised):
    hu = hounsfield(harmonised)
    medians = {name: float(np.median(hu[mask(harmonised.labels, name)])) for name in shown(harmonised) if name in HU}
    assert {name: value for name, value in medians.items() if not HU[name][0] <= value <= HU[name][1]} == {}


def test_organs_lie_on_their_side(harmonised):
    middle = midline(hounsfield(harmonised), harmonised.grid.affine, Path(harmonised.case))
    right_mm = {}
    for name in {*RIGHT, *LEFT} & set(shown(harmonised)):
        index = np.argwhere(mask(harmonised.labels, name)).mean(axis=0)
        right_mm[name] = float((harmonised.grid.affine @ [*index, 1])[0]) - middle
    assert right_mm
    assert {name: place for name, place in right_mm.items() if (place > 10) != (name in RIGHT) or abs(place) < 10} == {}


def test_organs_keep_their_volume(harmonised):
    for name in CASES[harmonised.case][1]:
        native = mask(harmonised.native_labels, name).sum() * harmonised.native_grid.voxel_ml
        found = mask(harmonised.labels, name).sum() * harmonised.grid.voxel_ml
        assert found == pytest.approx(native, rel=0.01), name
