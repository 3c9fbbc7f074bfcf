"""Writers of tiny native files, for the readers' tests."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real labelled CTs; the test is skipped where it is absent."""
    if not REAL.is_dir():
        pytest.skip("the labelled CTs of ../shared/data are not here")
    return REAL


@pytest.fixture(scope="session")
def write_nifti():
    def write(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        affine = np.diag([2.0, 2.0, 3.0, 1.0]) if affine is None else affine
        nibabel.save(nibabel.Nifti1Image(array, affine), path)
        return path

    return write


@pytest.fixture(scope="session")
def write_slice():
    """Writes one DICOM slice of (rows, columns) Hounsfield units with any attribute replaced (None: left out)."""

    def write(path: Path, hounsfield: np.ndarray, series: str = "1.2.3", **attributes) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        stored = {
            "Modality": "CT",
            "SeriesInstanceUID": series,
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [0, 0, 0],
            "PixelSpacing": [1.5, 2.5],
            "RescaleSlope": "2",
            "RescaleIntercept": "-1000",
            "PhotometricInterpretation": "MONOCHROME2",
        } | attributes
        for name, value in stored.items():
            if value is not None:
                setattr(one, name, value)
        one.Rows, one.Columns = hounsfield.shape
        one.SamplesPerPixel = 1
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
        one.PixelData = np.round((hounsfield + 1000) / 2).astype("<i2").tobytes()
        pydicom.dcmwrite(path, one, enforce_file_format=True)
        return path

    return write


@pytest.fixture(scope="session")
def write_series(write_slice):
    """Writes (slices, rows, columns) Hounsfield units as a folder of slices, 3 mm apart unless placed otherwise."""

    def write(folder: Path, hounsfield: np.ndarray, places_mm=None, name="image_{}", **attributes) -> list[Path]:
        places_mm = 3.0 * np.arange(len(hounsfield)) if places_mm is None else places_mm
        return [
            write_slice(
                folder / name.format(number), plane, **({"ImagePositionPatient": [0, 0, float(place)]} | attributes)
            )
            for number, (plane, place) in enumerate(zip(hounsfield, places_mm, strict=True))
        ]

    return write
