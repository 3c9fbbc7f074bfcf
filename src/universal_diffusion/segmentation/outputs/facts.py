"""What a target's maps say in numbers: volume and its spread, density, uncertainty."""

from dataclasses import dataclass

import numpy as np

SHOWN = 0.05  # mean probability from which a voxel counts for the uncertainty: the mask and what it may be missing
STEPS = 65535  # of a probability, in the table of entropies


@dataclass(frozen=True)
class TargetFacts:
    """One target in one CT.

    Attributes:
        voxels: of the mask on the CT's own grid.
        volume_ml: of the mask.
        volume_sd_ml: standard deviation of the ensemble's own volumes, each of a sample's voxels >= 0.5 on the
            harmonised grid; None for an ensemble of one.
        mean_hu, sd_hu: mean and standard deviation inside the mask; None without a CT or with an empty mask.
        uncertainty: mean predictive entropy, in bits, where the mean probability is at least 0.05; None if nowhere.
    """

    voxels: int
    volume_ml: float
    volume_sd_ml: float | None
    mean_hu: float | None
    sd_hu: float | None
    uncertainty: float | None


def entropy(probability: np.ndarray) -> np.ndarray:
    """Predictive entropy -p log2 p - (1 - p) log2(1 - p) of probabilities of any shape: float32, 0 to 1 bit.

    It is that of the nearest multiple of 1/65535, the precision that maps are kept with.
    """
    return _TABLE[np.rint(probability * np.float32(STEPS)).astype(np.uint16)]


def _table() -> np.ndarray:
    inside = np.arange(1, STEPS) / STEPS
    bits = -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))
    return np.concatenate([[0], bits, [0]]).astype(np.float32)


_TABLE = _table()


class FactsFold:
    """Sums over a target's voxels, box by box."""

    def __init__(self):
        self._voxels = self._shown = 0
        self._bits = 0.0
        self._hu = np.zeros(2)  # sums of the values and of their squares

    def add(self, mean: np.ndarray, mask: np.ndarray, hu: np.ndarray | None) -> None:
        """Count a box: mean probability, mask and Hounsfield units of its voxels."""
        self._voxels += int(np.count_nonzero(mask))
        shown = mean[mean >= SHOWN]
        self._shown += shown.size
        self._bits += float(entropy(shown).sum(dtype=np.float64))
        if hu is not None:
            inside = hu[mask].astype(np.float64)
            self._hu += inside.sum(), (inside**2).sum()

    def facts(self, voxel_ml: float, sample_ml: np.ndarray, has_hu: bool) -> TargetFacts:
        """The sums as facts.

        Args:
            voxel_ml: volume of a voxel of the CT.
            sample_ml: (E,) volumes of the ensemble's samples.
        """
        mean_hu = sd_hu = None
        if has_hu and self._voxels:
            mean, square = (self._hu / self._voxels).tolist()
            mean_hu, sd_hu = mean, max(square - mean**2, 0.0) ** 0.5
        return TargetFacts(
            voxels=self._voxels,
            volume_ml=self._voxels * float(voxel_ml),
            volume_sd_ml=float(sample_ml.std(ddof=1)) if sample_ml.size > 1 else None,
            mean_hu=mean_hu,
            sd_hu=sd_hu,
            uncertainty=self._bits / self._shown if self._shown else None,
        )
