"""Fewer voxels for the page: means over blocks of voxels, on a grid that says where they lie."""

from dataclasses import dataclass

import numpy as np

from universal_diffusion.boxes import bounding_box
from universal_diffusion.volumes import Grid

NEARLY = 1.01  # of the smallest edge: axes that near to it are reduced together, so that pixels stay square


@dataclass(frozen=True)
class Reduction:
    """Blocks of `factors` voxels of `full` become one voxel of `grid` each, at the block's centre."""

    full: Grid
    factors: tuple[int, int, int]

    @property
    def grid(self) -> Grid:
        """The reduced grid: the outermost blocks may reach beyond the full one."""
        return self.part((0, 0, 0), tuple(-(-n // f) for n, f in zip(self.full.shape, self.factors, strict=True)))

    def part(self, start: tuple[int, int, int], shape: tuple[int, int, int]) -> Grid:
        """The grid of `shape` blocks from block `start` on."""
        blocks = np.eye(4)
        blocks[:3, :3] = np.diag(self.factors)
        blocks[:3, 3] = (np.array(self.factors) - 1) / 2 + np.array(self.factors) * start
        return Grid(tuple(int(n) for n in shape), self.full.affine @ blocks)


@dataclass(frozen=True)
class Part:
    """What a reduced volume holds, cut to the box outside which it is zero: `start` in voxels of the reduced grid."""

    start: tuple[int, int, int]
    values: np.ndarray
    grid: Grid


def reduction(full: Grid, most_voxels: int | None) -> Reduction:
    """The smallest factors that leave at most `most_voxels` (None: any number), the finest axes reduced first."""
    factors = np.ones(3, int)
    while most_voxels and np.prod(-(-np.array(full.shape) // factors)) > most_voxels:
        edges = full.spacing_mm * factors
        factors[edges < NEARLY * edges.min()] += 1
    return Reduction(full, tuple(int(factor) for factor in factors))


def block_means(values: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Means over blocks from the first voxel on, float32; blocks cut by the far edge are means of what there is."""
    means = values.astype(np.float32)
    for axis, factor in enumerate(factors):
        if factor > 1:
            starts = np.arange(0, values.shape[axis], factor)
            voxels = np.diff(starts, append=values.shape[axis]).astype(np.float32)
            sums = np.add.reduceat(means, starts, axis=axis)
            means = sums / np.expand_dims(voxels, tuple(other for other in range(3) if other != axis))
    return means


def reduced_levels(levels: np.ndarray, reduced: Reduction) -> Part | None:
    """Whole numbers (0 to 255) averaged and rounded, half up: of a 0/1 mask, a block of which half is in it stays.

    Returns:
        None where nothing is left.
    """
    box = bounding_box(levels)
    if box is None:
        return None
    factors = reduced.factors
    blocks = [slice(along.start // f, -(-along.stop // f)) for along, f in zip(box, factors, strict=True)]
    cut = levels[tuple(slice(along.start * f, along.stop * f) for along, f in zip(blocks, factors, strict=True))]
    means = np.floor(block_means(cut, factors) + 0.5).astype(np.uint8)
    held = bounding_box(means)
    if held is None:
        return None
    start = tuple(along.start + within.start for along, within in zip(blocks, held, strict=True))
    values = means[held]
    return Part(start, values, reduced.part(start, values.shape))
