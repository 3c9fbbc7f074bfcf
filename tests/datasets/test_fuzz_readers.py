"""Damaged native trees: every reader gives a sound Case or one line that names a file below the tree, and nothing else.

Each reader's smallest valid tree is damaged in one to three places: bytes (cut, flipped, appended, replaced; before and
after compression), files (emptied, missing, a folder, exchanged, renamed), NIfTI headers and arrays (any field, type,
shape, affine, code), DICOM tags (missing, impossible, of another type or transfer syntax), PNG pictures and the
description of an own dataset. `make test` tries 170 damaged trees of each of 12 kinds, 2040 in all;
FUZZ_EXAMPLES=2000 in the environment tries 2000 of each.
"""

import gzip
import io
import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np
import PIL.Image
import pydicom
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement

from universal_diffusion.datasets.base import Case, Reader
from universal_diffusion.datasets.catalogue import MERGED, entry
from universal_diffusion.datasets.labels import bits_of
from universal_diffusion.datasets.own.description import read
from universal_diffusion.datasets.own.reader import reader as own_reader
from universal_diffusion.datasets.own.source import entry_of
from universal_diffusion.datasets.readers import reader
from universal_diffusion.errors import InputError
from universal_diffusion.phantom.archives.dicom import Series, slice_file
from universal_diffusion.phantom.archives.nifti import in_axes, nifti_gz

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "170"))
SHAPE = (14, 12, 5)
AFFINE = np.diag([8.0, 9.0, 10.0, 1.0])
PAIRS = {  # image, label, axes
    "msd03": ("Task03_Liver/imagesTr/liver_0.nii.gz", "Task03_Liver/labelsTr/liver_0.nii.gz", "LAS"),
    "btcv": ("RawData/Training/img/img0001.nii.gz", "RawData/Training/label/label0001.nii.gz", "LAS"),
    "kits23": ("dataset/case_00000/imaging.nii.gz", "dataset/case_00000/segmentation.nii.gz", "IPL"),
    "abdomenct1k": ("Subtask1/TrainImage/train_0001_0000.nii.gz", "Subtask1/TrainMask/train_0001.nii.gz", "LPS"),
    "amos": ("amos22/imagesTr/amos_0001.nii.gz", "amos22/labelsTr/amos_0001.nii.gz", "LAS"),
    "word": ("WORD-V0.1.0/imagesTr/word_0001.nii.gz", "WORD-V0.1.0/labelsTr/word_0001.nii.gz", "LPS"),
}
OWN = {  # dataset.yaml: a label map, and a mask file per structure
    "own_map": b"labels: {1: liver, 2: [liver tumor, liver], 3: kidneys}\nnot_a_target: [4]\n",
    "own_structures": b"masks: masks/{case}/{structure}.nii.gz\nlabels: {Leber: liver, kidneys: kidneys}\n",
}
SOURCES = (*PAIRS, "totalsegmentator", "pancreas_ct", "ircadb", "chaos", *OWN)
Tree = dict[str, bytes]

RAW_UID = b"1.2.840.10008.1.2.1\0"
OTHER_UIDS = [
    f"1.2.840.10008.1.2{end}" for end in ("", ".1.99", ".2", ".4.50", ".4.57", ".4.70", ".4.80", ".4.90", ".5", ".9")
]
NUMBERS = [0, 1, 2, -1, 3.5, 255, 32767, -32768, 65535, 100000, 2**31 - 1, 1e-30, 1e30, float("nan"), float("inf")]
TYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "c8"]
TAGS = [
    *("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SeriesInstanceUID"),
    *("Modality", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "InstanceNumber", "ImagesInAcquisition"),
    *("PixelData", "SOPClassUID", "SpecificCharacterSet", "PlanarConfiguration", "SmallestImagePixelValue"),
]


def body() -> np.ndarray:
    """(X, Y, Z) HU in RAS order: air, a body and its spine."""
    hounsfield = np.full(SHAPE, -1000, np.int16)
    hounsfield[2:12, 2:10] = 40
    hounsfield[6:8, 3:5] = 400
    return hounsfield


