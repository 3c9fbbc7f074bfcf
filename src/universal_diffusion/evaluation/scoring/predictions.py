"""The files that scores are computed from: predicted masks and maps, true labels, and their hashes.

No prediction is read that is not, byte for byte, the one that its shard's `SHA256SUMS` names.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from universal_diffusion.checksums import SUMS, read_sums
from universal_diffusion.datasets.nifti import read_values
from universal_diffusion.errors import InputError
from universal_diffusion.files import sha256
from universal_diffusion.systems import System
from universal_diffusion.targets import target
from universal_diffusion.volumes import Grid

HALF_LEVEL = 0.5 / 255  # by which a map of 256 levels is rounded


@dataclass(frozen=True)
class Labels:
    """True masks of one case on one grid: `codes` (Z, Y, X) count in `unions`, sets of target bits."""

    unions: np.ndarray
    codes: np.ndarray

    def mask(self, name: str) -> np.ndarray:
        """The boolean mask of a target, (X, Y, Z), its first axis contiguous as in a NIfTI file."""
        return ((self.unions & target(name).bit) != 0).take(self.codes).T


def labels(encoded: tuple[np.ndarray, np.ndarray]) -> Labels:
    """Labels as `VolumeFile.encoded` reads them."""
    unions, codes = encoded
    return Labels(unions, np.ascontiguousarray(codes.T))


@dataclass(frozen=True)
class Predictions:
    """One system's predictions of one case, on the CT's own `grid`.

    Attributes:
        folder: of the files, in its shard's.
        sums: SHA-256 of the shard's files by their names from there on.
    """

    shard: Path
    folder: Path
    grid: Grid
    system: System
    sums: Mapping[str, str]

    def files(self, name: str) -> list[Path]:
        """The mask of a target and, of a system that samples, its maps of mean and variance."""
        kinds = ("", "_mean", "_variance") if self.system.variant else ("",)
        return [self.folder / f"{target(name).slug}{kind}.nii.gz" for kind in kinds]

    def hash(self, path: Path) -> str | None:
        """The SHA-256 that a file must have."""
        return self.sums.get(path.relative_to(self.shard).as_posix())

    def verify(self, names: Iterable[str]) -> None:
        """Raise InputError unless the files of these targets are those that the shard ended with."""
        for name in names:
            for path in self.files(name):
                self._verify(path)

    def mask(self, name: str) -> np.ndarray:
        """The predicted boolean mask (X, Y, Z). Raises InputError as `_read`, and for other values than 0 and 1."""
        path = self.files(name)[0]
        values = self._read(path)
        if values.max(initial=0) > 1 or (values.dtype.kind == "f" and not np.isin(values, (0, 1)).all()):
            raise self._wrong(path, "holds other values than 0 and 1: it is no mask")
        return values.astype(bool)

    def mean(self, name: str, predicted: np.ndarray) -> np.ndarray:
        """The map of means (X, Y, Z), float32, of an ensemble whose mask is `predicted`.

        Raises:
            InputError: as `_read`, and where the mask is not that of a mean of at least 0.5.
        """
        mask, path, _ = self.files(name)
        mean = self._read(path)
        unlike = mean[predicted != (mean >= 0.5)]
        if (np.abs(unlike - 0.5) > HALF_LEVEL).any():
            raise self._wrong(mask, f"is not where {path.name} is at least 0.5")
        return mean

    def variance(self, name: str) -> np.ndarray:
        """The map of variances (X, Y, Z), float32. Raises InputError as `_read`."""
        return self._read(self.files(name)[2])

    def _read(self, path: Path) -> np.ndarray:
        """A mask's values or a map's float32. Raises InputError when missing, damaged or on another grid."""
        self._verify(path)
        try:
            values, affine = read_values(path)
        except InputError as error:
            raise self._wrong(path, error.problem) from None
        shape = tuple(self.grid.shape)
        if values.shape != shape or not np.allclose(affine, self.grid.affine, atol=1e-3):
            raise self._wrong(path, f"lies on another grid than its CT (shape {values.shape}, expected {shape})")
        return values

    def _verify(self, path: Path) -> None:
        if not path.is_file():
            raise self._wrong(path, "is missing: every annotated target has a prediction")
        if sha256(path) != self.hash(path):
            raise self._wrong(path, f"is not the file that its shard's {SUMS} was written for (another SHA-256)")

    def _wrong(self, path: Path, problem: str) -> InputError:
        return InputError(path, problem, _again(self.shard, self.system))


def predictions_of(directories: Sequence[Path], system: System, source: str, case: str, grid: Grid) -> Predictions:
    """A case's predictions in one of the shards. Raises InputError when there are none."""
    for directory in map(Path, directories):
        folder = directory / source / case
        if folder.is_dir():
            return Predictions(directory, folder, grid, system, read_sums(directory, _again(directory, system)))
    raise InputError(
        f"predictions of {system.key}", f"hold no folder {source}/{case}", f"run {_rule(system)} again for all shards"
    )


def _rule(system: System) -> str:
    return "rule `segment`" if system.variant else "rule `predict_baseline`"


def _again(shard: Path, system: System) -> str:
    return f"delete {shard} and run again: {_rule(system)} remakes it"
