"""DICOM as users have it: which series is taken, tilted and enhanced CTs, odd files; and every refusal in one line."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from pydicom.uid import EnhancedCTImageStorage, generate_uid
from scipy import ndimage

from universal_diffusion.preparation.transforms import harmonise_image
from universal_diffusion.segmentation.inputs.ct_input import read_ct
from universal_diffusion.segmentation.outputs.native import to_native
from universal_diffusion.segmentation.outputs.seg_source import seg_notes, seg_obstacle
from universal_diffusion.settings import Preparation

AFFINE = [[-1.5, 0, 0, 30], [0, -2, 0, 20], [0, 0, 3, 100], [0, 0, 0, 1]]
CORONAL, SAGITTAL = [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]
DATA = Path(__file__).parents[3].parent / "shared" / "data"


@pytest.fixture(scope="module")
def hu() -> np.ndarray:
    """(slices, rows, columns)."""
    values = np.random.default_rng(0).integers(-1000, 400, (6, 7, 8)).astype(float)
    values[0, 0, :2] = -1000, 399
    return values


def test_a_folder_and_its_zip_are_one_ct(tmp_path, hu, write_series, write_slice):
    """Slices out of order (files are named from the last), in folders in folders, with scouts and text beside them."""
    files = write_series(tmp_path / "export" / "deep" / "er", hu)
    write_slice(
        tmp_path / "export" / "scout" / "s", hu[0], SeriesInstanceUID="1.9", ImageType=["ORIGINAL", "LOCALIZER"]
    )
    (tmp_path / "export" / "readme.txt").write_text("not a slice")
    read = read_ct(tmp_path / "export")
    assert np.array_equal(read.hu, hu.transpose(2, 1, 0))
    assert np.allclose(read.grid.affine, AFFINE)
    assert (read.format, read.notes) == ("DICOM", ("passed over: 1 localizer",))
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for path in files:
            archive.write(path, f"deep/{path.name}")
    zipped = read_ct(tmp_path / "export.zip")
    assert np.array_equal(zipped.hu, read.hu)
    assert np.array_equal(zipped.grid.affine, read.grid.affine)
    assert zipped.path == tmp_path / "export.zip"
    assert [header.SOPInstanceUID for header in zipped.headers] == [header.SOPInstanceUID for header in read.headers]


def test_headers_come_in_slice_order_without_pixels_and_private_elements(tmp_path, hu, write_series):
    for path in write_series(tmp_path, hu):
        dataset = pydicom.dcmread(path)
        dataset.private_block(0x0029, "A VENDOR", create=True).add_new(1, "OB", bytes(1000))
        dataset.add_new((0x6000, 0x3000), "OW", bytes(8))
        dataset.PatientName = "Jansson"
        dataset.save_as(path)
    headers = read_ct(tmp_path).headers
    assert [header.ImagePositionPatient[2] for header in headers] == [100, 103, 106, 109, 112, 115]
    assert {str(header.PatientName) for header in headers} == {"Jansson"}
    for header in headers:
        assert "PixelData" not in header
        assert not any(element.tag.is_private or element.tag.group >= 0x6000 for element in header)


def test_rescaling_may_differ_from_slice_to_slice(tmp_path, hu, write_slice):
    for z, plane in enumerate(np.round(hu / 4) * 4):
        write_slice(tmp_path / f"{z}", plane, (0, 0, 3 * z), slope=(1, 2)[z % 2], intercept=-1000 - 4 * z)
    assert np.array_equal(read_ct(tmp_path).hu, (np.round(hu / 4) * 4).transpose(2, 1, 0))


def test_files_without_preamble_and_with_any_suffix(tmp_path, hu, write_series):
    for number, path in enumerate(write_series(tmp_path, hu)):
        content = path.read_bytes()
        if number % 2:
            path.write_bytes(content[132:])  # from group 0002
        path.rename(path.with_suffix((".dcm", ".IMA", ".1", "")[number % 4]))
    bare = pydicom.dcmread(tmp_path / "i2.dcm")
    bare.file_meta = pydicom.dataset.FileMetaDataset()
    bare.preamble = None
    bare.save_as(tmp_path / "i2.dcm", implicit_vr=True, little_endian=True)  # from group 0008, as ACR-NEMA had it
    assert (tmp_path / "i2.dcm").read_bytes()[:2] == b"\x08\0"
    assert np.array_equal(read_ct(tmp_path).hu, hu.transpose(2, 1, 0))


def test_dicomdir_as_cds_have_it(tmp_path, hu, write_series):
    files = FileSet()
    for path in write_series(tmp_path / "loose", hu):
        dataset = pydicom.dcmread(path)
        dataset.PatientID, dataset.StudyInstanceUID, dataset.StudyID = "1", "1.2", "1"
        dataset.PatientName, dataset.StudyDate, dataset.StudyTime = "", "20260101", "120000"
        dataset.SeriesNumber = dataset.InstanceNumber = 1
        files.add(dataset)
    files.write(tmp_path / "cd")
    for given in (tmp_path / "cd", tmp_path / "cd" / "DICOMDIR"):
        assert np.array_equal(read_ct(given).hu, hu.transpose(2, 1, 0))


def test_other_objects_in_the_folder_are_passed_over(tmp_path, hu, write_series, write_slice):
    write_series(tmp_path, hu)
    for number, kind in enumerate(["SR", "SEG", "RTSTRUCT", "DOC", "PT", "CT"]):
        pixels = {} if kind == "PT" else {"Rows": None, "Columns": None, "PixelData": None}
        write_slice(tmp_path / kind, hu[0], SeriesInstanceUID=f"1.7.{number}", Modality=kind, **pixels)
    read = read_ct(tmp_path)
    assert read.hu.shape == (8, 7, 6)
    assert read.notes == ("passed over: 1 DOC, 1 PT, 1 RTSTRUCT, 1 SEG, 1 SR, 1 without an image",)


def test_the_original_axial_series_is_taken_and_told(tmp_path, hu, write_series, write_slice, refused):
    write_series(tmp_path / "a", hu, SeriesDescription="thin")
    for number, orientation in enumerate([CORONAL, SAGITTAL]):
        for place in range(4):
            write_slice(
                tmp_path / f"r{number}" / str(place),
                hu[0],
                3.0 * place * np.cross(orientation[:3], orientation[3:]),
                ImageOrientationPatient=orientation,
                SeriesInstanceUID=f"1.2.{10 + number}",
            )
    write_series(tmp_path / "d", hu[:5], SeriesInstanceUID="1.2.20", ImageType=["DERIVED", "SECONDARY"])
    for number in range(5):  # bolus tracking: one place again and again
        write_slice(tmp_path / "t" / str(number), hu[0], SeriesInstanceUID="1.2.30")
    read = read_ct(tmp_path)
    assert np.array_equal(read.hu, hu.transpose(2, 1, 0))
    assert read.notes[0].startswith("series 4 chosen of 5: 1. 4 slices of 3 mm, ")
    assert "; 4. 6 slices of 3 mm, axial, UID 1.2.3; " in read.notes[0]
    assert "thin" not in read.notes[0]
    assert "coronal" in read.notes[0]
    assert "derived" in read.notes[0]
    assert read_ct(tmp_path, series="1.2.20").hu.shape == (8, 7, 5)
    assert read_ct(tmp_path, series="1.2.3").hu.shape == (8, 7, 6)  # a whole UID, though another begins with it
    refused(tmp_path, "two slices at the same place", series="1.2.30")


def test_several_series_are_listed_and_chosen(tmp_path, hu, write_series, refused):
    write_series(tmp_path / "p", hu, SeriesInstanceUID="1.2.5", SeriesDescription="portal", SeriesNumber=9)
    write_series(tmp_path / "v", hu[:4], SeriesInstanceUID="1.2.4", SeriesDescription="arterial", SeriesNumber=3)
    listed = (
        r"holds 2 CT series, of which 2 may be meant: 1\. arterial \(4 slices of 3 mm, axial, UID 1\.2\.4\); "
        r"2\. portal \(6 slices of 3 mm, axial, UID 1\.2\.5\); choose one with --series"
    )
    refused(tmp_path, listed)
    for choice, slices in [("1", 4), ("2", 6), ("1.2.4", 4), ("1.2.5", 6)]:
        read = read_ct(tmp_path, series=choice)
        assert read.hu.shape[2] == slices
        assert "chosen of 2" in read.notes[0]
    refused(tmp_path, "of which 2 may be meant", series="1.2")
    for unknown in ("3", "9.9", ""):
        refused(tmp_path, f"holds no series '{unknown}', but: 1. arterial", series=unknown)


def test_missing_slices_are_told_with_their_positions(tmp_path, hu, write_series, refused):
    files = write_series(tmp_path / "ct", np.concatenate([hu, hu]))
    for z in (3, 7, 8):
        files[z].unlink()
    told = (
        r"has a gap of 6 mm, from 106 mm \(i10\) to 112 mm \(i8\), where slices are 3 mm apart: "
        r"3 missing, at 109\.0, 121\.0, 124\.0 mm; export"
    )
    refused(tmp_path / "ct", told)
    with zipfile.ZipFile(tmp_path / "ct.zip", "w") as archive:
        for path in (tmp_path / "ct").iterdir():
            archive.write(path, path.name)
    refused(tmp_path / "ct.zip", told)


def test_a_series_that_may_lack_its_end_is_told_in_the_notes(tmp_path, hu, write_series, capsys):
    write_series(tmp_path, hu, ImagesInAcquisition=9)
    assert read_ct(tmp_path).notes == ("slices may be missing at an end of the 6: its headers count 9 images",)
    assert capsys.readouterr().err == ""


REFUSALS = [
    (0, {"Modality": "MR"}, r"holds no CT series in DICOM format \(passed over: 6 MR\)"),
    (0, {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, r"passed over: 6 localizer\)"),
    (0, {"RescaleType": "Z_EFF"}, "has values in Z_EFF"),
    (0, {"intercept": 0.0, "shift": 1024}, "not Hounsfield units .* look like stored values"),
    (4, {"ImagePositionPatient": [-30.0, -20.0, 103.0]}, "two slices at the same place, from 103 mm"),
    (4, {"ImagePositionPatient": [-30.0, -20.0, 110.5]}, r"a gap of 1\.5 mm.*3 mm apart; export"),
    (4, {"ImagePositionPatient": [-25.0, -20.0, 112.0]}, r"lies 5\.0 mm beside the line of the other slices"),
    (4, {"ImageOrientationPatient": CORONAL}, "differs from"),
    (4, {"PixelSpacing": [2.0, 1.6]}, "differs from"),
    (4, {"ImagePositionPatient": None}, "it lacks ImagePositionPatient"),
    (4, {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "it lacks grey values"),
    (4, {"RescaleSlope": "0"}, "is rescaled by slope 0"),
    (4, {"Rows": 9}, r"holds 112 bytes of pixels, its header says 8 x 9 of 16 bits"),
]


@pytest.mark.parametrize(("first", "attributes", "problem"), REFUSALS)
def test_refusals(tmp_path, hu, write_slice, first, attributes, problem, refused):
    """Slices from `first` on, or that one alone unless it is the first, get the attributes."""
    shift = attributes.get("shift", 0)
    changed = {name: value for name, value in attributes.items() if name != "shift"}
    for z, plane in enumerate(hu + shift):
        write_slice(tmp_path / f"{z}", plane, (-30, -20, 100 + 3 * z), **(changed if first in (0, z) else {}))
    refused(tmp_path, problem)


def test_a_single_slice_is_sent_to_its_folder(tmp_path, hu, write_series, refused):
    path = write_series(tmp_path, hu)[0]
    assert refused(path, "holds no CT series").remedy == f"give the folder with all slices: {tmp_path}"


def test_a_file_cut_short(tmp_path, hu, write_series, refused):
    path = write_series(tmp_path, hu)[2]
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    refused(tmp_path, "cannot be decoded", path)
    path.write_bytes(whole[:200])
    refused(tmp_path, r"3 mm apart: 1 missing, at 106\.0 mm")  # nothing of it is left but its name


def test_a_landmark_of_a_tilted_ct_goes_out_and_comes_back(tmp_path, write_slice):
    """A ball in a body, cut by slices whose stack leans by 20 degrees.

    Harmonised it is at its place in millimetres, and the mask of it there lands on its voxels in the tilted grid.
    """
    shape, step = (60, 60, 24), np.array([0.0, 5 * np.tan(np.radians(20)), 5.0])
    ball = np.array([70.0, 85.0, 60.0])
    places = np.indices(shape).reshape(3, -1)  # column, row, slice
    lps = (np.array([2.5, 0, 0])[:, None] * places[0] + np.array([0, 2.5, 0])[:, None] * places[1]) + np.outer(
        step, places[2]
    )
    body = np.linalg.norm((lps - [[75], [95], [60]])[:2], axis=0) < 62
    inside = np.linalg.norm(lps - ball[:, None], axis=0) < 16
    hu = np.where(inside, 240, np.where(body, 20, -1000)).reshape(shape)
    for z in range(shape[2]):
        write_slice(tmp_path / f"{z}", hu[..., z].T, step * z, PixelSpacing=[2.5, 2.5])
    read = read_ct(tmp_path)
    assert np.array_equal(read.hu, hu)
    assert "tilted gantry (20.0 degrees)" in read.notes[0]
    image, grid = harmonise_image(
        read.hu, read.grid.affine, Preparation((3.0, 3.0, 3.0), (-175.0, 250.0), 32), "tilted"
    )
    found = image > (130 + 175) / 425
    centre = grid.affine @ [*ndimage.center_of_mass(found), 1]
    assert np.allclose(centre[:3], ball * [-1, -1, 1], atol=1.0)
    back = to_native(found.astype(np.float32), grid, read.grid) > 0.5
    truth = inside.reshape(shape)
    assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > 0.9
    assert np.allclose(ndimage.center_of_mass(back), ndimage.center_of_mass(truth), atol=0.3)


def enhanced(path: Path, hu: np.ndarray, write_slice, order=None, drop=(), **attributes) -> Path:
    """One enhanced CT file: frames in any order, each with its place and its own rescaling."""
    order = range(len(hu)) if order is None else order
    shared, frames = Dataset(), []
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [Dataset()], [Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = [2.0, 1.5]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    stored = []
    for z in (z for z in order if z not in drop):
        frame = Dataset()
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [Dataset()], [Dataset()]
        frame.PlanePositionSequence[0].ImagePositionPatient = [-30.0, -20.0, 100.0 + 3 * z]
        rescale = frame.PixelValueTransformationSequence[0]
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = "1", str(-1024 - z), "HU"
        frames.append(frame)
        stored.append((hu[z] + 1024 + z).astype("<u2").tobytes())
    whole = {
        "SOPClassUID": EnhancedCTImageStorage,
        "SOPInstanceUID": generate_uid(),
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
        "PixelSpacing": None,
        "RescaleSlope": None,
        "RescaleIntercept": None,
        "NumberOfFrames": len(frames),
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": frames,
        "PixelData": b"".join(stored),
    } | attributes
    return write_slice(path, hu[0], **whole)


def test_an_enhanced_ct_is_read_frame_by_frame(tmp_path, hu, write_slice):
    path = enhanced(tmp_path / "ct" / "IM0", hu, write_slice, order=[3, 0, 5, 1, 4, 2])
    for given in (path, path.parent):
        read = read_ct(given)
        assert np.array_equal(read.hu, hu.transpose(2, 1, 0))
        assert np.allclose(read.grid.affine, AFFINE)
        assert (len(read.headers), read.frames, read.notes) == (1, (2, 4, 6, 1, 5, 3), ())
        assert "PixelData" not in read.headers[0]
        assert "have no StudyInstanceUID, by which" in seg_obstacle(read)
    whole = read_ct(enhanced(tmp_path / "whole", hu, write_slice, order=[3, 0, 5, 1, 4, 2], StudyInstanceUID="1.2"))
    assert seg_obstacle(whole) is None
    assert seg_obstacle(replace(whole, frames=(1, 2, 3, 4, 5, 6))) is not None


def test_enhanced_cts_that_are_refused(tmp_path, hu, write_slice, refused):
    path = tmp_path / "IM0"
    enhanced(path, hu, write_slice, drop=(2,))
    refused(path, r"a gap of 6 mm, from 103 mm \(frame 2\) to 109 mm \(frame 3\).*1 missing, at 106\.0 mm")
    enhanced(path, hu, write_slice, order=[0, 1, 2, 3, 4, 4])
    refused(path, "two slices at the same place")
    enhanced(path, hu, write_slice, PerFrameFunctionalGroupsSequence=None)
    refused(path, "does not say where each lies")
    enhanced(path, hu, write_slice, NumberOfFrames=7)
    refused(path, "describes 6 frames, its header says 7")
    enhanced(path, hu, write_slice, SharedFunctionalGroupsSequence=None)
    refused(path, "it lacks PixelSpacing, ImageOrientationPatient")
    enhanced(path, hu, write_slice, PixelData=bytes(100))
    refused(path, "is no DICOM file|cannot be decoded")


def test_values_without_a_rescale_intercept(tmp_path, hu, write_slice, write_series, refused):
    """With padding below 0 they pass as Hounsfield units by their range; only a look at them tells."""
    with_air = np.linspace(-1000, 400, hu.size).reshape(hu.shape).round()
    write_series(tmp_path / "hu", with_air, intercept=0.0, RescaleIntercept=None, PixelRepresentation=1)
    read = read_ct(tmp_path / "hu")
    assert np.array_equal(read.hu, with_air.transpose(2, 1, 0))
    assert "lacks RescaleIntercept" in read.notes[0]
    for padding in (-2000, -1024, -1):
        stored = np.where(hu < -800, padding, hu + 1024).astype("<i2")
        for z, plane in enumerate(stored):
            attributes = {"RescaleIntercept": None, "PixelRepresentation": 1, "PixelData": plane.tobytes()}
            write_slice(tmp_path / "stored" / f"{z}", hu[z], (0, 0, 3 * z), **attributes)
        refused(tmp_path / "stored", r"lacks RescaleIntercept in 6 of 6 slices, .* stored values, with padding below 0")
    frames = enhanced(tmp_path / "IM0", hu, write_slice)
    dataset = pydicom.dcmread(frames)
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.PixelValueTransformationSequence
    dataset.PixelData = np.where(hu < -800, -2000, hu + 1024).astype("<i2").tobytes()
    dataset.PixelRepresentation = 1
    dataset.save_as(frames)
    refused(frames, "lacks RescaleIntercept in 6 of 6")


def test_without_a_modality_the_sop_class_must_say_ct(tmp_path, hu, write_series, refused):
    for modality in (None, ""):
        assert read_ct(write_series(tmp_path / "a", hu, Modality=modality)[0].parent).hu.shape == (8, 7, 6)
    for path in write_series(tmp_path / "mr", hu, Modality="", SOPClassUID=""):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        dataset.save_as(path, enforce_file_format=True)
    refused(tmp_path / "mr", r"passed over: 6 of unknown modality\)")


def test_a_stray_slice_neither_turns_a_series_nor_changes_its_unit(tmp_path, hu, write_series, write_slice, refused):
    write_series(tmp_path / "a", hu)
    write_slice(tmp_path / "z" / "stray", hu[0], (0, 0, 0), ImageOrientationPatient=CORONAL)
    write_series(tmp_path / "c", hu[:3], SeriesInstanceUID="1.2.9", ImageOrientationPatient=CORONAL)
    refused(tmp_path, "differs from")  # it is the axial series that is taken, with its stray slice
    write_slice(tmp_path / "z" / "stray", hu[0], (0, 0, 130), RescaleType="Z_EFF")
    for number in range(2):
        write_slice(tmp_path / "z" / f"later{number}", hu[0], (0, 0, 140 + number), RescaleType="HU")
    refused(tmp_path, "has values in Z_EFF")


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.exists(), reason=f"no real CTs at {DATA}")
@pytest.mark.parametrize(
    ("name", "shape", "headers"),
    [
        ("3dircadb/3Dircadb1.1/PATIENT_DICOM.zip", (512, 512, 129), 129),
        ("chaos/CHAOS_Train_Sets_CT_3.zip", (512, 512, 78), 78),
        ("totalsegmentator/example_ct_dicom", (512, 512, 20), 20),
        ("totalsegmentator/s0009/ct.nii.gz", (119, 119, 185), 0),
        ("totalsegmentator/s0009", (119, 119, 185), 0),
        ("msd/Task09_Spleen/imagesTr/spleen_8.nii.gz", None, 0),
    ],
)
def test_real_cts_are_read(name, shape, headers):
    read = read_ct(DATA / name)
    assert shape in (None, read.hu.shape)
    assert read.hu.min() < -900 < 300 < read.hu.max()
    assert read.grid.shape == read.hu.shape
    assert len(read.headers) == headers
    if name.endswith("example_ct_dicom"):  # its publisher emptied them
        lacking = "StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, SOPClassUID"
        assert seg_notes(read) == (
            f"no DICOM-SEG: the CT's headers have no {lacking}, by which it would refer to them",
        )
    else:
        assert seg_notes(read) == ()
