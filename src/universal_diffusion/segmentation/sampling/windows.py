"""The windows of axial slices: where they lie, which of them hold body, and how their predictions become a slice.

The rules are those of `monai.inferers.sliding_window_inference` in two dimensions and in mode "gaussian", by MONAI's
own functions: a slice smaller than the patch is padded with 0 on both sides, windows start every patch * (1 - overlap)
voxels, the last ones are moved back inside, and predictions are averaged with Gaussian weights.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """The window grid that all axial slices of a volume share.

    Attributes:
        shape: (X, Y) of a slice.
        patch: edge of the square windows, in voxels.
        overlap: share of a window that the next one covers too, at least 0 and below 1.
    """

    shape: tuple[int, int]
    patch: int
    overlap: float

    @cached_property
    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Voxels of air put (before, after) a slice along x and y, so that at least one window fits."""
        missing = [max(self.patch - size, 0) for size in self.shape]
        return tuple((lack // 2, lack - lack // 2) for lack in missing)

    @cached_property
    def padded(self) -> tuple[int, int]:
        """(X, Y) of a padded slice."""
        return tuple(max(size, self.patch) for size in self.shape)

    @cached_property
    def starts(self) -> np.ndarray:
        """(W, 2) int64: the first voxel (x, y) of every window in the padded slice, y fastest."""
        interval = max(1, int(self.patch * (1 - self.overlap)))
        places = dense_patch_slices(self.padded, (self.patch,) * 2, (interval,) * 2)
        return np.array([[along.start for along in place] for place in places], np.int64)

    @cached_property
    def importance(self) -> Tensor:
        """(P, P) float32 weight of each voxel of a window in the blend."""
        return compute_importance_map((self.patch,) * 2, mode="gaussian", sigma_scale=0.125)

    def __len__(self) -> int:
        return len(self.starts)

    def place(self, window: int) -> tuple[slice, slice]:
        """Where a window lies in a padded slice."""
        x, y = map(int, self.starts[window])
        return slice(x, x + self.patch), slice(y, y + self.patch)

    def pad(self, image: np.ndarray) -> np.ndarray:
        """(X, Y, ...) -> the same with x and y padded with 0."""
        return np.pad(image, (*self.padding, *[(0, 0)] * (image.ndim - 2)))

    def crop(self, padded: Tensor) -> Tensor:
        """(..., X', Y') of padded size -> (..., X, Y)."""
        (before_x, _), (before_y, _) = self.padding
        return padded[..., before_x : before_x + self.shape[0], before_y : before_y + self.shape[1]]

    def body(self, image: np.ndarray) -> np.ndarray:
        """Which windows hold anything but air, whose harmonised value is 0: (X, Y, Z) image -> (Z, W) bool."""
        padded = self.pad(image != 0)
        return np.stack([padded[self.place(window)].any((0, 1)) for window in range(len(self))], axis=1)

    def cut(self, image: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Windows of a volume: image (X, Y, Z) and N pairs (z, window) -> (N, 1, P, P) float32."""
        cuts = np.empty((len(places), 1, self.patch, self.patch), np.float32)
        for row, (z, window) in enumerate(places):
            cuts[row, 0] = self.pad(image[..., z])[self.place(window)]
        return cuts

    def weights(self, sampled: np.ndarray) -> Tensor:
        """Total weight of each voxel of a padded slice over its sampled windows: (W,) bool -> (X', Y') float32."""
        total = torch.zeros(self.padded)
        for window in np.flatnonzero(sampled):
            total[self.place(window)] += self.importance
        return total
