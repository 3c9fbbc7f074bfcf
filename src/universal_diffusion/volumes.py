"""The harmonised volume and its store: one HDF5 file a case, read slice by slice.

A volume is held in RAS axis order, (X, Y, Z): the first array axis runs from the patient's left to the right side, the
second from posterior to anterior, the third from inferior to superior (so the liver lies at large x). On disk the
slices come first and each is a chunk of its own (deflated, checksummed), so that a 2-D patch is read without reading
the volume. The image is stored in steps of 1/2048 of the HU window, labels as codes of the unions of targets that
occur in the case: `snakemake benchmarks` measures this layout against others.

Every read is checked. A volume that is read whole, or whose labels are, is first compared with the SHA-256 in the
file's first line (`hdf5_seal`). Opening it, and reading slices and patches, relies on the checksums (32 bits) that HDF5
keeps of every chunk and every header: all that is read then lies in either.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from universal_diffusion.errors import InputError
from universal_diffusion.hdf5_seal import check_seal, sealed_file
from universal_diffusion.label_codes import encode, slice_counts
from universal_diffusion.native_hu import BINS
from universal_diffusion.targets import Target

FORMAT = 3
REMEDY = "delete its folder and run again: rule `harmonise` remakes it"
IMAGE_STEPS = 2048  # of the HU window
SLICE_PRINT = np.dtype([("axis", "u1"), ("level", "<i2"), ("digest", "<u8")])


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
        native_hu: (300,) voxels of the CT by Hounsfield units (in the bins of `native_hu`); zeros where nobody counted.
        slice_prints: of the native slices along all three axes (`preparation/fingerprints.py`), of dtype `SLICE_PRINT`.
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
    native_hu: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    slice_prints: np.ndarray = field(default_factory=lambda: np.empty(0, SLICE_PRINT))


def write_volume(path: Path, volume: Volume) -> None:
    """Write `volume` whole or not at all; equal volumes give equal bytes.

    The image is read back rounded to the nearest step, by at most 2.5e-4 of the HU window; one that leaves [0, 1] is a
    ValueError.
    """
    if volume.image.min() < 0 or volume.image.max() > 1:
        raise ValueError(f"the image of {volume.source} {volume.case} leaves [0, 1]")
    with sealed_file(path) as file:
        _write(file, volume)


def _write(file: h5py.File, volume: Volume) -> None:
    file.attrs["format"] = FORMAT
    for name in ("source", "case", "fingerprint"):
        _write_text(file, name, getattr(volume, name))
    _write_text(file, "annotated", "|".join(volume.annotated))
    _write_slices(file, "image", np.rint(volume.image * IMAGE_STEPS).astype(np.uint16), volume.grid)
    unions, codes = _write_labels(file, "labels", volume.labels, volume.grid)
    _write_labels(file, "native_labels", volume.native_labels, volume.native_grid)
    _write_small(file, "slice_counts", slice_counts(unions, codes))
    _write_small(file, "native_hu", volume.native_hu)
    _write_small(file, "slice_prints", volume.slice_prints)


def _write_text(file: h5py.File, name: str, text: str) -> None:
    """Of fixed length, which HDF5 keeps in a header with a checksum; other texts lie where none is."""
    content = text.encode()
    file.attrs.create(name, content, dtype=h5py.string_dtype("utf-8", max(1, len(content))))


def _write_small(file: h5py.File, name: str, array: np.ndarray) -> None:
    """As one chunk with a checksum; compressed, as zeros (read past the end of a cut file) would fit their checksum."""
    chunked = {"chunks": array.shape, "compression": "gzip", "fletcher32": True} if array.size else {}
    file.create_dataset(name, data=array, track_times=False, **chunked)


def _write_labels(file: h5py.File, name: str, labels: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Write label bits, and return them, as unions and codes."""
    unions, codes = encode(labels)
    _write_slices(file, name, codes, grid).attrs["unions"] = unions
    return unions, codes


def _write_slices(file: h5py.File, name: str, array: np.ndarray, grid: Grid) -> h5py.Dataset:
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
    return stored


