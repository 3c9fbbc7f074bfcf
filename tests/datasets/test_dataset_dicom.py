"""DICOM series: place, order, rescaling, and every refusal."""

from itertools import permutations, product

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from universal_diffusion.datasets.dicom import dicom_files, read_series, slice_order
from universal_diffusion.datasets.readers import reader
from universal_diffusion.errors import InputError

AXES = [
    (row, column)
    for (one, two), signs in product(permutations(range(3), 2), product((1, -1), repeat=2))
    for row, column in [(signs[0] * np.eye(3)[one], signs[1] * np.eye(3)[two])]
]


def scan() -> np.ndarray:
    """(slices, rows, columns) HU with a gradient and one bright landmark at column 2, row 1, slice 3."""
    hounsfield = -800 + 10.0 * np.arange(5 * 4 * 6).reshape(5, 4, 6)
    hounsfield[3, 1, 2] = 2000
    return hounsfield


def refused(files, pattern: str, **choice) -> None:
    with pytest.raises(InputError, match=pattern) as error:
        read_series(files, **choice)
    assert "\n" not in str(error.value)


def test_hounsfield_units_shape_and_affine(tmp_path, write_series):
    image, affine = read_series(write_series(tmp_path, scan()))
    assert image.dtype == np.float32
    assert np.array_equal(image, scan().transpose(2, 1, 0))
    assert np.array_equal(affine, np.diag([-2.5, -1.5, 3, 1]))  # LPS to RAS; PixelSpacing is (rows, columns)


@settings(max_examples=15)
@given(axes=st.sampled_from(AXES), data=st.data())
def test_a_landmark_keeps_its_place_in_every_orientation_and_file_order(axes, data, tmp_path_factory, write_slice):
    row, column = axes
    normal, folder = np.cross(row, column), tmp_path_factory.mktemp("series")
    origin = np.array([11.0, -7.0, 5.0])
    files = [
        write_slice(
            folder / f"{number}",
            plane,
            ImageOrientationPatient=[*row, *column],
            ImagePositionPatient=list(origin + 3.0 * number * normal),
        )
        for number, plane in enumerate(scan())
    ]
    image, affine = read_series(data.draw(st.permutations(files)))
    landmark = np.unravel_index(image.argmax(), image.shape)
    lps = origin + 2 * 2.5 * row + 1 * 1.5 * column + 3 * 3.0 * normal
    assert np.allclose((affine @ [*landmark, 1])[:3], lps * [-1, -1, 1])


def test_slice_order_is_that_of_the_stack(tmp_path, write_series):
    files = write_series(tmp_path, scan(), places_mm=[12, 9, 6, 3, 0])
    assert slice_order(files) == files[::-1]
    assert np.array_equal(read_series(files)[0], scan()[::-1].transpose(2, 1, 0))


def test_files_of_a_folder(tmp_path, write_series):
    files = write_series(tmp_path, np.zeros((12, 4, 4)))
    (tmp_path / "._image_0").write_bytes(b"\0" * 200)
    (tmp_path / "notes.txt").write_text("scout")
    assert dicom_files(tmp_path) == files  # image_2 before image_10


def test_missing_slice_is_named_by_position(tmp_path, write_series):
    files = write_series(tmp_path, scan())
    refused(files[:2] + files[3:], r"a gap of 6 mm, from 3 mm \(image_1\) to 9 mm \(image_3\), where slices are 3 mm")


def test_doubled_slice(tmp_path, write_series):
    refused(write_series(tmp_path, scan(), places_mm=[0, 3, 3, 6, 9]), "two slices at the same place, from 3 mm")


def test_rounded_positions_are_accepted(tmp_path, write_series):
    _, affine = read_series(write_series(tmp_path, scan(), places_mm=[0, 0.62, 1.25, 1.88, 2.5]))
    assert affine[2, 2] == pytest.approx(0.625)


def test_several_series_are_refused_or_chosen(tmp_path, write_series):
    files = write_series(tmp_path, scan(), series="1.2.3")
    files += write_series(tmp_path, scan() + 100, name="other_{}", series="1.2.4")
    refused(files, r"holds 2 series: 1\.2\.3 \(5 slices\), 1\.2\.4 \(5 slices\); choose one")
    refused(files, r"does not hold series 9; it holds 1\.2\.3, 1\.2\.4", series="9")
    assert np.array_equal(read_series(files, series="1.2.4")[0], scan().transpose(2, 1, 0) + 100)


def test_gantry_tilt(tmp_path, write_slice):
    files = [
        write_slice(tmp_path / f"{n}", plane, ImagePositionPatient=[0, 0.5 * n, 3 * n])
        for n, plane in enumerate(scan())
    ]
    refused(files, "shifted sideways")


@pytest.mark.parametrize(
    ("attributes", "pattern"),
    [
        ({"Modality": "MR"}, "image_4: is MR, not CT"),
        ({"PixelSpacing": None}, r"image_4: is no CT slice \(it lacks PixelSpacing\)"),
        ({"ImagePositionPatient": None}, "it lacks ImagePositionPatient"),
        ({"NumberOfFrames": "2"}, "several frames"),
        ({"PixelSpacing": [1.5, 2.6]}, "image_4: differs from image_0"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]}, "image_4: differs from image_0"),
    ],
)
def test_a_slice_that_does_not_belong(tmp_path, write_series, write_slice, attributes, pattern):
    files = write_series(tmp_path, scan()[:4])
    last = write_slice(tmp_path / "image_4", scan()[4], **({"ImagePositionPatient": [0, 0, 12]} | attributes))
    refused([*files, last], pattern)