def codes(table) -> np.ndarray:
    """(X, Y, Z) label map with a few voxels of each code on both sides of the spine."""
    label = np.zeros(SHAPE, np.uint8)
    for place, code in enumerate(table):
        label[[3, 10], 2 + place % 8, place // 8] = code
    return label


def slices(folder: str, volume: np.ndarray, uid: int, orientation=(1, 0, 0, 0, 1, 0)) -> Tree:
    """DICOM files of a volume given in RAS order."""
    series = Series(folder, uid, orientation, (9.0, 8.0, 10.0))
    planes = in_axes(volume, AFFINE, "LPS" if orientation[4] == 1 else "LAS")[0]
    files = {}
    for k in range(SHAPE[2]):
        files[f"{folder}/image_{k}"] = slice_file(series, planes[:, :, k].T, number=k, position_mm=(0, 0, 10 * k))
    return files


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


def valid_tree(source: str) -> Tree:
    """The smallest tree of a source that its reader takes."""
    if source in PAIRS:
        image, label, axes = PAIRS[source]
        arrays = {image: body(), label: codes(entry(source).labels)}
        return {name: nifti_gz(*in_axes(array, AFFINE, axes)) for name, array in arrays.items()}
    if source == "own_map":
        arrays = {"images/a.nii.gz": body(), "masks/a.nii.gz": codes((1, 2, 3, 4))}
        return {"dataset.yaml": OWN[source]} | {name: nifti_gz(array, AFFINE) for name, array in arrays.items()}
    liver, kidneys = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    liver[8:11, 4:8, 1:4], kidneys[[3, 10], 3:5, 1:4] = 255, 255
    if source == "own_structures":
        arrays = {"images/a.nii.gz": body(), "masks/a/leber.nii.gz": liver, "masks/a/kidneys.nii.gz": kidneys}
        return {"dataset.yaml": OWN[source]} | {name: nifti_gz(array, AFFINE) for name, array in arrays.items()}
    if source == "totalsegmentator":
        masks = {"liver": liver // 255, "prostate": 0 * liver, "femur_left": 0 * liver}
        named = {f"s0001/segmentations/{name}.nii.gz": nifti_gz(array, AFFINE) for name, array in masks.items()}
        return {"s0001/ct.nii.gz": nifti_gz(body(), AFFINE)} | named
    if source == "pancreas_ct":
        label, affine = in_axes(liver // 255, AFFINE, "LAI")
        scan = slices("Pancreas-CT/PANCREAS_0001/1.2/1.3", body(), 1, (1, 0, 0, 0, -1, 0))
        return scan | {"TCIA_pancreas_labels-02-05-2017/label0001.nii.gz": nifti_gz(label, affine)}
    if source == "ircadb":
        masks = slices("3Dircadb1.1/MASKS_DICOM/liver", liver, 2) | slices(
            "3Dircadb1.1/MASKS_DICOM/kidneys", kidneys, 3
        )
        return slices("3Dircadb1.1/PATIENT_DICOM", body(), 1) | masks
    drawn = {f"Train_Sets/CT/1/Ground/liver_GT_{k:03d}.png": png(liver[::-1, ::-1, k].T) for k in range(SHAPE[2])}
    return slices("Train_Sets/CT/1/DICOM_anon", body(), 1) | drawn


@st.composite
def damaged_bytes(draw, data: bytes) -> bytes:
    """Bytes cut, changed, appended or replaced."""
    kind = draw(st.sampled_from(["cut", "flip", "tail", "noise", "empty"]))
    if kind == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if kind == "flip":
        last = draw(st.sampled_from([min(400, len(data)), len(data)])) - 1
        changed = bytearray(data)
        for place in draw(st.lists(st.integers(0, max(last, 0)), min_size=1, max_size=4)) if data else []:
            changed[place] ^= draw(st.integers(1, 255))
        return bytes(changed)
    return {
        "tail": data + draw(st.binary(min_size=1, max_size=40)),
        "noise": draw(st.binary(max_size=600)),
        "empty": b"",
    }[kind]


@st.composite
def damaged_nifti(draw, data: bytes) -> bytes:
    """A NIfTI file with another header field, or another array; or its bytes before compression damaged."""
    raw = bytearray(gzip.decompress(data))
    kind = draw(st.sampled_from(["field", "field", "array", "bytes"]))
    if kind == "bytes":
        return gzip.compress(draw(damaged_bytes(bytes(raw))), 1)
    if kind == "array":
        return draw(other_nifti())
    header = np.frombuffer(raw, nibabel.nifti1.header_dtype, 1)
    for name in draw(st.lists(st.sampled_from(nibabel.nifti1.header_dtype.names), min_size=1, max_size=3)):
        field = header[name].reshape(-1)
        if field.dtype.kind in "iuf":
            with np.errstate(all="ignore"):
                place, value = draw(st.integers(0, field.size - 1)), draw(st.sampled_from(NUMBERS))
                field[place] = np.float64(value).astype(field.dtype)
        else:
            field[0] = draw(st.binary(max_size=4))
    return gzip.compress(bytes(raw), 1)


@st.composite
def other_nifti(draw) -> bytes:
    """A whole NIfTI file of any type, shape, values and affine."""
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 5, 12, 14]), min_size=1, max_size=5)))
    shape = draw(st.sampled_from([shape, SHAPE, SHAPE[::-1]]))
    values = np.resize(np.array(draw(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=5))), shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array = values.astype(draw(st.sampled_from(TYPES)))
    affine = AFFINE.copy()
    for place in draw(st.lists(st.integers(0, 11), max_size=4)):
        affine.flat[place] = draw(st.sampled_from(NUMBERS))
    image = nibabel.Nifti1Image(array, None, dtype=array.dtype)
    image.header["sform_code"], image.header["qform_code"] = draw(st.sampled_from([(1, 0), (0, 0), (2, 1), (0, 1)]))
    with np.errstate(all="ignore"):
        for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
            image.header[name] = affine[row]
    return gzip.compress(image.to_bytes(), 1)


