"""The frames of a DICOM segmentation as they come: one bit a voxel, and only slices where a target is."""

from itertools import islice

import numpy as np

from universal_diffusion.boxes import Box
from universal_diffusion.volumes import Grid

BYTE = 8  # frames follow each other without a gap, so that 8 of any size fill whole bytes


class SegFrames:
    """By target and slice of the CT (its third axis): the mask's voxels, rows from the second axis, as bits."""

    def __init__(self, native: Grid):
        self.columns, self.rows, self.slices = native.shape
        self._bits: dict[tuple[str, int], np.ndarray] = {}

    def add(self, name: str, box: Box, mask: np.ndarray) -> None:
        """Take a target's mask in a box of the CT that holds all of it in the box's slices."""
        across, down, along = box
        for z, one in zip(range(along.start, along.stop), np.moveaxis(mask, 2, 0), strict=True):
            if one.any():
                frame = np.zeros((self.rows, self.columns), bool)
                frame[down, across] = one.T
                self._bits[name, z] = np.packbits(frame, bitorder="little")

    def present(self, name: str) -> np.ndarray:
        """(slices,) bool: where the target has a frame."""
        return np.array([(name, z) in self._bits for z in range(self.slices)])

    def pixel_data(self, order: list[tuple[str, int]]) -> bytes:
        """The frames of the given targets and slices, empty where they have none, as DICOM's PixelData.

        That is bits without gaps between the frames, and an even number of bytes.
        """
        size, frames = self.rows * self.columns, iter(order)
        empty = np.packbits(np.zeros(size, bool))
        parts = []
        while some := list(islice(frames, BYTE)):
            bits = [np.unpackbits(self._bits.get(key, empty), count=size, bitorder="little") for key in some]
            parts.append(np.packbits(np.concatenate(bits), bitorder="little").tobytes())
        length = sum(map(len, parts))
        return b"".join([*parts, bytes(length % 2)])
