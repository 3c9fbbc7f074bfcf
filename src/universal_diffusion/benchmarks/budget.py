"""A predictor that works for a given time and then only pretends: a long inference is told from its start."""

import time
from collections.abc import Callable

from torch import Tensor

from universal_diffusion.benchmarks.alone import wait


class Budgeted:
    """A sliding window's predictor; once `budget` seconds are spent it repeats its last output instead of working.

    What surrounds it (cutting, blending, memory) stays whole.

    Attributes:
        worked, pretended: calls with and without work.
        working: seconds of the calls with work.
    """

    def __init__(self, predictor: Callable[..., Tensor], device: str, budget: float):
        self._predictor, self._device, self._budget = predictor, device, budget
        self._last: Tensor | None = None
        self.worked, self.pretended, self.working = 0, 0, 0.0

    def __call__(self, patches: Tensor, *places: object) -> Tensor:
        """The predictor's output for these patches, or an earlier one of the same shape."""
        if self._last is not None and self.working >= self._budget and len(self._last) == len(patches):
            self.pretended += 1
            return self._last
        started = time.perf_counter()
        self._last = self._predictor(patches, *places)
        wait(self._device)
        self.working += time.perf_counter() - started
        self.worked += 1
        return self._last

    @property
    def share(self) -> float:
        """Share of the calls that worked."""
        return self.worked / (self.worked + self.pretended)

    @property
    def missing_seconds(self) -> float:
        """What the calls without work would have taken at the pace of the others."""
        return self.pretended * self.working / self.worked
