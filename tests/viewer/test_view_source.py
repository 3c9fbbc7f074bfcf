"""What a page is made from: only the CT that was segmented, a whole report, and whole files."""

import gzip
import json
import os
import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import examples

from universal_diffusion import cli
from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.inputs.ct_hash import ct_sha256
from universal_diffusion.segmentation.inputs.ct_input import read_ct
from universal_diffusion.viewer import volumes
from universal_diffusion.viewer.page import write_page


def edit_report(result: Path, change) -> None:
    report = json.loads((result / "segmentation.json").read_text())
    change(report)
    (result / "segmentation.json").write_text(json.dumps(report))


def write_series(folder: Path, uid: str, brighter: int) -> None:
    folder.mkdir(parents=True)
    for z in range(4):
        one = examples.ct
        one.SeriesInstanceUID, one.SOPInstanceUID, one.InstanceNumber = uid, f"{uid}.{z}", z + 1
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.ImagePositionPatient = [-100, -100, 5 * z]
        one.PixelData = (one.pixel_array + brighter).tobytes()
        one.save_as(folder / f"{z}.dcm")


def test_wrong_inputs_are_refused(result):
    with pytest.raises(InputError, match="holds no segmentation"):
        write_page(result / "nowhere")
    moved = shutil.move(result / "ct.nii.gz", result / "moved.nii.gz")
    with pytest.raises(InputError, match=r"is not there any more.*--ct"):
        write_page(result)
    ct = read_ct(moved)
    write_page(result, ct)
    liver = nibabel.Nifti1Image.from_bytes(gzip.decompress((result / "liver.nii.gz").read_bytes()))
    nibabel.save(
        nibabel.Nifti1Image(liver.get_fdata().astype(np.uint8), np.diag([9, 9, 9, 1])), result / "liver.nii.gz"
    )
    with pytest.raises(InputError, match=r"liver\.nii\.gz: is not on the grid of the CT"):
        write_page(result, ct)
    (result / "view.html").unlink()
    (result / "view.html").mkdir()
    nibabel.save(nibabel.Nifti1Image(np.asarray(liver.dataobj), liver.affine), result / "liver.nii.gz")
    with pytest.raises(InputError, match=r"view\.html: cannot be written \(Is a directory\); make"):
        write_page(result, ct)


@pytest.mark.parametrize("change", ["voxels", "shape", "place"])
def test_another_ct_than_the_segmented_one_is_refused(result, change):
    ct = nibabel.load("ct.nii.gz")
    hu, affine = ct.get_fdata().astype(np.int16), ct.affine.copy()
    if change == "voxels":
        hu[20, 20, 15] += 1
    elif change == "shape":
        hu = hu[:-1]
    else:
        affine[2, 3] += 1
    nibabel.save(nibabel.Nifti1Image(hu, affine), "other.nii.gz")
    told = r"^other\.nii\.gz: is another CT than the one that .*segmentation\.json was made from, ct\.nii\.gz.* --ct$"
    with pytest.raises(InputError, match=told):
        write_page(result, read_ct(Path("other.nii.gz")))
    shutil.move("other.nii.gz", "ct.nii.gz")
    with pytest.raises(InputError, match=r"^ct\.nii\.gz: is another CT .* --ct$"):
        write_page(result)


def test_the_same_dicom_series_is_read_again(result):
    write_series(Path("dicom/first"), "1.2.3", 0)
    write_series(Path("dicom/second"), "1.2.34", 7)
    ct = read_ct(Path("dicom"), "1.2.3")
    for path in result.glob("liver*.nii.gz"):
        path.unlink()
    nibabel.save(nibabel.Nifti1Image((ct.hu > 0).astype(np.uint8), ct.grid.affine), "liver.nii.gz")

    def of_dicom(report):
        report["ct"] |= {"path": "dicom", "format": "DICOM", "series": "1.2.3"}
        report["identity"]["ct_sha256"] = ct_sha256(ct)
        report["targets"] = {"liver": report["targets"]["liver"]}

    edit_report(result, of_dicom)
    write_page(result)
    with pytest.raises(InputError, match=r"dicom: is another CT .* --ct and --series 1\.2\.3$"):
        write_page(result, read_ct(Path("dicom"), "1.2.34"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{}", "is no report of universal-diffusion (it lacks version, seed, ct)"),
        ("{", "cannot be read as JSON"),
        ("[]", "cannot be read as JSON"),
    ],
)
def test_a_file_that_is_no_report_is_refused(result, content, told, capsys):
    (result / "segmentation.json").write_text(content)
    with pytest.raises(SystemExit):
        cli.main(["view", str(result), "--no-browser"])
    error = capsys.readouterr().err
    assert error.startswith(f"error: {result}/segmentation.json: {told}; give the folder")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("lacks", "change"),
    [
        ("identity.ct_sha256", lambda report: report["identity"].clear()),
        ("targets.spleen.volume_ml", lambda report: report["targets"]["spleen"].pop("volume_ml")),
        ("targets.liver", lambda report: report["targets"].update(liver=None)),
        ("seed", lambda report: report.update(seed="0")),
        ("targets", lambda report: report["targets"].clear()),
    ],
)
def test_a_report_that_lacks_something_is_refused(result, lacks, change):
    edit_report(result, change)
    with pytest.raises(InputError, match=re.escape(f"is no report of universal-diffusion (it lacks {lacks})")):
        write_page(result)


def test_no_damage_of_a_mask_gets_through(result):
    whole = (result / "liver.nii.gz").read_bytes()
    grid = read_ct(result / "ct.nii.gz").grid
    levels, _ = volumes.levels_of(result / "liver.nii.gz", grid)
    flips = np.random.default_rng(5).choice(8 * len(whole), 200, replace=False)
    flipped = (np.frombuffer(whole, np.uint8) ^ _bit(len(whole), flip) for flip in flips)
    refused = []
    for content in (b"no NIfTI", whole[:-9], whole[:40], gzip.compress(b"short"), b"", *map(bytes, flipped)):
        (result / "liver.nii.gz").write_bytes(content)
        try:
            read, _ = volumes.levels_of(result / "liver.nii.gz", grid)
        except InputError as error:
            refused.append(str(error))
        else:  # a flip in the time stamp, or in the distance back to one of many equal voxels
            assert gzip.decompress(content) == gzip.decompress(whole)
            assert np.array_equal(read, levels)
    assert len(refused) > 100
    assert all(re.search(r"liver\.nii\.gz: (cannot be read|is not on the grid)", told) for told in refused)


def _bit(length: int, number: int) -> np.ndarray:
    return np.packbits(np.arange(8 * length) == number)


def test_names_that_are_no_text(result, capsysbinary):
    odd = result / os.fsdecode(b"r\xffsult")
    named = os.fsdecode(b"c\xfft.nii.gz")
    shutil.copytree(result, odd)
    shutil.move(odd / "ct.nii.gz", odd / named)
    edit_report(odd, lambda report: report["ct"].update(path=str(odd / named)))
    cli.main(["view", str(odd), "--no-browser"])
    assert capsysbinary.readouterr().out == os.fsencode(odd / "view.html") + b"\n"
    assert "<title>c?t.nii.gz</title>" in (odd / "view.html").read_text(encoding="utf-8")
