"""Where a volume's maps wait, slab by slab, between sampling and export; an interrupted run goes on from here.

Every finished slab of axial slices is one file (`slab_file`) that appears whole or not at all. Beside the slabs,
`identity.json` says what they are of: maps of another CT, model, seed or sampling are never mixed with them.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from universal_diffusion.boxes import Box
from universal_diffusion.errors import InputError
from universal_diffusion.files import write_json
from universal_diffusion.segmentation.sampling.engine import SlabMaps
from universal_diffusion.segmentation.sampling.kept import Kept, read_kept, write_kept
from universal_diffusion.segmentation.sampling.slab_file import LEVELS, MAXIMUM, SlabFile, write_slab
from universal_diffusion.targets import target
from universal_diffusion.volumes import Grid

FORMAT = 1
IDENTITY, KEPT, BATCH = "identity.json", "kept.npz", "batch.json"
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
            show: say on stderr that work of another run, or a damaged slab, is made anew.

        Raises:
            InputError: the folder is a file, or holds something that is no store.
        """
        folder, names = Path(folder), [target(name).name for name in targets]
        whole = {"format": FORMAT, "identity": identity, "targets": names, "ensemble": ensemble}
        whole |= {"shape": list(grid.shape), "affine": grid.affine.tolist()}
        if _found(folder) != json.loads(json.dumps(whole)):
            _empty(folder, show)
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
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

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
        for first in self.done:
            try:
                self._open_slab(first).check()
            except InputError as error:
                if show:
                    print(f"{error.where}: {error.problem}; it is made again", file=sys.stderr)
                self._path(first, self._depths.pop(first)).unlink()


def holds(folder: Path, identity: dict, targets: Sequence[str]) -> bool:
    """Whether a folder is a store of these targets, in any order, of this identity."""
    found = _found(Path(folder)) or {}
    return set(found.get("targets", ())) == set(targets) and found.get("identity") == json.loads(json.dumps(identity))


def _first_and_depth(path: Path) -> tuple[int, int]:
    first, depth = path.stem.removeprefix("slab_").split("_")
    return int(first), int(depth)


def _found(folder: Path) -> dict | None:
    """What a folder says that it holds; None where it says nothing that can be read."""
    if folder.exists() and not folder.is_dir():
        raise InputError(folder, "is a file, expected a folder for unfinished work", "give another folder")
    try:
        return json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _empty(folder: Path, show: bool) -> None:
    """Delete a store of another identity; a folder with anything else in it is refused."""
    if not folder.exists():
        return
    inside = sorted(folder.iterdir())
    strange = [path for path in inside if not _is_ours(path.name)]
    if strange:
        raise InputError(folder, f"holds {strange[0].name}, which is no unfinished work", "give an empty folder")
    if inside and show:
        print(f"{folder}: holds unfinished work of another run; it is started anew", file=sys.stderr)
    for path in inside:
        path.unlink()


def _is_ours(name: str) -> bool:
    return name in (IDENTITY, KEPT, BATCH) or name.startswith((".partial-", "slab_"))
