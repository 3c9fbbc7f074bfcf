"""Who a patient is stays in the headers that it came in: no result, log or message repeats it unless it is asked for.

Every byte of every file that is written is searched, unpacked where it is packed, for every identifier that the headers
of the series hold, in its own field or where it does not belong.
"""

import gzip
import io
import json
import shutil
import sys
import zipfile
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
import yaml

from universal_diffusion import cli
from universal_diffusion.preparation import harmonise
from universal_diffusion.preparation.origin import Origin, write_origin
from universal_diffusion.preparation.unpack import unpack

SECRETS = {
    "PatientName": "Zyxwvu^Quentin",
    "PatientID": "MRN-7719-0042",
    "PatientBirthDate": "19310217",
    "PatientAddress": "Elmstreet 4711",
    "PatientComments": "sister of Qwertz",
    "OtherPatientIDs": "SSN-078-05-1120",
    "AccessionNumber": "ACC-55-1234",
    "StudyID": "STUDYID-99",
    "ReferringPhysicianName": "Drhouse^Gregory",
    "OperatorsName": "Operator^Olga",
    "InstitutionName": "Saintelsewhere Hospital",
    "StationName": "CTROOM-4",
    "DeviceSerialNumber": "SER-881-AZ",
    "StudyDescription": "abdomen of Zyxwvu",
    "SeriesDescription": "portal Zyxwvu",
    "ProtocolName": "protocol Zyxwvu",
    "ImageComments": "comment on Zyxwvu",
    "StudyDate": "20190523",
    "SeriesDate": "20190524",
    "AcquisitionDate": "20190525",
    "ContentDate": "20190526",
    "StudyTime": "134659",
}
PRIVATE = "PRIVATE-Zyxwvu"
WORDS = [*SECRETS.values(), "Zyxwvu", "Quentin", PRIVATE]


def series(folder: Path, write_series, **more: str) -> np.ndarray:
    """A CT of someone; some values are not as their fields want them, which makes pydicom talk."""
    x, y = np.indices((28, 32))
    body = ((x - 14) / 12) ** 2 + ((y - 16) / 14) ** 2 < 1
    planes = np.where(body, 40.0, -1000.0)[None].repeat(6, axis=0)
    planes += np.random.default_rng(0).integers(-20, 20, planes.shape)
    common = SECRETS | {"StudyInstanceUID": "1.2.9", "FrameOfReferenceUID": "1.2.8"} | more
    for path in write_series(folder, planes, **common):
        slice_ = pydicom.dcmread(path)
        slice_.private_block(0x0029, "A VENDOR", create=True).add_new(1, "LO", PRIVATE)
        slice_.save_as(path)
        raw = path.read_bytes()  # a date and a size that are none
        path.write_bytes(raw.replace(b"19310217", b"Zyxwvu31"))
    return planes


def contents(path: Path):
    """The bytes of a file, and those that are packed in it."""
    content = path.read_bytes()
    yield path.name, content
    if path.name.endswith(".gz"):
        yield f"{path.name} unpacked", gzip.decompress(content)
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(path) as bundle:
            yield from ((f"{path.name}/{name}", bundle.read(name)) for name in bundle.namelist())
    if h5py.is_hdf5(path):
        with h5py.File(path) as file:
            told = [repr(dict(file.attrs))]
            file.visititems(lambda name, item: told.append(f"{name} {dict(item.attrs)}"))
            yield f"{path.name} attributes", "\n".join(told).encode()
            datasets = []
            file.visititems(lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None)
            yield from ((f"{path.name}/{one.name}", np.asarray(one).tobytes()) for one in datasets)


