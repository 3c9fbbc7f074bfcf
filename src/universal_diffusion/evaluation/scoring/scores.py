"""How one predicted mask is scored against one true mask.

Dice is three-dimensional, one value per case and target. It is undefined (NaN) where neither mask holds a voxel, and
zero for a prediction where the target was looked for and is absent: code descended from TransUNet returns 1 there.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import compute_dice
from monai.metrics.utils import get_edge_surface_distance

from universal_diffusion.boxes import bounding_box
from universal_diffusion.volumes import Grid

SURFACE_TOLERANCE_MM = 2.0


@dataclass(frozen=True)
class Overlap:
    """Agreement of two masks on one grid.

    Attributes:
        dice: 2 |A and B| / (|A| + |B|); NaN where both are empty.
        surface_dice: share of both surfaces within 2 mm of the other; 0 where one mask is empty, NaN where both are.
        hd95_mm: 95th percentile of the surface distances (the larger direction); NaN where a mask is empty.
        truth_ml, predicted_ml: volumes in millilitres.
        outcome: "scored", "both_empty", "false_positive" (absent, predicted) or "missed" (present, not predicted).
    """

    dice: float
    surface_dice: float
    hd95_mm: float
    truth_ml: float
    predicted_ml: float
    outcome: str


def outcome(truth: np.ndarray, predicted: np.ndarray) -> str:
    """Which of the four situations two boolean masks are in."""
    return {
        (False, False): "both_empty",
        (False, True): "false_positive",
        (True, False): "missed",
        (True, True): "scored",
    }[bool(truth.any()), bool(predicted.any())]


def dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Dice of two boolean masks of equal shape; NaN where both are empty, 0 where one is."""
    if truth.shape != predicted.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {predicted.shape}")
    if outcome(truth, predicted) == "both_empty":
        return float("nan")
    truth, predicted = _around(truth, predicted)
    return compute_dice(_batch(predicted), _batch(truth), ignore_empty=False).item()


def overlap(truth: np.ndarray, predicted: np.ndarray, grid: Grid) -> Overlap:
    """Score two boolean masks (X, Y, Z) on `grid`.

    Both surface scores come of one computation of the distances; MONAI's `compute_surface_dice` and
    `compute_hausdorff_distance` would each do it anew.
    """
    kind, volumes = outcome(truth, predicted), (grid.voxel_ml * truth.sum(), grid.voxel_ml * predicted.sum())
    if kind == "both_empty":
        return Overlap(np.nan, np.nan, np.nan, *volumes, kind)
    if kind != "scored":
        return Overlap(0.0, 0.0, np.nan, *volumes, kind)
    near = [torch.from_numpy(part) for part in _around(predicted, truth)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 warns of an argument that it gives itself
        _, distances, _ = get_edge_surface_distance(*near, spacing=grid.spacing_mm.tolist(), symmetric=True)
    surface = (torch.cat(distances) <= SURFACE_TOLERANCE_MM).float().mean()
    distance = max(torch.quantile(one_way, 0.95) for one_way in distances)
    return Overlap(dice(truth, predicted), surface.item(), distance.item(), *volumes, kind)


def _around(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both masks cut to the box around their union, with a margin of one empty voxel, which no score depends on."""
    box = bounding_box(first | second)
    return np.pad(first[box], 1), np.pad(second[box], 1)


def _batch(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask[None, None].astype(np.float32))  # (1, 1, X, Y, Z)
