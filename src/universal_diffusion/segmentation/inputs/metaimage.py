"""The header of a MetaImage file (`.mha`, or `.mhd` with its data beside it): lines of `Name = value`."""

from pathlib import Path

import numpy as np

from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.inputs.stored_voxels import (
    AGAIN,
    LPS_TO_RAS,
    StoredVoxels,
    beside,
    counts,
    numbers,
)

LONGEST = 2**16  # bytes of a header
KINDS = {"CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4"}
KINDS |= {"LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8"}
BIG_ENDIAN = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
ORIENTATION = "convert the scan again, to NIfTI if that is possible"


def metaimage_header(path: Path) -> StoredVoxels:
    """What the header says.

    Raises:
        InputError: it is no header or makes no sense, is not of 3-D grey values, spreads its data over several files,
            or is silent on how the image lies in the patient.
    """
    fields, behind = _fields(path)
    sizes, kind = counts(fields.get("DimSize", "")), fields.get("ElementType", "").removeprefix("MET_")
    if fields.get("ElementNumberOfChannels", "1") != "1" or kind.endswith("_ARRAY"):
        raise InputError(path, "holds colours or vectors, expected one number a voxel", "give a grey-value file")
    if sizes is None or kind not in KINDS or fields.get("NDims") != str(len(sizes)):
        raise InputError(path, f"has a header that makes no sense (DimSize {fields.get('DimSize')}, {kind!r})", AGAIN)
    if len(sizes) not in (3, 4) or sizes[3:] not in ((), (1,)):
        problem = f"has {len(sizes)} dimensions ({' x '.join(map(str, sizes))}) instead of 3"
        raise InputError(path, problem, "give a single 3-D volume")
    named = fields["ElementDataFile"]
    if named.upper().startswith("LIST") or "%" in named:
        raise InputError(path, "has its data in several files", "save it as one file")
    is_local = named.upper() == "LOCAL"
    return StoredVoxels(
        shape=sizes[:3],
        kind=np.dtype((">" if _is_true(fields, *BIG_ENDIAN) else "<") + KINDS[kind]),
        affine=_affine(fields, len(sizes), path),
        data=path if is_local else beside(path, named),
        skip=behind if is_local else _skip(fields, path),
        encoding="zlib" if _is_true(fields, "CompressedData") else "raw",
        notes=() if len(sizes) == 3 else ("its fourth axis, of length 1, was dropped",),
    )


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The header's fields, and the bytes that it takes."""
    try:
        with open(path, "rb") as file:
            start = file.read(LONGEST)
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "make it readable") from None
    fields, behind = {}, 0
    for line in start.splitlines(keepends=True):
        name, equals, value = line.decode("latin-1").partition("=")
        behind += len(line)
        if not equals:
            break
        fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile" and value.strip() and "\0" not in value:
            return fields, behind
    raise InputError(path, "is no MetaImage file (its header does not end with ElementDataFile)", AGAIN)


def _is_true(fields: dict[str, str], *names: str) -> bool:
    return any(fields.get(name, "").lower() == "true" for name in names)


def _skip(fields: dict[str, str], path: Path) -> int | None:
    size = fields.get("HeaderSize", "0")
    if size == "-1":
        return None
    if size != "0" and counts(size) is None:
        raise InputError(path, f"has a header that makes no sense (HeaderSize {size!r})", AGAIN)
    return int(size)


def _affine(fields: dict[str, str], dimensions: int, path: Path) -> np.ndarray:
    """Voxel indices to RAS millimetres; each row of TransformMatrix is the direction of an axis."""
    names = {
        "TransformMatrix": ("TransformMatrix", "Rotation", "Orientation"),
        "Offset": ("Offset", "Position", "Origin"),
        "ElementSpacing": ("ElementSpacing", "ElementSize"),
    }
    said = {name: next((fields[word] for word in words if word in fields), "") for name, words in names.items()}
    matrix = numbers(said["TransformMatrix"], dimensions**2)
    origin, spacing = numbers(said["Offset"], dimensions), numbers(said["ElementSpacing"], dimensions)
    if matrix is None or origin is None or spacing is None:
        lacking = [name for name, value in zip(names, (matrix, origin, spacing), strict=True) if value is None]
        problem = f"does not say how it lies in the patient (no sound {', '.join(lacking)})"
        raise InputError(path, problem, ORIENTATION)
    affine = np.eye(4)
    affine[:3, :3] = matrix.reshape(dimensions, dimensions)[:3, :3].T * spacing[:3]
    affine[:3, 3] = origin[:3]
    return LPS_TO_RAS @ affine
