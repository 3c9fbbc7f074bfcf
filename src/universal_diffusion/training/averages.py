"""The exponential moving average of the weights: what is validated, and what a training returns."""

import copy

import torch
from torch import nn


class AveragedWeights:
    """An average of a module's weights whose decay rises to `decay`, so that early weights are soon forgotten.

    `module` is a copy with the averaged weights, in evaluation mode; what is no floating point is taken as it is.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._decay = decay
        pairs = [(average, now) for (_, average), (_, now) in zip(*map(_tensors, (self.module, module)), strict=True)]
        floating = [pair for pair in pairs if pair[0].is_floating_point()]
        self._averages, self._weights = ([pair[side] for pair in floating] for side in (0, 1))
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after optimiser step `step`: average += (1 - d) (weights - average).

        d = min(decay, (1 + step) / (10 + step)).
        """
        torch._foreach_lerp_(self._averages, self._weights, 1 - min(self._decay, (1 + step) / (10 + step)))
        for average, now in self._copied:
            average.copy_(now)


def _tensors(module: nn.Module):
    return module.state_dict(keep_vars=True).items()
