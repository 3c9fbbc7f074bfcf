"""CT slices as DICOM files: explicit VR little endian, UIDs derived from what they name."""

import io
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DSfloat


@dataclass(frozen=True)
class Series:
    """What the slices of one series share.

    Attributes:
        name: PatientName; with the study seed it also determines every UID.
        study_seed: of the embedded cohort.
        orientation: ImageOrientationPatient.
        spacing_mm: distance of the rows, of the columns, of the slices.
        intercept: RescaleIntercept; the slope is 1.
    """

    name: str
    study_seed: int
    orientation: tuple[int, int, int, int, int, int]
    spacing_mm: tuple[float, float, float]
    intercept: int = 0

    def uid(self, *part: object) -> str:
        """A UID for a part of the series."""
        return generate_uid(entropy_srcs=["universal-diffusion", str(self.study_seed), self.name, *map(str, part)])


def slice_file(series: Series, pixels: np.ndarray, number: int, position_mm: tuple[float, float, float]) -> bytes:
    """One slice as the bytes of a DICOM file.

    Args:
        series: what it shares with the others.
        pixels: (rows, columns) int16, uint16 or uint8, as stored.
        number: InstanceNumber.
        position_mm: ImagePositionPatient, in LPS millimetres.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = series.uid("slice", number)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PatientName, dataset.PatientID = "CT", series.name, series.name
    dataset.StudyDate = dataset.PatientBirthDate = dataset.StudyTime = dataset.AccessionNumber = ""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = series.uid("study"), series.uid("series")
    dataset.FrameOfReferenceUID = series.uid("frame")
    dataset.SeriesNumber, dataset.InstanceNumber = 1, number
    _add_geometry(dataset, series, position_mm)
    _add_pixels(dataset, series, pixels)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _add_geometry(dataset: FileDataset, series: Series, position_mm: tuple[float, float, float]) -> None:
    rows, columns, slices = (_decimal(value) for value in series.spacing_mm)
    dataset.PixelSpacing = [rows, columns]
    dataset.SliceThickness = dataset.SpacingBetweenSlices = slices
    dataset.ImageOrientationPatient = list(series.orientation)
    dataset.ImagePositionPatient = [_decimal(value) for value in position_mm]


def _add_pixels(dataset: FileDataset, series: Series, pixels: np.ndarray) -> None:
    bits = pixels.dtype.itemsize * 8
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    dataset.RescaleIntercept, dataset.RescaleSlope = series.intercept, 1
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()


def _decimal(value: float) -> DSfloat:
    return DSfloat(float(value), auto_format=True)
