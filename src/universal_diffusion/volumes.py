"""The harmonised volume and its store: one HDF5 file a case, read slice by slice.

A volume is held in RAS axis order, (X, Y, Z): the first array axis runs from the patient's left to the right side, the
second from posterior to anterior, the third from inferior to superior (so the liver lies at large x). On disk the
slices come first and each is a chunk of its own (checksummed), so that a 2-D patch is read without reading the volume.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from universal_diffusion.errors import InputError
from universal_diffusion.files import whole_file
from universal_diffusion.targets import all_targets, mask

FORMAT = 1


@dataclass(frozen=True)
class Grid:
    """A voxel grid: `shape` and the 4 x 4 `affine` from voxel indices to RAS millimetres."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing_mm(self) -> np.ndarray:
        """Edge lengths of a voxel along the three array axes."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000


@dataclass(frozen=True)
class Volume:
    """One harmonised case.

    Attributes:
        source: key of the dataset catalogue, e.g. "msd03".
        case: the case's native name, unique within the source.
        annotated: names of the targets that were looked for in it; the others are unknown, not absent.
        fingerprint: hash of the native scan that no flip, axis permutation or header changes.
        image: (X, Y, Z) float32, the HU window scaled to [0, 1].
        labels: (X, Y, Z) uint32 label bits (`targets.Target.bit`).
        grid: the harmonised grid.
        native_labels: uint32 label bits on the CT's own grid, on which predictions are scored.
        native_grid: the CT's own grid.
    """

    source: str
    case: str
    annotated: tuple[str, ...]
    fingerprint: str
    image: np.ndarray
    labels: np.ndarray
    grid: Grid
    native_labels: np.ndarray
    native_grid: Grid


def slice_counts(labels: np.ndarray) -> np.ndarray:
    """Voxels of every target in every axial slice of (X, Y, Z) label bits: (29, Z) int32."""
    return np.stack([mask(labels, target.name).sum(axis=(0, 1)) for target in all_targets()]).astype(np.int32)


def write_volume(path: Path, volume: Volume) -> None:
    """Write `volume` whole or not at all; equal volumes give equal bytes.

    The image is stored as float16, so it is read back rounded by at most 2.4e-4 of the HU window.
    """
    with whole_file(path) as partial, h5py.File(partial, "w", libver="v112", track_order=False) as file:
        file.attrs.update(
            format=FORMAT,
            source=volume.source,
            case=volume.case,
            annotated="|".join(volume.annotated),
            fingerprint=volume.fingerprint,
        )
        _write_slices(file, "image", volume.image.astype(np.float16), volume.grid)
        _write_slices(file, "labels", volume.labels, volume.grid)
        _write_slices(file, "native_labels", volume.native_labels, volume.native_grid)
        file.create_dataset("slice_counts", data=slice_counts(volume.labels), track_times=False)


def _write_slices(file: h5py.File, name: str, array: np.ndarray, grid: Grid) -> None:
    if array.shape != tuple(grid.shape):
        raise ValueError(f"{name} has shape {array.shape}, its grid {grid.shape}")
    stored = file.create_dataset(
        name,
        data=np.ascontiguousarray(np.moveaxis(array, 2, 0)),
        chunks=(1, *array.shape[:2]),
        compression="gzip",
        compression_opts=3,
        shuffle=True,
        fletcher32=True,
        track_times=False,
    )
    stored.attrs["affine"] = grid.affine


class VolumeFile:
    """A case in the store, opened for reading; use it as a context manager or keep it open while training."""

    def __init__(self, path: Path):
        self.path = Path(path)
        try:
            self._file = h5py.File(self.path, "r")
            attributes = dict(self._file.attrs)
            if attributes.get("format") != FORMAT:
                raise OSError(f"format {attributes.get('format')}, expected {FORMAT}")
            self.source, self.case = attributes["source"], attributes["case"]
            self.annotated = tuple(filter(None, attributes["annotated"].split("|")))
            self.fingerprint = attributes["fingerprint"]
            self.grid, self.native_grid = self._grid("image"), self._grid("native_labels")
            self.slice_counts = self._file["slice_counts"][:]  # (29, Z)
        except (OSError, KeyError) as error:
            raise InputError(
                self.path, f"is no whole volume ({error})", "delete its folder and run again: `harmonise` remakes it"
            ) from None

    def _grid(self, name: str) -> Grid:
        depth, width, height = self._file[name].shape
        return Grid((width, height, depth), self._file[name].attrs["affine"])

    def image_patch(self, z: int, x: int, y: int, size: int) -> np.ndarray:
        """The (size, size) float32 patch of axial slice `z` whose first voxel is (x, y); it must lie inside.

        Its values are those stored: float16, within 2.4e-4 of the HU window of the harmonised ones.
        """
        return self._read("image", z, x, y, size).astype(np.float32)

    def label_patch(self, z: int, x: int, y: int, size: int) -> np.ndarray:
        """Label bits of the same patch: (size, size) uint32."""
        return self._read("labels", z, x, y, size)

    def label_slice(self, z: int) -> np.ndarray:
        """Label bits of a whole axial slice: (X, Y) uint32."""
        return self._read("labels", z, 0, 0, max(self.grid.shape[:2]))

    def _read(self, name: str, z: int, x: int, y: int, size: int) -> np.ndarray:
        try:
            return self._file[name][z, x : x + size, y : y + size]
        except OSError as error:
            raise InputError(
                self.path,
                f"is damaged in slice {z} ({error})",
                "delete its folder and run again: `harmonise` remakes it",
            ) from None

    def read(self) -> Volume:
        """The whole case."""
        try:
            image, labels, native = (
                np.moveaxis(self._file[name][:], 0, 2) for name in ("image", "labels", "native_labels")
            )
        except OSError as error:
            raise InputError(
                self.path, f"is damaged ({error})", "delete its folder and run again: `harmonise` remakes it"
            ) from None
        return Volume(
            self.source,
            self.case,
            self.annotated,
            self.fingerprint,
            image.astype(np.float32),
            labels,
            self.grid,
            native,
            self.native_grid,
        )

    def __enter__(self) -> "VolumeFile":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()
