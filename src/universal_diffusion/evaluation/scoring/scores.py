"""How one predicted mask is scored against one true mask.

Dice is three-dimensional, one value per case and target. It is undefined (NaN) where neither mask holds a voxel, and
zero for a prediction where the target was looked for and is absent: code descended from TransUNet returns 1 there.

Every score equals that of MONAI's `compute_dice`, `compute_surface_dice` and `compute_hausdorff_distance` called on the
whole volumes; it is looked for around the masks only, and both surface scores come of one computation of the distances.
"""

from dataclasses import dataclass

import numpy as np

from universal_diffusion.boxes import bounding_box
from universal_diffusion.evaluation.scoring.surfaces import distances

ROUNDING_MM = 1e-4  # of spacings in headers: a surface exactly as far off as the tolerance is within it


@dataclass(frozen=True)
class Agreement:
    """Agreement of two masks on one grid.

    Attributes:
        dice: 2 |A and B| / (|A| + |B|); NaN where both are empty.
        surface_dice: share of both surfaces' voxels within the tolerance of the other surface; 0 where one mask is
            empty, NaN where both are.
        hd95_mm: 95th percentile of the surface distances (the larger direction); NaN where a mask is empty.
    """

    dice: float
    surface_dice: float
    hd95_mm: float


@dataclass(frozen=True)
class Volumes:
    """Volumes in millilitres.

    Attributes:
        volume_error: (predicted - truth) / truth; NaN where the target is absent.
        false_positive_ml: the predicted volume where the target is absent; NaN elsewhere.
    """

    truth_ml: float
    predicted_ml: float
    volume_error: float
    false_positive_ml: float


def outcome(truth: np.ndarray, predicted: np.ndarray) -> str:
    """Which of four situations two masks are in.

    Returns:
        "scored", "both_empty", "false_positive" (absent, predicted) or "missed" (present, not predicted).
    """
    return {
        (False, False): "both_empty",
        (False, True): "false_positive",
        (True, False): "missed",
        (True, True): "scored",
    }[bool(truth.any()), bool(predicted.any())]


def dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Dice of two boolean masks of equal shape; NaN where both are empty, 0 where one is."""
    _check_shapes(truth, predicted)
    total = np.count_nonzero(truth) + np.count_nonzero(predicted)
    return 2 * np.count_nonzero(truth & predicted) / total if total else float("nan")


def agreement(truth: np.ndarray, predicted: np.ndarray, spacing_mm: np.ndarray, tolerance_mm: float) -> Agreement:
    """Score two boolean masks (X, Y, Z).

    Args:
        spacing_mm: (3,) edge lengths of a voxel.
        tolerance_mm: of the normalised surface Dice (`tolerances`).
    """
    _check_shapes(truth, predicted)
    box = bounding_box(truth | predicted)
    if box is None:
        return Agreement(np.nan, np.nan, np.nan)
    truth, predicted = truth[box], predicted[box]
    if outcome(truth, predicted) != "scored":
        return Agreement(0.0, 0.0, np.nan)
    there, back = distances(predicted, truth, spacing_mm)
    near = sum(np.count_nonzero(one_way <= tolerance_mm + ROUNDING_MM) for one_way in (there, back))
    farthest = max(np.percentile(one_way, 95) for one_way in (there, back))
    return Agreement(dice(truth, predicted), near / (len(there) + len(back)), float(farthest))


def volumes(truth: np.ndarray, predicted: np.ndarray, voxel_ml: float) -> Volumes:
    """Volumes of two boolean masks whose voxels have `voxel_ml`, and what is wrong with the predicted one."""
    _check_shapes(truth, predicted)
    true_ml, predicted_ml = (voxel_ml * np.count_nonzero(mask) for mask in (truth, predicted))
    if not true_ml:
        return Volumes(true_ml, predicted_ml, np.nan, predicted_ml)
    return Volumes(true_ml, predicted_ml, (predicted_ml - true_ml) / true_ml, np.nan)


def _check_shapes(truth: np.ndarray, predicted: np.ndarray) -> None:
    if truth.shape != predicted.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {predicted.shape}")
