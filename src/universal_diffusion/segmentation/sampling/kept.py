"""What the gate kept of a volume: the (target, slice, window) pairs to sample, and its estimates for a warm start.

A value of its own, so that the engine needs nothing of the gate but this; it goes to and from one file for resuming.
"""

import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from universal_diffusion.errors import InputError
from universal_diffusion.files import whole_file
from universal_diffusion.segmentation.sampling.windows import Windows

ARRAYS = ("body", "looked", "pairs", "latents")
UNREADABLE = (OSError, KeyError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Kept:
    """Pairs to sample. Targets count k = 0 ... K - 1 in the order asked, windows w = 0 ... W - 1 as `Windows` does.

    Attributes:
        targets: the K names asked for.
        windows: the window grid of every slice.
        body: (Z, W) bool, the windows that hold any body: what is sampled without a gate.
        looked: (L,) int64, the axial slices that the gate looked at, rising.
        pairs: (K, Z, W) bool, what it kept of `body`.
        latents: (N, C, h, w) float16, its estimates of z0 in the N kept pairs of slices looked at, windows counting
            fastest, then targets, then slices; (0, 0, 0, 0) without a warm start.
    """

    targets: tuple[str, ...]
    windows: Windows
    body: np.ndarray
    looked: np.ndarray
    pairs: np.ndarray
    latents: np.ndarray

    def share(self, target: str) -> float:
        """Share of the (slice, window) pairs with body that were kept for a target; 0 where no window holds body."""
        return float(self.pairs[self.targets.index(target)].sum() / max(1, self.body.sum()))

    def footprint(self, target: str, z: int) -> np.ndarray:
        """(X, Y) bool: the union of a target's kept windows in slice `z`; outside it the target's probability is 0."""
        inside = np.zeros(self.windows.padded, bool)
        for window in np.flatnonzero(self.pairs[self.targets.index(target), z]):
            inside[self.windows.place(window)] = True
        return self.windows.crop(inside)

    def estimates(self, targets: np.ndarray, slices: np.ndarray, windows: np.ndarray) -> np.ndarray:
        """Estimates of z0 for N kept pairs (k, z, w): (N, C, h, w) float32.

        Each is from the nearest slice looked at where target and window are kept too, the lower of two equally near;
        zero where there is none: in a window whose body lies between two slices looked at.
        """
        distances = np.abs(np.asarray(slices)[:, None] - self.looked).astype(float)
        distances[~self.pairs[np.asarray(targets)[:, None], self.looked, np.asarray(windows)[:, None]]] = np.inf
        seen = np.isfinite(distances).any(1)
        found = np.zeros((len(seen), *self.latents.shape[1:]), np.float32)
        rows = self._rows[distances.argmin(1), targets, windows]
        found[seen] = self.latents[rows[seen]]
        return found

    @cached_property
    def _rows(self) -> np.ndarray:
        """(L, K, W) int64: the row of `latents` that holds a pair, where it was kept."""
        kept = self.pairs[:, self.looked].swapaxes(0, 1)
        return kept.cumsum().reshape(kept.shape) - 1


def write_kept(path: Path, kept: Kept) -> None:
    """Write it whole or not at all; equal values give equal bytes."""
    windows = kept.windows
    grid = np.array([*windows.shape, windows.patch, windows.overlap])
    arrays = {name: getattr(kept, name) for name in ARRAYS}
    with whole_file(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, targets=np.array(kept.targets), grid=grid, **arrays)


def read_kept(path: Path) -> Kept:
    """What `write_kept` wrote. Raises InputError for a file that is damaged or something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            targets, (x, y, patch, overlap) = tuple(map(str, file["targets"])), file["grid"]
            windows = Windows((int(x), int(y)), int(patch), float(overlap))
            return Kept(targets, windows, *(file[name] for name in ARRAYS))
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(path, f"is no whole record of the gate ({error})", "delete it, and run again") from None
