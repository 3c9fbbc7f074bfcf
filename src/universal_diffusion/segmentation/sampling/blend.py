"""One slice made of its windows: all targets and samples at once, then their mean, variance and volume."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from universal_diffusion.segmentation.sampling.moments import Moments
from universal_diffusion.segmentation.sampling.windows import Windows

THRESHOLD = 0.5


class SliceMaps(NamedTuple):
    """Mean and variance (K, X, Y) float32 over the ensemble, and voxels (K, E) int64 with a sample >= 0.5."""

    mean: Tensor
    variance: Tensor
    voxels: Tensor


class SliceBlend:
    """The weighted sum of the windows of one slice; it holds (E + 1) K X Y float32.

    Each voxel is divided by the weight of those windows that were sampled for the target there; it is 0 where there
    are none. A window of air that was dropped thus takes no part in an overlap: its neighbour alone decides.
    """

    def __init__(self, windows: Windows, targets: int, ensemble: int, device: torch.device):
        self._windows, self._importance = windows, windows.importance.to(device)
        self._sum = torch.zeros(targets, ensemble, *windows.padded, device=device)
        self._weight = torch.zeros(targets, 1, *windows.padded, device=device)

    def add(self, window: int, targets: np.ndarray, probabilities: Tensor) -> None:
        """Add a window's probabilities (N, E, P, P) of N different targets, numbered as in the sum."""
        rows, place = _selection(targets), self._windows.place(window)
        self._sum[(rows, slice(None), *place)] += probabilities * self._importance
        self._weight[(rows, slice(None), *place)] += self._importance

    def finish(self) -> SliceMaps:
        """Blend, reduce to moments, and begin the next slice with nothing."""
        weight = torch.where(self._weight > 0, self._weight, 1.0)
        samples = self._windows.crop(self._sum / weight)  # (K, E, X, Y)
        moments = Moments(samples[:, 0])
        for sample in samples.unbind(1):
            moments.add(sample)
        self._sum.zero_()
        self._weight.zero_()
        return SliceMaps(moments.mean, moments.variance, (samples >= THRESHOLD).sum((2, 3)))


def _selection(targets: np.ndarray) -> slice | list[int]:
    """A slice where the numbers follow one another, which is faster to index with."""
    first, last = int(targets[0]), int(targets[-1])
    return slice(first, last + 1) if last - first + 1 == len(targets) else targets.tolist()
