"""Can these values be a CT's? The check that every scan passes, whatever its file format."""

from pathlib import Path

import numpy as np

from universal_diffusion.errors import InputError

BODY_HU = -300  # above it lies the patient, below it air and lung
EXTREME_HU = 100_000.0  # beyond any scanner's scale and any padding value


def check_hounsfield(image: np.ndarray, where: Path) -> None:
    """Stop with an InputError if the values cannot be a CT's: not finite, constant, extreme, or none below 0 HU."""
    lowest, highest = float(image.min()), float(image.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise InputError(where, "holds values that are not finite", "set them to -1000 (air), or export the scan again")
    if lowest == highest:
        raise InputError(where, f"is {lowest:g} everywhere, so it shows nothing", "export the scan again")
    if lowest >= 0 or max(-lowest, highest) > EXTREME_HU:
        raise InputError(
            where,
            f"has values from {lowest:g} to {highest:g}, which are not Hounsfield units (air is -1000, water 0)"
            f"{_likely(lowest, highest)}",
            "give the CT in HU: neither scaled for display nor stored with an offset of 1024",
        )


def _likely(lowest: float, highest: float) -> str:
    """What values that start at 0 probably are."""
    if lowest < 0:
        return ""
    kinds = {1.0: "normalised", 255.0: "8-bit display values", 5000.0: "stored values, without their RescaleIntercept"}
    return next((f" but look like {kind}" for most, kind in kinds.items() if highest <= most), "")
