"""Where a volume's maps wait, slab by slab, between sampling and export; an interrupted run goes on from here.

Every finished slab of axial slices is one file (`slab_file`) that appears whole or not at all. Beside the slabs,
`identity.json` says what they are of: maps of another CT, model, seed or sampling are never mixed with them.
"""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from universal_diffusion.boxes import Box
from universal_diffusion.errors import InputError
from universal_diffusion.files import write_json
from universal_diffusion.segmentation.sampling.engine import SlabMaps
from universal_diffusion.segmentation.sampling.kept import Kept, read_kept, write_kept
from universal_diffusion.segmentation.sampling.slab_file import LEVELS, MAXIMUM, SlabFile, write_slab
from universal_diffusion.segmentation.sampling.store_folder import BATCH, IDENTITY, KEPT, empty, recorded
from universal_diffusion.targets import target
from universal_diffusion.volumes import Grid

FORMAT = 3
OPEN_SLABS = 64


class SlabStore:
    """The maps of one volume on its harmonised grid. Make it with `open`.

    Attributes:
        folder: the store's own; `remove` deletes it.
        grid: the harmonised grid.
        targets: names, in the order asked.
        ensemble: samples E.
    """

    def __init__(self, folder: Path, grid: Grid, targets: Sequence[str], ensemble: int):
        self.folder, self.grid, self.targets, self.ensemble = Path(folder), grid, tuple(targets), ensemble
        self._row = {name: row for row, name in enumerate(self.targets)}
        self._depths = dict(_first_and_depth(path) for path in sorted(self.folder.glob("slab_*.h5")))
        self._slab = lru_cache(OPEN_SLABS)(self._open_slab)

    @classmethod
    def open(
        cls, folder: Path, identity: dict, grid: Grid, targets: Sequence[str], ensemble: int, show: bool = True
    ) -> "SlabStore":
        """The store in `folder`, with what an interrupted run of the same identity left there; a new one otherwise.

        Args:
            identity: JSON of everything else that the maps depend on: CT, model, sampling, seed, ...
            show: say on stderr that work of another run, or a damaged file, is made anew.

        Raises:
            InputError: the folder is a file, or holds something that is no store.
        """
        folder, names = Path(folder), [target(name).name for name in targets]
        whole = {"format": FORMAT, "identity": identity, "targets": names, "ensemble": ensemble}
        whole |= {"shape": list(grid.shape), "affine": grid.affine.tolist()}
        if recorded(folder) != json.loads(json.dumps(whole)):
            empty(folder, show)
            write_json(folder / IDENTITY, whole)
        store = cls(folder, grid, names, ensemble)
        store._drop_damaged(show)
        return store

    @property
    def done(self) -> tuple[int, ...]:
        """First axial slices of the finished slabs, ascending."""
        return tuple(sorted(self._depths))

    def write(self, slab: SlabMaps) -> None:
        """Keep a finished slab."""
        depth = slab.mean.shape[3]
        write_slab(self._path(slab.first, depth), slab)
        self._depths[slab.first] = depth

    def read(self, name: str, box: Box | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of a target, float32, in a box of the harmonised grid (the whole of it when None).

        Args:
            box: slices with start and stop along x, y and z.

        Raises:
            InputError: a slab of the box is missing or damaged.
        """
        across_x, across_y, along_z = box or tuple(slice(0, size) for size in self.grid.shape)
        shape = tuple(part.stop - part.start for part in (across_x, across_y, along_z))
        maps = {kind: np.zeros(shape, np.float32) for kind in MAXIMUM}
        read = 0
        for first, depth in self._depths.items():
            low, high = max(first, along_z.start), min(first + depth, along_z.stop)
            for kind, maximum in MAXIMUM.items() if low < high else ():
                levels = self._slab(first).levels(
                    kind, self._row[name], slice(low - first, high - first), across_x, across_y
                )
                np.multiply(
                    np.moveaxis(levels, 0, 2),
                    np.float32(maximum / LEVELS),
                    out=maps[kind][..., low - along_z.start : high - along_z.start],
                )
            read += max(high - low, 0)
        if read != shape[2]:
            raise InputError(self.folder, f"holds {read} of {shape[2]} slices", "segment the CT again")
        return maps["mean"], maps["variance"]

    def voxels(self, name: str) -> np.ndarray:
        """(E,) int64: voxels of the harmonised volume in which each sample is at least 0.5."""
        counts = [self._slab(first).voxels[self._row[name]] for first in self.done]
        return np.sum(counts, axis=0, dtype=np.int64)

    @property
    def kept(self) -> Kept | None:
        """What the gate left to be sampled, if a run got that far."""
        path = self.folder / KEPT
        return read_kept(path) if path.exists() else None

    def keep(self, kept: Kept) -> None:
        """Remember what the gate left to be sampled."""
        write_kept(self.folder / KEPT, kept)

    @property
    def batch(self) -> int | None:
        """Rows that the networks see at once, if a run got that far; one that goes on takes the same number."""
        path = self.folder / BATCH
        return _rows(path) if path.exists() else None

    @batch.setter
    def batch(self, rows: int) -> None:
        write_json(self.folder / BATCH, rows)

    def remove(self) -> None:
        """Delete the store."""
        self.close()
        shutil.rmtree(self.folder)

    def close(self) -> None:
        """Close the slabs that reading left open."""
        self._slab.cache_clear()

    def _path(self, first: int, depth: int) -> Path:
        return self.folder / f"slab_{first:05d}_{depth:03d}.h5"

    def _open_slab(self, first: int) -> SlabFile:
        return SlabFile(self._path(first, self._depths[first]))

    def _drop_damaged(self, show: bool) -> None:
        """Remove what is damaged. Whole slabs stay: gate and batch come out as they were, on a GPU but for rounding."""
        for first in self.done:
            if _damaged(lambda first=first: self._open_slab(first).check(), show):
                self._path(first, self._depths.pop(first)).unlink()
        for name, read in ((KEPT, self._check_kept), (BATCH, lambda: self.batch)):
            if _damaged(read, show):
                (self.folder / name).unlink()

    def _check_kept(self) -> None:
        """Raise InputError for a record of the gate that is damaged or of another volume."""
        kept = self.kept
        if kept and (kept.targets != self.targets or kept.pairs.shape[:2] != (len(self.targets), self.grid.shape[2])):
            raise InputError(self.folder / KEPT, "is the gate's of another volume", "delete it, and run again")


def _damaged(read: Callable[[], object], show: bool) -> bool:
    """Whether a file cannot be read, which is told on stderr."""
    try:
        read()
    except InputError as error:
        if show:
            print(f"{error.where}: {error.problem}; it is made again", file=sys.stderr)
        return True
    return False


def _rows(path: Path) -> int:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({error})", "delete it, and run again") from None
    if type(rows) is not int or rows < 1:  # a bool is an int, too
        raise InputError(path, f"says {rows!r}, expected a number of rows", "delete it, and run again")
    return rows


def _first_and_depth(path: Path) -> tuple[int, int]:
    first, depth = path.stem.removeprefix("slab_").split("_")
    return int(first), int(depth)
