"""Elements without a type of DICOM's that declare more bytes than their file has, refused before GDCM sees it.

GDCM takes the memory that such an element declares, up to 4 GB for a file of a kilobyte, before it looks for its bytes.
"""

from itertools import chain
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom import Dataset
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import data_element_generator
from pydicom.uid import DeflatedExplicitVRLittleEndian
from pydicom.valuerep import VR

from universal_diffusion.errors import InputError

PASSED_OVER = 2**10  # bytes of a value from which on it is not read


def check_types(header: Dataset, file: BinaryIO, path: Path) -> None:
    """Look at every element: those of the `header`, then the pixels, where `file` stands, and what follows them.

    Raises:
        InputError: an element is of no type and longer than the file, or of a type that DICOM does not have.
    """
    implicit, little_endian = header.original_encoding
    if implicit:  # GDCM keeps within bounds
        return
    if header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        rest = pydicom.dcmread(path, defer_size=PASSED_OVER).values()
    else:
        rest = data_element_generator(file, False, little_endian, defer_size=PASSED_OVER)
    size = path.stat().st_size
    if not all(_bounded(element, size) for element in chain(header.file_meta.values(), header.values(), rest)):
        problem = "has elements of a type that DICOM does not have"
        raise InputError(path, problem, "export or download the series again")


def _bounded(element: DataElement | RawDataElement, size: int) -> bool:
    if element.VR is None:  # writers leave it out in sequences, and zeros behind the last element have none
        return element.length <= size
    if element.VR == VR.SQ and isinstance(element, DataElement):  # of undefined length: within others GDCM keeps bounds
        return all(_bounded(inner, size) for item in element.value for inner in item.values())
    return element.VR in VR.__members__
