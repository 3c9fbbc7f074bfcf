"""Masks and maps as compressed NIfTI files, written whole at once or some slices after the other."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np

from universal_diffusion.files import whole_file
from universal_diffusion.volumes import Grid

LEVELS = 255
SCANNER = 1  # NIfTI code of coordinates in the scanner's frame
GZIP = 31  # zlib's window bits for a gzip header, in which it leaves time and file name empty
LEVEL = 1  # runs of equal bytes are what masks and maps have; higher levels take longer and gain little


class NiftiStream:
    """An open file, to which slices across the third axis are appended in their order."""

    def __init__(self, file, grid: Grid, slope: float | None):
        self._file = file
        self._compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
        self._missing = int(np.prod(grid.shape))
        self._put(_header(grid, slope))

    def append(self, slices: np.ndarray) -> None:
        """Append uint8 or boolean slices, (X, Y, S); they are fastest if the first axis is contiguous in memory."""
        self._missing -= slices.size
        self._put(np.ascontiguousarray(slices.T).view(np.uint8))

    def end(self) -> None:
        """Write what is left. Raises ValueError if the slices were not as many as the grid has."""
        if self._missing:
            raise ValueError(f"{self._missing} voxels of the grid were not written")
        self._file.write(self._compressor.flush())

    def _put(self, content: bytes | np.ndarray) -> None:
        self._file.write(self._compressor.compress(content))


@contextmanager
def nifti_stream(path: Path, grid: Grid, maximum: float | None = None) -> Iterator[NiftiStream]:
    """A uint8 NIfTI file (`.nii.gz`) that is there once all slices are, whole or not at all; equal slices, equal bytes.

    Args:
        maximum: what level 255 stands for (`scl_slope`); None for masks and labels.
    """
    with whole_file(path) as partial, open(partial, "wb") as file:
        stream = NiftiStream(file, grid, None if maximum is None else maximum / LEVELS)
        yield stream
        stream.end()


def levels(values: np.ndarray, maximum: float) -> np.ndarray:
    """Values from 0 to `maximum` as the nearest of 256 levels, uint8."""
    scaled = np.multiply(values, np.float32(LEVELS / maximum), dtype=np.float32)
    return np.rint(np.clip(scaled, 0, LEVELS, out=scaled), out=scaled).astype(np.uint8)


def write_mask(path: Path, mask: np.ndarray, grid: Grid) -> None:
    """Write a boolean mask as uint8 0/1 NIfTI (`.nii.gz`), whole or not at all; equal masks give equal bytes."""
    _write(path, mask.astype(bool), None, grid)


def write_map(path: Path, values: np.ndarray, maximum: float, grid: Grid) -> None:
    """Write values from 0 to `maximum` as NIfTI of 256 levels: uint8 that readers scale by `scl_slope`."""
    _write(path, levels(values, maximum), maximum, grid)


def _write(path: Path, array: np.ndarray, maximum: float | None, grid: Grid) -> None:
    if array.shape != tuple(grid.shape):
        raise ValueError(f"{Path(path).name} has shape {array.shape}, its grid {grid.shape}")
    with nifti_stream(path, grid, maximum) as stream:
        stream.append(array)


def _header(grid: Grid, slope: float | None) -> bytes:
    """The 352 bytes before the voxels."""
    image = nibabel.Nifti1Image(np.broadcast_to(np.uint8(0), grid.shape), grid.affine)
    image.header.set_xyzt_units("mm")
    if slope is not None:
        image.header.set_slope_inter(slope, 0)
    image.set_sform(grid.affine, SCANNER)
    image.set_qform(grid.affine, 0 if _is_sheared(grid.affine) else SCANNER)
    header = image.header
    header.set_data_offset(header.single_vox_offset)
    header["magic"] = b"n+1"
    return header.binaryblock + bytes(header.single_vox_offset - len(header.binaryblock))


def _is_sheared(affine: np.ndarray) -> bool:
    """Whether the axes are not at right angles, which a qform cannot say."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return not np.allclose(axes.T @ axes, np.eye(3), atol=1e-4)