@st.composite
def damaged_dicom(draw, data: bytes) -> bytes:
    """A DICOM file with a tag left out or of an impossible value, or of another transfer syntax."""
    if draw(st.booleans()) and draw(st.booleans()):
        return with_syntax(data, draw(st.sampled_from(OTHER_UIDS)))
    dataset = pydicom.dcmread(io.BytesIO(data))
    keyword = draw(st.sampled_from(TAGS))
    tag = tag_for_keyword(keyword)
    kind = draw(st.sampled_from(["absent", "number", "numbers", "text", "empty"]))
    if kind == "absent" or (keyword == "PixelData" and kind != "empty"):
        dataset.pop(tag, None)
    else:
        dataset[tag] = draw(strange_element(keyword, kind))
    buffer = io.BytesIO()
    try:
        dataset.save_as(buffer)
    except (ValueError, TypeError, AttributeError, OverflowError):  # what cannot be written cannot be met with
        return data
    return buffer.getvalue()


@st.composite
def strange_element(draw, keyword: str, kind: str) -> DataElement:
    numbers = st.sampled_from(NUMBERS)
    value = {
        "number": numbers.map(str),
        "numbers": st.lists(numbers.map(str), max_size=7),
        "text": st.sampled_from(["PT", "x", "1\\\\2", "é", "NaN", "MONOCHROME1", "RGB", "9" * 20, "-"]),
        "empty": st.just(""),
    }[kind]
    drawn, vr = draw(value), dictionary_VR(tag_for_keyword(keyword))
    if keyword == "PixelData":
        return DataElement(tag_for_keyword(keyword), "OW", b"")
    try:
        if vr in ("US", "UL"):
            return DataElement(tag_for_keyword(keyword), vr, int(float(drawn)) % 65536)
        return DataElement(tag_for_keyword(keyword), vr, drawn, validation_mode=pydicom.config.IGNORE)
    except (ValueError, TypeError, OverflowError, AttributeError):
        return DataElement(tag_for_keyword(keyword), "LO", drawn, validation_mode=pydicom.config.IGNORE)


def with_syntax(data: bytes, uid: str) -> bytes:
    """The same bytes said to be in another transfer syntax."""
    value = uid.encode() + b"\0" * (len(uid) % 2)
    start = data.index(RAW_UID)
    length = int.from_bytes(data[140:144], "little") + len(value) - len(RAW_UID)
    changed = data[:140] + length.to_bytes(4, "little") + data[144 : start - 2] + len(value).to_bytes(2, "little")
    return changed + value + data[start + len(RAW_UID) :]


