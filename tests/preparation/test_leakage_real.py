"""On real CTs: copies made of one in memory are recognised, and no two patients are taken for one."""

from pathlib import Path

import numpy as np
import pytest

from universal_diffusion.preparation.fingerprints import prints
from universal_diffusion.preparation.repeats import LEAST_RUN, coincidences, longest_runs
from universal_diffusion.segmentation.inputs.ct_input import read_ct

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CTS = {
    "patient 1": "3dircadb/3Dircadb1.1/PATIENT_DICOM.zip",
    "patient 17": "3dircadb/3Dircadb1.17/PATIENT_DICOM.zip",
    "s0009": "totalsegmentator/s0009/ct.nii.gz",
    "spleen_8": "msd/Task09_Spleen/imagesTr/spleen_8.nii.gz",
}
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.exists(), reason="the labelled CTs of ../shared/data are not here"),
]


@pytest.fixture(scope="module")
def cts() -> dict[str, np.ndarray]:
    return {name: read_ct(DATA / path).hu for name, path in CTS.items()}


@pytest.fixture(scope="module")
def known(cts) -> list[np.ndarray]:
    return [prints(image).slice_prints for image in cts.values()]


def test_not_one_slice_of_two_patients_coincides(known):
    assert coincidences(known).empty


COPIES = {
    "a third of the slices": lambda ct: ct[:, :, 20 : 20 + ct.shape[2] // 3],
    "turned, clipped and with an offset": lambda ct: np.maximum(np.flip(ct, (0, 2)).transpose(2, 0, 1) + 1024, 24),
    "stored in 16 bits over its own range": lambda ct: np.rint((ct - ct.min()) / np.ptp(ct) * 65535),
    "bone and metal clipped": lambda ct: np.minimum(ct, 600),
}


@pytest.mark.parametrize("name", ["patient 17", "s0009"])
@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_recognised_among_all(cts, known, name, copy):
    stored = COPIES[copy](cts[name])
    if copy.startswith("stored"):
        stored = (stored.astype(np.uint16) * (np.ptp(cts[name]) / 65535) + cts[name].min()).astype(np.float32)
    runs = longest_runs(coincidences([*known, prints(stored).slice_prints]))
    assert [list(CTS)[scan] for scan in runs[runs["matched_slices"] >= LEAST_RUN]["scan"]] == [name]


def test_another_noise_makes_another_scan(cts, known):
    again = cts["s0009"] + np.random.default_rng(0).choice([-1, 0, 1], cts["s0009"].shape)
    assert coincidences([*known, prints(again).slice_prints]).empty
