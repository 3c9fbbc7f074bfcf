"""One finished slab as a file.

Mean and variance are kept as 16-bit levels, of 1 / 65535 and of 0.25 / 65535: both are off by half a level at most, and
a mean is at least 0.5 after as it was before. Every slice of a target is a chunk; what is 0 in all of a slice takes no
room. A run that goes on compares the slabs it finds with their seals (`hdf5_seal`).
"""

from pathlib import Path

import h5py
import numpy as np

from universal_diffusion.errors import InputError
from universal_diffusion.hdf5_seal import check_seal, sealed_file
from universal_diffusion.segmentation.sampling.engine import SlabMaps

LEVELS = 65535
MAXIMUM = {"mean": 1.0, "variance": 0.25}  # of probabilities, and of the variance of numbers between 0 and 1


class SlabFile:
    """One slab's file, open for reading."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._file = h5py.File(path, "r", rdcc_nbytes=0)
            self.voxels = self._file["voxels"][:]  # (K, E)
            self._levels = {kind: self._file[kind] for kind in MAXIMUM}  # (K, S, X, Y)
        except (OSError, KeyError) as error:
            raise self._damaged(error) from None

    def levels(self, kind: str, row: int, *box: slice) -> np.ndarray:
        """(S, X, Y) uint16 of one target."""
        try:
            return self._levels[kind][(row, *box)]
        except OSError as error:
            raise self._damaged(error) from None

    def check(self) -> None:
        """Raise InputError unless the file is what it was when it was written, to the bit."""
        if not check_seal(self.path):
            raise self._damaged("its content has another SHA-256 than its first line says")

    def _damaged(self, why: object) -> InputError:
        return InputError(self.path, f"is no whole slab ({why})", "delete it and segment the CT again")


def write_slab(path: Path, slab: SlabMaps) -> None:
    """Write a slab whole or not at all; equal slabs give equal bytes."""
    with sealed_file(path) as file:
        file.create_dataset("voxels", data=slab.voxels, chunks=slab.voxels.shape, fletcher32=True, track_times=False)
        for name, maximum in MAXIMUM.items():
            _write_levels(file, name, getattr(slab, name), maximum)


def _write_levels(file: h5py.File, name: str, maps: np.ndarray, maximum: float) -> None:
    """Maps (K, X, Y, S) as levels (K, S, X, Y), one chunk a slice; chunks of zeros are not written."""
    targets, width, height, depth = maps.shape
    stored = file.create_dataset(
        name,
        (targets, depth, width, height),
        np.uint16,
        chunks=(1, 1, width, height),
        compression="lzf",
        shuffle=True,
        fletcher32=True,
        track_times=False,
    )
    for row in range(targets):
        for z in range(depth):
            levels = np.rint(np.clip(maps[row, ..., z] / maximum, 0, 1) * LEVELS).astype(np.uint16)
            if levels.any():
                stored[row, z] = levels
