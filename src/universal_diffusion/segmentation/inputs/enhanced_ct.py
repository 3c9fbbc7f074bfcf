"""Enhanced CT: one DICOM file of many frames, each with its place and rescaling in the functional groups (PS3.3, A.38).

Frames become slices as those of a classic series do, so that the same checks hold for both; in errors a frame is named
`file/frame n`. Pixels are decoded one frame at a time (pydicom).
"""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import iter_pixels

from universal_diffusion.datasets.dicom import check_stack, in_order
from universal_diffusion.datasets.dicom_codestreams import check_codestreams
from universal_diffusion.datasets.dicom_slices import Slice, damage_refused, slice_of
from universal_diffusion.errors import InputError

GROUPS = {  # functional group: what it says of a frame
    "PixelMeasuresSequence": ("PixelSpacing",),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
}
WHOLE_FILE = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "SeriesInstanceUID", "Modality")


def frames_of(path: Path) -> tuple[pydicom.Dataset, list[Slice]]:
    """The header of a multi-frame file, and its frames in order along their normal.

    Raises:
        InputError: a frame without its place or of another kind, and frames that make no volume.
    """
    with damage_refused(path), open(path, "rb") as file:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        if not header.get("PerFrameFunctionalGroupsSequence"):
            problem = "holds several frames and does not say where each lies"
            raise InputError(path, problem, "export one file per slice, or convert it to NIfTI")
        frames = [
            slice_of(frame_header(header, index), path / f"frame {index + 1}")
            for index in range(len(header.PerFrameFunctionalGroupsSequence))
        ]
        if len(frames) != int(header.NumberOfFrames):
            problem = f"describes {len(frames)} frames, its header says {int(header.NumberOfFrames)}"
            raise InputError(path, problem, "export or download it again")
        syntax = header.file_meta.TransferSyntaxUID
        if syntax.is_compressed and not syntax.is_deflated:
            check_codestreams(file, syntax, len(frames), frames[0].shape, path)
    slices = in_order(frames)
    check_stack(slices)
    return header, slices


def read_frames(path: Path, header: pydicom.Dataset, slices: list[Slice]) -> np.ndarray:
    """(columns, rows, slices) float32 Hounsfield units of a multi-frame file in the order of `slices`.

    Raises:
        InputError: pixels that are missing, damaged or in a compression that cannot be decoded here.
    """
    places = {one.path.name: place for place, one in enumerate(slices)}
    hu = np.empty((*slices[0].shape, len(slices)), np.float32, order="F")
    with damage_refused(path):
        try:
            for index, pixels in enumerate(iter_pixels(path, raw=True)):
                rescale = frame_header(header, index)
                slope, intercept = float(rescale.get("RescaleSlope", 1)), float(rescale.get("RescaleIntercept", 0))
                hu[..., places[f"frame {index + 1}"]] = pixels.T.astype(np.float32) * slope + intercept
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:160]
            problem = f"has pixels that cannot be decoded ({reason})"
            raise InputError(path, problem, "export it uncompressed, or convert it with dcm2niix") from None
    return hu


def frame_header(header: pydicom.Dataset, index: int) -> pydicom.Dataset:
    """The header of a single slice that frame `index` would be; shared functional groups fill in what it lacks."""
    own = header.PerFrameFunctionalGroupsSequence[index]
    shared = (header.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    frame = pydicom.Dataset()
    for name in WHOLE_FILE:
        if name in header:
            frame[name] = header[name]
    for group, names in GROUPS.items():
        said = (own.get(group) or shared.get(group) or [pydicom.Dataset()])[0]
        for name in names:
            if name in said:
                frame[name] = said[name]
    return frame
