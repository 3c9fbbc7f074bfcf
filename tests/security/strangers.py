"""Files from strangers, for the fuzzers: a small valid one of each kind, and what reads it.

A reader may give a sound result or refuse in one line; anything else that it raises is a fault, and so is a file that
appears outside of the folder that it was given.
"""

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, EnhancedCTImageStorage, ExplicitVRLittleEndian

from universal_diffusion.errors import InputError
from universal_diffusion.preparation.extraction import extract
from universal_diffusion.segmentation.inputs.ct_input import read_ct

HU = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 3)).astype("<i2")  # columns, rows, slices
NRRD = """NRRD0004
type: int16
dimension: 3
space: left-posterior-superior
sizes: 4 5 3
space directions: (1,0,0) (0,1,0) (0,0,2)
space origin: (0,0,0)
endian: little
encoding: gzip

"""
METAIMAGE = """ObjectType = Image
NDims = 3
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 0 0 0
ElementSpacing = 1 1 2
DimSize = 4 5 3
ElementType = MET_SHORT
CompressedData = True
ElementDataFile = LOCAL
"""


def nifti() -> bytes:
    """With an extension, as converters write them."""
    image = nibabel.Nifti1Image(HU, np.diag([-1.0, -1.0, 2.0, 1.0]))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"a comment"))
    return image.to_bytes()


def nrrd() -> bytes:
    return NRRD.encode() + gzip.compress(HU.tobytes("F"), mtime=0)


def metaimage() -> bytes:
    return METAIMAGE.encode() + zlib.compress(HU.tobytes("F"))


def dicom(z: int = 1, syntax: str = ExplicitVRLittleEndian, **attributes) -> bytes:
    """Slice `z` of a series; attributes are added, replaced or (None) left out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = meta_class = attributes.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = f"1.2.3.{z}", syntax
    one = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    stored = {
        **{"SOPClassUID": meta_class, "SOPInstanceUID": f"1.2.3.{z}", "Modality": "CT", "InstanceNumber": z + 1},
        **{"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.4"},
        **{"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, 2 * z]},
        **{"PixelSpacing": [1, 1], "SliceThickness": 2, "RescaleSlope": 1, "RescaleIntercept": 0},
        **{"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 1},
        **{"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "Rows": HU.shape[1], "Columns": HU.shape[0]},
        "PixelData": HU[..., z].tobytes("F"),
    } | attributes
    for name, value in stored.items():
        if value is not None:
            setattr(one, name, value)
    written = io.BytesIO()
    one.save_as(written, enforce_file_format=True)
    return written.getvalue()


def deflated(z: int = 1) -> bytes:
    return dicom(z, DeflatedExplicitVRLittleEndian)


def enhanced() -> bytes:
    """All slices in one file."""
    shared, frames = Dataset(), []
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [Dataset()], [Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing, shared.PixelMeasuresSequence[0].SliceThickness = [1, 1], 2
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelValueTransformationSequence = [Dataset()]
    shared.PixelValueTransformationSequence[0].RescaleSlope = 1
    shared.PixelValueTransformationSequence[0].RescaleIntercept = 0
    for z in range(HU.shape[2]):
        frame = Dataset()
        frame.PlanePositionSequence = [Dataset()]
        frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 2 * z]
        frames.append(frame)
    classic = dict.fromkeys(["ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "SliceThickness"])
    groups = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": frames}
    pixels = {"NumberOfFrames": HU.shape[2], "PixelData": HU.tobytes("F")}
    return dicom(0, **classic, **groups, **pixels, SOPClassUID=EnhancedCTImageStorage)


def zipped() -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("a/ct.txt", b"text " * 20)
    return written.getvalue()


def zipped_ct() -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("ct.nii", nifti())
    return written.getvalue()


def tarred() -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as bundle:
        member = tarfile.TarInfo("a/ct.txt")
        member.size = 100
        bundle.addfile(member, io.BytesIO(b"text " * 20))
    return written.getvalue()


def _file(name: str) -> Callable[[bytes, Path], None]:
    def read(content: bytes, folder: Path) -> None:
        (folder / name).write_bytes(content)
        read_ct(folder / name)

    return read


def _slice(content: bytes, folder: Path) -> None:
    for z in (0, 2):
        (folder / f"{z}.dcm").write_bytes(dicom(z))
    (folder / "1.dcm").write_bytes(content)
    read_ct(folder)


def _frames(content: bytes, folder: Path) -> None:
    (folder / "ct.dcm").write_bytes(content)
    read_ct(folder)


def _archive(name: str) -> Callable[[bytes, Path], None]:
    def unpack(content: bytes, folder: Path) -> None:
        (folder / name).write_bytes(content)
        try:
            extract(folder / name, folder / "inside", "published")
        finally:
            assert {path.name for path in folder.iterdir()} <= {name, "inside"}, "it reached out of its folder"
            assert not any(path.is_symlink() for path in folder.rglob("*")), "it made a link"

    return unpack


KINDS: dict[str, tuple[Callable[[], bytes], Callable[[bytes, Path], None]]] = {
    "nifti": (nifti, _file("ct.nii")),
    "nrrd": (nrrd, _file("ct.nrrd")),
    "metaimage": (metaimage, _file("ct.mha")),
    "dicom": (dicom, _slice),
    "deflated": (deflated, _slice),
    "enhanced": (enhanced, _frames),
    "ct_zip": (zipped_ct, _file("ct.zip")),
    "zip": (zipped, _archive("a.zip")),
    "tar": (tarred, _archive("a.tar.gz")),
}


def read(kind: str, content: bytes, folder: Path) -> None:
    """Read a file of some kind; an InputError is the only one that it may raise, and is swallowed here."""
    with suppress(InputError):
        KINDS[kind][1](content, folder)