@st.composite
def damages(draw, tree: Tree) -> dict[str, bytes | Path | None]:
    """What to put in the place of some of the tree's files: bytes, nothing (None), a folder (".") or another name."""
    changed = {}
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(tree)))
        data = tree[name]
        kind = draw(
            st.sampled_from(["content", "content", "content", "bytes", "bytes", "gone", "folder", "swap", "rename"])
        )
        if kind == "bytes" or (kind == "content" and name.endswith((".png", ".yaml"))):
            changed[name] = draw(damaged_bytes(data))
        elif kind == "content":
            changed[name] = draw(damaged_nifti(data) if name.endswith(".nii.gz") else damaged_dicom(data))
        elif kind == "swap":
            other = draw(st.sampled_from(sorted(tree)))
            changed |= {name: tree[other], other: data}
        elif kind == "rename":
            alias = draw(st.sampled_from(["_ünï-Ж-漢字", " two  words", "²", "\udcff", "%s{}", "-"]))
            stem, dot, suffix = name.partition(".nii.gz")
            changed |= {name: None, f"{stem}{alias}{dot}{suffix}": data}
        else:
            changed[name] = None if kind == "gone" else Path(".")
    return changed


@contextmanager
def overlaid(root: Path, tree: Tree, changed: dict):
    """The tree under `root` with some files changed, for a while."""
    try:
        for name, content in changed.items():
            path = root / name
            path.unlink(missing_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content is not None:
                path.mkdir()
        yield
    finally:
        for name in changed:
            path = root / name
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        for name in changed.keys() & tree.keys():
            (root / name).write_bytes(tree[name])


def write_tree(root: Path, tree: Tree) -> None:
    for name, data in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def reader_of(source: str, root: Path) -> Reader:
    """The source's reader; an own dataset's as if its description had just been found."""
    return own_reader(read(root).entry(source), root) if source in OWN else reader(source, root)


def assert_sound(case: Case, source: str, root: Path) -> None:
    """What holds for every Case, whatever it shows."""
    assert case.source == source
    assert case.image.dtype == np.float32
    assert case.labels.dtype == np.uint32
    assert case.image.ndim == 3
    assert case.image.shape == case.labels.shape
    assert np.isfinite(case.image).all()
    assert case.image.min() < 0 < np.ptp(case.image)
    assert abs(case.image).max() < 1e5
    assert case.affine.shape == (4, 4)
    assert np.isfinite(case.affine).all()
    assert abs(np.linalg.det(case.affine)) > 1e-6
    known = entry_of(source, root).annotated
    assert set(case.annotated) <= set(known)
    assert int(np.bitwise_or.reduce(case.labels, axis=None)) & ~int(bits_of(known)) == 0
    assert not (case.labels & bits_of(MERGED)).any()


def assert_told(error: InputError, root: Path) -> None:
    """One line that names a file or folder of the tree."""
    assert len(str(error).splitlines()) == 1
    assert str(root) in error.where
    assert error.remedy


@dataclass(frozen=True)
class Native:
    """A source, and its valid tree as a folder and as bytes."""

    source: str
    root: Path
    tree: Tree = field(repr=False)


@pytest.fixture(scope="module", params=SOURCES)
def native(request, tmp_path_factory) -> Native:
    whole = Native(request.param, tmp_path_factory.mktemp(request.param), valid_tree(request.param))
    write_tree(whole.root, whole.tree)
    return whole


def test_the_valid_tree_is_read(native):
    found = reader_of(native.source, native.root)
    (name,) = found.cases()
    case = found.read(name)
    assert_sound(case, native.source, native.root)
    assert case.annotated
    assert case.labels.any()


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_a_damaged_tree_gives_a_sound_case_or_one_line(native, data):
    with overlaid(native.root, native.tree, data.draw(damages(native.tree))):
        try:
            found = reader_of(native.source, native.root)
            cases = [found.read(case) for case in found.cases()]
        except InputError as error:
            event("refused")
            assert_told(error, native.root)
        else:
            event("read")
            for case in cases:
                assert_sound(case, native.source, native.root)
