"""Can these values be a CT's? The check that every scan passes, whatever its file format."""

from pathlib import Path

import numpy as np

from universal_diffusion.errors import InputError

BODY_HU = -300  # above it lies the patient, below it air and lung


def check_hounsfield(image: np.ndarray, where: Path) -> None:
    """Stop with an InputError if the values cannot be a CT's: not finite, constant, or none below water (0 HU)."""
    lowest, highest = float(image.min()), float(image.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise InputError(where, "holds values that are not finite", "export the scan again")
    if lowest == highest:
        raise InputError(where, f"is {lowest:g} everywhere, so it shows nothing", "export the scan again")
    if lowest >= 0:
        raise InputError(
            where,
            f"has values from {lowest:g} to {highest:g}, which are not Hounsfield units (fat and air lie below 0)",
            "give the CT in HU: neither scaled for display nor stored with an offset of 1024",
        )
