"""The size that a compressed DICOM image says of itself, compared with its header's before anything decodes it.

JPEG, JPEG-LS and JPEG 2000 streams carry a size of their own, for which decoders take memory whatever DICOM's header
says: 3 kB can ask for gigabytes.
"""

import struct
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from pydicom.encaps import generate_fragments, generate_frames
from pydicom.uid import UID, RLELossless

from universal_diffusion.errors import InputError

JPEG_2000 = b"\xff\x4f\xff\x51"  # start of codestream, and at once its size
JPEG = b"\xff\xd8"
SIZES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # JPEG's markers of a frame, and JPEG-LS's
BARE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
PIXELS_BEGIN = 12  # bytes of the element's tag, type and length


def check_codestreams(file: BinaryIO, syntax: UID, frames: int, shape: tuple[int, int], path: Path) -> None:
    """Compare the streams in the pixels at which `file` stands with the header's (columns, rows).

    Raises:
        InputError: a stream of another size, of several values a pixel, or of none that can be told.
    """
    if syntax == RLELossless:  # which has no size of its own
        return
    file.seek(PIXELS_BEGIN, 1)
    one = frames == 1
    streams = (
        [b"".join(islice(generate_fragments(file), 1, None))] if one else generate_frames(file, number_of_frames=frames)
    )
    for stream in streams:
        found = coded_size(stream)
        if found != (*shape, 1):
            held = "none that can be told" if found is None else f"{found[0]} x {found[1]} x {found[2]}"
            problem = f"holds a compressed image of {held}, its header says {shape[0]} x {shape[1]} x 1"
            raise InputError(path, problem, "export or download the series again")


def coded_size(stream: bytes) -> tuple[int, int, int] | None:
    """Columns, rows and values a pixel of a JPEG, JPEG-LS or JPEG 2000 stream; None where it does not say."""
    try:
        if not stream.startswith(JPEG):
            at = stream.index(JPEG_2000) + len(JPEG_2000) + 4
            right, bottom, left, top = struct.unpack_from(">4I", stream, at)
            return right - left, bottom - top, *struct.unpack_from(">H", stream, at + 32)
        at = len(JPEG)
        while True:
            at = stream.index(b"\xff", at) + 1
            marker = stream[at]
            if marker in SIZES:
                rows, columns, values = struct.unpack_from(">HHB", stream, at + 4)
                return columns, rows, values
            if marker != 0xFF and marker not in BARE:
                at += 1 + struct.unpack_from(">H", stream, at + 1)[0]
    except (ValueError, IndexError, struct.error):
        return None
