"""The NRRD header (`.nrrd`, or `.nhdr` with its data beside it): lines of `field: value`, then an empty one."""

import re
from pathlib import Path

import numpy as np

from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.inputs.stored_voxels import AGAIN, StoredVoxels, beside, counts, numbers

LONGEST = 2**20  # bytes of a header; DICOM converters keep whole headers in it
KINDS = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names.split(", ")}
SPACES = {  # to RAS
    "left-posterior-superior": (-1, -1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "right-anterior-superior": (1, 1, 1),
    "lps": (-1, -1, 1),
    "las": (-1, 1, 1),
    "ras": (1, 1, 1),
}
ENCODINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}
ORIENTATION = "convert the scan again, to NIfTI if that is possible"


def nrrd_header(path: Path) -> StoredVoxels:
    """What the header says.

    Raises:
        InputError: it is no header or makes no sense, is not of 3-D grey values, packs its data otherwise than raw or
            gzip or spreads them over several files, or is silent on how the image lies in the patient.
    """
    fields, behind = _fields(path)
    sizes, kind = counts(fields.get("sizes", "")), KIND_OF.get(fields.get("type", "").lower())
    if sizes is None or kind is None or fields.get("dimension") != str(len(sizes)):
        problem = f"has a header that makes no sense (sizes {fields.get('sizes')}, type {fields.get('type')})"
        raise InputError(path, problem, AGAIN)
    if len(sizes) < 3:
        problem = f"has {len(sizes)} dimensions ({' x '.join(map(str, sizes))}) instead of 3"
        raise InputError(path, problem, "give a single 3-D volume")
    affine, spatial = _affine(fields, len(sizes), path)
    others = [size for axis, size in enumerate(sizes) if axis not in spatial]
    if len(spatial) != 3 or others not in ([], [1]):
        problem = f"has {len(sizes)} dimensions ({' x '.join(map(str, sizes))}), {len(spatial)} of them in space"
        raise InputError(path, problem, "give a single 3-D volume of one number a voxel")
    encoding = ENCODINGS.get(fields.get("encoding", "").lower())
    if encoding is None:
        raise InputError(path, f"is packed as {fields.get('encoding')}", "save it as raw or gzip")
    data, skip = _data(fields, behind, path)
    return StoredVoxels(
        shape=tuple(sizes[axis] for axis in spatial),
        kind=np.dtype(_byte_order(fields, kind, path) + kind),
        affine=affine,
        data=data,
        skip=skip,
        encoding=encoding,
        notes=("an axis of length 1 that is none of space was dropped",) if others else (),
    )


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The header's fields, lower case, and the bytes that it takes."""
    try:
        with open(path, "rb") as file:
            start = file.read(LONGEST)
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "make it readable") from None
    lines = start.splitlines(keepends=True)
    if not lines or not re.fullmatch(rb"NRRD\d{4}\s*", lines[0]):
        raise InputError(path, "is no NRRD file (its first line is not NRRD0001 to NRRD0005)", AGAIN)
    fields, behind = {}, 0
    for line in lines:
        behind += len(line)
        text = line.decode("latin-1").strip()
        if not text:
            break
        name, colon, value = text.partition(":")
        if colon and not text.startswith("#") and not value.startswith("="):
            fields[name.strip().lower().replace("datafile", "data file")] = value.strip()
    return fields, behind


def _affine(fields: dict[str, str], dimensions: int, path: Path) -> tuple[np.ndarray, list[int]]:
    """Voxel indices along the axes of space to RAS millimetres, and which axes those are."""
    space = SPACES.get(fields.get("space", "").lower().removesuffix("-time"))
    words = re.findall(r"none|\([^()]*\)", fields.get("space directions", ""))
    directions = [None if word == "none" else _vector(word) for word in words]
    spatial = [axis for axis, word in enumerate(words) if word != "none"]
    origin = _vector(fields.get("space origin", ""))
    unsound = len(words) != dimensions or any(directions[axis] is None for axis in spatial)
    if space is None or origin is None or unsound:
        problem = "does not say how it lies in the patient (no sound space, space directions or space origin)"
        raise InputError(path, problem, ORIENTATION)
    affine = np.eye(4)
    for column, axis in enumerate(spatial[:3]):
        affine[:3, column] = directions[axis]
    affine[:3, 3] = origin
    return np.diag([*space, 1.0]) @ affine, spatial


def _vector(text: str) -> np.ndarray | None:
    return numbers(text.strip("()").replace(",", " "), 3)


def _byte_order(fields: dict[str, str], kind: str, path: Path) -> str:
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower(), "" if kind.endswith("1") else None)
    if order is None:
        raise InputError(path, f"has a header that makes no sense (endian {fields.get('endian')})", AGAIN)
    return order


def _data(fields: dict[str, str], behind: int, path: Path) -> tuple[Path, int | None]:
    """The file that holds the voxels, and the bytes in it before them."""
    named, skip = fields.get("data file"), fields.get("byte skip", "0")
    if fields.get("line skip", "0") != "0" or not (skip in ("0", "-1") or counts(skip)):
        problem = f"skips {fields.get('line skip', '0')} lines and {skip} bytes of its data"
        raise InputError(path, problem, "save it as one file")
    if named is not None and (named.upper().startswith("LIST") or "%" in named or not named or "\0" in named):
        raise InputError(path, "has its data in several files", "save it as one file")
    before = 0 if named else behind
    return beside(path, named) if named else path, None if skip == "-1" else before + int(skip)
