"""Noise that belongs to a place: it depends on seed, target, sample, window and step, never on how work is batched.

Philox (Salmon et al. 2011) is a counter-based generator: what the numbers are for is written into its key and counter,
so any of them can be drawn at any time, in any order, on any machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from universal_diffusion.randomness import seed_of


@dataclass(frozen=True)
class Window:
    """Where a window starts in its volume: axial slice `z`, first voxel (`x`, `y`)."""

    z: int
    x: int
    y: int


def case_seed(study_seed: int, source: str, case: str) -> int:
    """The noise's seed: the same for a case in every variant, shard and order, so that variants compare in pairs."""
    return seed_of(study_seed, "segmentation", source, case)


def window_noise(
    seed: int, target: str, windows: Sequence[Window], samples: range, draw: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Standard normal noise for every (window, sample), samples fastest.

    Args:
        draw: 0 for the latent that sampling starts from, 1 + i for the sampler's step i.
        shape: of one latent, (C, h, w).

    Returns:
        (len(windows) * len(samples), C, h, w) float32.
    """
    target_key = seed_of(seed, "segmentation noise", target)
    noise = np.empty((len(windows), len(samples), *shape), np.float32)
    for row, window in enumerate(windows):
        for column, sample in enumerate(samples):
            # Numbers drawn count upwards in the counter's first word; the place fills the other three.
            philox = np.random.Philox(key=[target_key, sample << 32 | draw], counter=[0, window.z, window.x, window.y])
            np.random.Generator(philox).standard_normal(out=noise[row, column], dtype=np.float32)
    return noise.reshape(-1, *shape)