def test_a_slice_of_other_size(tmp_path, write_series, write_slice):
    files = write_series(tmp_path, scan()[:4])
    refused(
        [*files, write_slice(tmp_path / "image_4", np.zeros((3, 3)), ImagePositionPatient=[0, 0, 12])], "image_4: diff"
    )


def test_files_that_are_no_dicom_or_cut_short(tmp_path, write_series):
    files = write_series(tmp_path, scan())
    (tmp_path / "notes").write_text("no image at all")
    refused([tmp_path / "notes"], "notes: is no DICOM file")
    refused([], "no files were given")
    refused(files[:1], "is the only slice")
    files[2].write_bytes(files[2].read_bytes()[:-20])
    refused(files, "image_2: has pixels that cannot be decoded")


@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
@pytest.mark.parametrize(
    ("attributes", "pattern"),
    [
        ({"RescaleSlope": "0"}, "image_4: is rescaled by slope 0 and intercept -1000"),
        ({"RescaleSlope": "-1"}, "is rescaled by slope -1"),
        ({"RescaleIntercept": "NaN"}, "is rescaled by slope 2 and intercept nan"),
        ({"ImagePositionPatient": [0, 0, "NaN"]}, "has impossible ImagePositionPatient"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.5, 1, 0]}, "has impossible ImageOrientationPatient"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "has impossible ImageOrientationPatient"),
        ({"PixelSpacing": ["inf", "1"]}, "has impossible PixelSpacing"),
        ({"InstanceNumber": None, "PhotometricInterpretation": "MONOCHROME1"}, "it lacks grey values"),
    ],
)
def test_a_slice_of_impossible_numbers(tmp_path, write_series, write_slice, attributes, pattern):
    files = write_series(tmp_path, scan()[:4])
    last = write_slice(tmp_path / "image_4", scan()[4], **({"ImagePositionPatient": [0, 0, 12]} | attributes))
    refused([*files, last], pattern)


@pytest.mark.parametrize(
    "change",
    [{"Rows": 3}, {"Rows": 5}, {"Columns": 5}, {"BitsAllocated": 8}, {"BitsAllocated": 32}, {"PixelData": b""}],
)
def test_a_header_that_does_not_fit_its_pixels(tmp_path, write_series, change):
    """SimpleITK would give other pixels, or memory that is none of the file's."""
    files = write_series(tmp_path, scan())
    for path in files:
        dataset = pydicom.dcmread(path)
        for name, value in change.items():
            setattr(dataset, name, value)
        dataset.save_as(path)
    refused(files, r"image_0: holds \d+ bytes of pixels, its header says \d x \d of \d+ bits")


def test_a_matrix_no_scanner_has_is_refused_before_memory_is_taken(tmp_path, write_series):
    files = write_series(tmp_path, scan())
    for path in files:
        dataset = pydicom.dcmread(path)
        dataset.Rows = dataset.Columns = 65535
        dataset.save_as(path)
    refused(files, "image_0: has impossible Rows, Columns")


def test_trap_a_missing_end_slice_leaves_no_gap(tmp_path, write_series, write_slice, capsys):
    """Only numbers and counts hint at it, so it is warned of; a label shows it by its shape."""
    for number, plane in enumerate(scan()):
        place = [0, 0, 3.0 * number]
        write_slice(tmp_path / f"{number}", plane, ImagePositionPatient=place, InstanceNumber=1 + number)
    files = dicom_files(tmp_path)
    read_series(files)
    assert capsys.readouterr().err == ""
    image, _ = read_series(files[1:])
    assert image.shape[2] == 4
    warning = capsys.readouterr().err
    assert warning.endswith("slices may be missing at an end of the 4: they are numbered from 2\n")
    read_series(files[:-1])
    assert capsys.readouterr().err == ""  # nothing tells
    counted = write_series(tmp_path / "counted", scan()[:4], ImagesInAcquisition=5)
    read_series(counted)
    assert capsys.readouterr().err.endswith("of the 4: its headers count 5 images\n")
    folder = tmp_path / "3Dircadb1.2"
    write_series(folder / "PATIENT_DICOM", scan()[:4])
    write_series(folder / "MASKS_DICOM/liver", scan())
    with pytest.raises(InputError, match="liver: has shape 6 x 4 x 5, its image 6 x 4 x 4"):
        reader("ircadb", tmp_path).read("3Dircadb1.2")


def test_a_name_that_is_no_utf8_stops_with_one_line(tmp_path, write_series):
    """SimpleITK would abort the process on it."""
    files = write_series(tmp_path, scan(), name="image_\udcff{}")
    refused(files, "has a name that is not encoded in UTF-8")


@pytest.mark.real_data
def test_jpeg_2000_series(real_data):
    image, affine = read_series(dicom_files(real_data / "totalsegmentator" / "example_ct_dicom"))
    assert image.shape == (512, 512, 20)
    assert image.min() == -1024
    assert np.allclose(np.linalg.norm(affine[:3, :3], axis=0), [0.9765625, 0.9765625, 2.0])
