"""Mean and variance of samples that come one after the other."""

import torch
from torch import Tensor


class Moments:
    """Running mean and population variance, elementwise (Welford 1962): no sample is kept, no square is summed.

    Attributes:
        count: samples so far.
        mean: of them.
    """

    def __init__(self, like: Tensor):
        self.count, self.mean, self._squares = 0, torch.zeros_like(like), torch.zeros_like(like)

    def add(self, sample: Tensor) -> None:
        """Fold in one sample, of the shape given at the start."""
        self.count += 1
        before = sample - self.mean
        self.mean += before / self.count
        self._squares += before * (sample - self.mean)

    @property
    def variance(self) -> Tensor:
        """Population variance; 0 of a single sample."""
        return self._squares / self.count
