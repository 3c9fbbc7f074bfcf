"""The four real CTs through the whole command: every output, on the CT's own grid as an independent reader sees it."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from universal_diffusion import cli
from universal_diffusion.method.weights import load_card, write_card

DATA = Path(__file__).parents[2].parent / "shared" / "data"
CTS = {
    "patient 1": "3dircadb/3Dircadb1.1/PATIENT_DICOM.zip",
    "example_ct_dicom": "totalsegmentator/example_ct_dicom",
    "CHAOS 3": "chaos/CHAOS_Train_Sets_CT_3.zip",
    "s0009": "totalsegmentator/s0009/ct.nii.gz",
}
WITHOUT_UIDS = ("example_ct_dicom",)  # its publisher removed them: no DICOM-SEG can refer to its slices
TARGETS = ("liver", "left kidney")


@pytest.fixture(scope="module")
def coarse_model(model, tmp_path_factory) -> Path:
    """The untrained variant, told to look at voxels of 12 mm."""
    copied = shutil.copytree(model, tmp_path_factory.mktemp("coarse") / "model")
    write_card(copied, load_card(copied) | {"spacing_mm": [12.0, 12.0, 12.0]})
    return copied


def read_independently(path: Path, folder: Path) -> SimpleITK.Image:
    """The CT as ITK reads it: a NIfTI file, or the one series of a folder or zip."""
    if path.suffix == ".gz":
        return SimpleITK.ReadImage(path)
    if path.suffix == ".zip":
        zipfile.ZipFile(path).extractall(folder)
        path = folder
    reader = SimpleITK.ImageSeriesReader
    inside = [path, *(inner for inner in path.rglob("*") if inner.is_dir())]
    (files,) = filter(None, (reader.GetGDCMSeriesFileNames(str(inner)) for inner in inside))
    return SimpleITK.ReadImage(files)


def world(image: SimpleITK.Image) -> np.ndarray:
    """(2, 2, 2, 3) LPS millimetres of the centres of the corner voxels, sorted, whatever the order of the axes."""
    corners = np.indices((2, 2, 2)).reshape(3, 8).T * (np.array(image.GetSize()) - 1)
    points = np.array([image.TransformIndexToPhysicalPoint(corner.tolist()) for corner in corners])
    return points[np.lexsort(np.round(points, 1).T)]


@pytest.mark.real_data
@pytest.mark.parametrize("name", CTS)
def test_every_output_of_a_real_ct_lies_on_its_own_grid(name, coarse_model, tmp_path):
    path = DATA / CTS[name]
    if not path.exists():
        pytest.skip(f"{path} is not here")
    out = tmp_path / "out"
    options = ["--fast", "--device", "cpu", "--threads", "1", "--multilabel", "--separate", "-q", "--targets", *TARGETS]
    cli.main(["segment", "-i", str(path), "-o", str(out), "--model", str(coarse_model), *options])
    report = json.loads((out / "segmentation.json").read_text())
    of_targets = [file for facts in report["targets"].values() for file in facts["files"].values()]
    files = [*of_targets, *report["files"].values()]
    assert sorted([*files, "segmentation.json"]) == sorted(path.name for path in out.iterdir())
    assert ("segmentation.dcm" in files) == (report["ct"]["format"] == "DICOM" and name not in WITHOUT_UIDS)
    ct = read_independently(path, tmp_path / "unpacked")
    for file in [file for file in files if file.endswith(".nii.gz")]:
        written = SimpleITK.ReadImage(out / file)
        assert sorted(written.GetSize()) == sorted(ct.GetSize())
        assert np.allclose(world(written), world(ct), atol=0.05)