class VolumeFile:
    """A case in the store, opened for reading; use it as a context manager or keep it open while training."""

    def __init__(self, path: Path):
        self.path, self._verified = Path(path), False
        try:
            self._file = h5py.File(self.path, "r", rdcc_nbytes=0)  # no slice is read twice: nothing to keep
        except OSError as error:
            raise self._not_whole(error) from None
        try:
            self._read_header()
        except BaseException:
            self._file.close()  # else HDF5 reads the next file under this name with what it remembers of this one
            raise

    def _read_header(self) -> None:
        try:
            attributes = self._file.attrs
            if attributes.get("format") != FORMAT:
                raise OSError(f"format {attributes.get('format')}, expected {FORMAT}: another version wrote it")
            self.source, self.case, annotated, self.fingerprint = (
                attributes[name].decode() for name in ("source", "case", "annotated", "fingerprint")
            )
            self.annotated = tuple(filter(None, annotated.split("|")))
            self._slices = {name: self._file[name] for name in ("image", "labels", "native_labels")}
            self._unions = self._slices["labels"].attrs["unions"]
            self.grid, self.native_grid = self._grid("image"), self._grid("native_labels")
            self.slice_counts = self._file["slice_counts"][:]  # (29, Z)
        except (OSError, KeyError, RuntimeError) as error:
            raise self._not_whole(error) from None
        if self.path.stem != self.case:
            raise InputError(self.path, f"holds the volume of {self.source} {self.case}", REMEDY)

    def _grid(self, name: str) -> Grid:
        depth, width, height = self._slices[name].shape
        return Grid((width, height, depth), self._slices[name].attrs["affine"])

    @cached_property
    def native_hu(self) -> np.ndarray:
        """`Volume.native_hu`."""
        return self._small("native_hu")

    @cached_property
    def slice_prints(self) -> np.ndarray:
        """`Volume.slice_prints`."""
        return self._small("slice_prints")

    def _small(self, name: str) -> np.ndarray:
        try:
            return self._file[name][:]
        except (OSError, KeyError) as error:
            raise self._damaged(f" ({error})") from None

    def image_patch(self, z: int, x: int, y: int, size: int) -> np.ndarray:
        """The (size, size) float32 patch of axial slice `z` whose first voxel is (x, y); it must lie inside.

        Its values are those stored: within 2.5e-4 of the HU window of the harmonised ones.
        """
        return _scaled(self._read("image", z, x, y, size))

    def label_patch(self, z: int, x: int, y: int, size: int) -> np.ndarray:
        """Label bits of the same patch: (size, size) uint32."""
        return self._unions[self._read("labels", z, x, y, size)]

    def label_slice(self, z: int) -> np.ndarray:
        """Label bits of a whole axial slice: (X, Y) uint32."""
        return self._unions[self._read("labels", z, 0, 0, max(self.grid.shape[:2]))]

    def target_slice(self, z: int, target: Target) -> np.ndarray:
        """Where a target lies in axial slice `z`: (X, Y) bool."""
        codes = self._read("labels", z, 0, 0, max(self.grid.shape[:2]))
        where = np.zeros(codes.shape, bool)
        for code in np.flatnonzero(self._unions & target.bit):
            where |= codes == code
        return where

    def _read(self, name: str, z: int, x: int, y: int, size: int) -> np.ndarray:
        try:
            return self._slices[name][z, x : x + size, y : y + size]
        except OSError as error:
            raise self._damaged(f" in slice {z} ({error})") from None

    def encoded(self, name: Literal["labels", "native_labels"]) -> tuple[np.ndarray, np.ndarray]:
        """Label bits as `label_codes.encode` gives them: `unions` (n,) uint32 and the `codes` of voxels (X, Y, Z)."""
        self._verify()
        return self._slices[name].attrs["unions"], self._whole(name)

    def _verify(self) -> None:
        """Compare the file, once, with its own SHA-256."""
        if not self._verified and not check_seal(self.path):
            raise self._damaged(": its content has another SHA-256 than its first line says")
        self._verified = True

    def _whole(self, name: str) -> np.ndarray:
        try:
            return np.moveaxis(self._slices[name][:], 0, 2)
        except OSError as error:
            raise self._damaged(f" ({error})") from None

    def _not_whole(self, error: Exception) -> InputError:
        return InputError(self.path, f"is no whole volume ({error})", REMEDY)

    def _damaged(self, how: str) -> InputError:
        return InputError(self.path, f"is damaged{how}", REMEDY)

    def read(self) -> Volume:
        """The whole case."""
        unions, native = self.encoded("native_labels")
        return Volume(
            self.source,
            self.case,
            self.annotated,
            self.fingerprint,
            _scaled(self._whole("image")),
            self._unions[self._whole("labels")],
            self.grid,
            unions[native],
            self.native_grid,
            self.native_hu,
            self.slice_prints,
        )

    def __enter__(self) -> "VolumeFile":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()


def _scaled(stored: np.ndarray) -> np.ndarray:
    return np.multiply(stored, np.float32(1 / IMAGE_STEPS), dtype=np.float32)