def leaks(folder: Path, *told: str) -> set[tuple[str, str]]:
    """Which words stand in which files (links are the sources themselves) or were told."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    found = {(name, word) for path in files for name, content in contents(path) for word in held(content)}
    return found | {("told", word) for text in told for word in held(text.encode())}


def held(content: bytes) -> list[str]:
    return [word for word in WORDS if word.encode() in content or word.encode("utf-16-le") in content]


def segment(model: Path, ct: Path, output: Path, *more: str) -> None:
    quick = ["--fast", "--device", "cpu", "--threads", "1", "--targets", "spleen", "liver", "-v"]
    cli.main(["segment", "-i", str(ct), "-o", str(output), "--model", str(model), *quick, *more])


def test_a_segmented_series_names_nobody(tmp_path, model, write_series, capfd):
    series(tmp_path / "ct/one", write_series)
    series(tmp_path / "ct/two", write_series, SeriesInstanceUID="1.2.4")
    shutil.make_archive(tmp_path / "both", "zip", tmp_path / "ct")
    segment(model, tmp_path / "both.zip", tmp_path / "out", "--series", "1.2.3", "--view", "--multilabel", "--separate")
    assert (tmp_path / "out/segmentation.dcm").exists()
    assert (tmp_path / "out/view.html").exists()
    assert leaks(tmp_path / "out", *capfd.readouterr()) == set()
    seg = pydicom.dcmread(tmp_path / "out/segmentation.dcm")
    assert (seg.PatientName, seg.PatientID, seg.StudyDate, seg.AccessionNumber) == ("", "", "", "")
    assert (seg.StudyInstanceUID, seg.ContentDate) == ("1.2.9", "19000101")  # what it belongs to is needed


def test_who_asks_gets_a_segmentation_that_an_archive_can_file(tmp_path, model, write_series):
    series(tmp_path / "ct", write_series)
    segment(model, tmp_path / "ct", tmp_path / "out")
    segment(model, tmp_path / "ct", tmp_path / "out", "--keep-patient")
    seg = pydicom.dcmread(tmp_path / "out/segmentation.dcm")
    for keyword in ("PatientName", "PatientID", "AccessionNumber", "StudyDate", "StudyID"):
        assert str(seg[keyword].value) == SECRETS[keyword]
    assert {name for name, _ in leaks(tmp_path / "out")} == {"segmentation.dcm"}
    assert not [word for name, word in leaks(tmp_path / "out") if word in (PRIVATE, SECRETS["InstitutionName"])]
    segment(model, tmp_path / "ct", tmp_path / "out")
    assert leaks(tmp_path / "out") == set()


def test_a_refused_series_is_told_without_its_patient(tmp_path, write_series, capfd):
    """Whatever is wrong: in one field after the other stands what the reader cannot use."""
    series(tmp_path / "ct", write_series)
    for path in (tmp_path / "ct").iterdir():
        raw = path.read_bytes()
        path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(SystemExit):
        segment(tmp_path, tmp_path / "ct", tmp_path / "out")
    assert not [word for text in capfd.readouterr() for word in held(text.encode())]


def test_a_study_of_such_scans_names_nobody(tmp_path, write_series, monkeypatch, capfd):
    """An own dataset of DICOM, harmonised. (`archives/` and `native/` lead to the scans themselves.)"""
    planes, root = series(tmp_path / "archives/images/a", write_series), Path(__file__).parents[2]
    mask = np.zeros((32, 28, 6), np.uint8)
    mask[8:14, 8:14, 2:4] = 1
    affine = np.array([[-1.5, 0, 0, 30], [0, -2, 0, 20], [0, 0, 3, 100], [0, 0, 0, 1]])
    (tmp_path / "archives/masks").mkdir()
    nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / "archives/masks/a.nii.gz")
    (tmp_path / "archives/dataset.yaml").write_text("images: images/{case}\nlabels: {1: liver}\n")
    write_origin(tmp_path / "archives", Origin("local", (), ""))
    assert planes.shape == (6, 28, 32)
    unpack(tmp_path / "archives", tmp_path / "native", None)
    preparation = yaml.safe_load((root / "config/config.yaml").read_text())["preparation"]
    flags = ["--source", "mine", "--native", tmp_path / "native", "--shard", "1-of-1", "--output", tmp_path / "volumes"]
    monkeypatch.setattr(sys, "argv", ["harmonise", *map(str, flags), "--settings", json.dumps(preparation)])
    harmonise.main()
    assert (tmp_path / "volumes/a.h5").exists()
    for folder in ("volumes", "native"):  # links are passed over
        assert leaks(tmp_path / folder, *capfd.readouterr()) == set()
