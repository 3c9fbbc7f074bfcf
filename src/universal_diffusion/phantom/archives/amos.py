"""AMOS 2022: `amos22.zip`, CT (ids up to 500) and MR (501-600) in one numbering."""

import json
from pathlib import Path

import numpy as np

from universal_diffusion.phantom.archives.codes import Code
from universal_diffusion.phantom.archives.containers import Add, mac_side_file, zipped
from universal_diffusion.phantom.archives.nifti import image_and_label, in_axes, nifti_gz
from universal_diffusion.phantom.cohort import first_validation, held_out, labelled
from universal_diffusion.phantom.scanner import Scan
from universal_diffusion.settings import Phantom

CODES: tuple[Code, ...] = (
    (6, ("liver",)),
    (1, ("spleen",)),
    (2, ("right kidney",)),
    (3, ("left kidney",)),
    (7, ("stomach",)),
    (13, ("duodenum",)),
    (10, ("pancreas",)),
    (4, ("gallbladder",)),
    (5, ("esophagus",)),
    (9, ("inferior vena cava",)),
    (8, ("aorta",)),
    (11, ("right adrenal gland",)),
    (12, ("left adrenal gland",)),
    (14, ("bladder",)),
    (15, ("prostate",)),
)
NAMES = (  # of codes 0-15, in the owners' spelling
    *("background", "spleen", "right kidney", "left kidney", "gall bladder", "esophagus", "liver", "stomach", "arota"),
    *("postcava", "pancreas", "right adrenal gland", "left adrenal gland", "duodenum", "bladder", "prostate/uterus"),
)
AXES = "LAS"
LAST_CT, MR, TEST = 500, 507, 201


def write(source: str, phantom: Phantom, study_seed: int, directory: Path) -> None:
    """Write the archive into `directory`: training and validation CTs, a labelled MR, a test CT without labels."""
    cts = labelled(source, phantom, study_seed)
    mr, test = held_out(source, phantom, study_seed)
    parts = {number: "Tr" if i < first_validation(len(cts)) else "Va" for i, number in enumerate(ct_numbers(len(cts)))}
    with zipped(directory / "amos22.zip", compress=False) as add:
        for (number, part), examination in zip(parts.items(), cts, strict=True):
            _add_case(add, part, number, examination.acquire(study_seed))
        _add_case(add, "Tr", MR, _as_mr(mr.acquire(study_seed)))
        scan = test.acquire(study_seed)
        add(f"amos22/imagesTs/amos_{TEST:04d}.nii.gz", nifti_gz(*in_axes(scan.image, scan.affine, AXES), "qform"))
        add("amos22/dataset.json", json.dumps(_description(parts | {MR: "Tr"}), indent=1).encode())


def ct_numbers(count: int) -> list[int]:
    """Odd ids from 1; the last of several is 500, which is still CT."""
    numbers = [1 + 2 * i for i in range(count)]
    return numbers if count == 1 else [*numbers[:-1], LAST_CT]


def _add_case(add: Add, part: str, number: int, scan: Scan) -> None:
    image, label, affine = image_and_label(scan, CODES, AXES)
    for kind, array in (("images", image), ("labels", label.astype(np.uint16))):
        name = f"amos22/{kind}{part}/amos_{number:04d}.nii.gz"
        add(name, nifti_gz(array, affine, "qform"))
        side, data = mac_side_file(name)
        add(f"__MACOSX/{side}", data)


def _as_mr(scan: Scan) -> Scan:
    """Intensities as an MR scanner might give: none negative, air and bone dark, fat bright, a bias along x."""
    fat, bone = scan.image < -30, scan.image > 250
    tissue = np.where(bone, 60, np.where(fat, 700, 250 + scan.image))
    bias = np.linspace(0.8, 1.2, scan.image.shape[0])[:, None, None]
    image = np.where(scan.image < -400, 5, tissue * bias).astype(np.int16)
    return Scan(image=image, affine=scan.affine, labels=scan.labels)


def _description(parts: dict[int, str]) -> dict:
    def pairs(part: str) -> list[dict[str, str]]:
        names = [f"amos_{number:04d}.nii.gz" for number, its in parts.items() if its == part]
        return [{"image": f"./images{part}/{name}", "label": f"./labels{part}/{name}"} for name in names]

    return {
        "name": "AMOS",
        "description": "Synthetic phantom in the layout of AMOS 2022",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {str(code): name for code, name in enumerate(NAMES)},
        "numTraining": sum(part == "Tr" for part in parts.values()),
        "numValidation": sum(part == "Va" for part in parts.values()),
        "numTest": 1,
        "training": pairs("Tr"),
        "validation": pairs("Va"),
        "test": [f"./imagesTs/amos_{TEST:04d}.nii.gz"],
    }
