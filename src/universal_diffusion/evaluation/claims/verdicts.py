"""From a measurement to a verdict. Never "supported" when the interval holds the value that says nothing."""

import math

from universal_diffusion.evaluation.claims.measured import FEWEST, Measured

SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE = "supported", "not supported", "not testable on this cohort"
ALPHA = 0.05


def verdict(measured: Measured, claimed: float | None, corrected: float = float("nan")) -> tuple[str, str]:
    """The verdict and its reason.

    Args:
        claimed: the size that the paper names, or None where it names a direction only.
        corrected: the p-value corrected for all tests of the ledger, NaN where there is no test.
    """
    if obstacle := _obstacle(measured):
        return NOT_TESTABLE, obstacle
    if not measured.low > measured.null:
        if measured.high >= measured.null:
            return NOT_SUPPORTED, f"the interval holds {measured.null:g}"
        doubt = f", though the corrected p is {corrected:.2g}" if corrected >= ALPHA else ""
        return NOT_SUPPORTED, "the opposite was measured" + doubt
    if claimed is not None and measured.high < claimed:
        if measured.n is None:
            return NOT_SUPPORTED, f"{measured.value:g} counted, {claimed:g} claimed"
        return NOT_SUPPORTED, f"in the claimed direction, but the whole interval lies below {claimed:g}"
    if corrected >= ALPHA:
        return NOT_SUPPORTED, f"in the claimed direction, but the corrected p is {corrected:.2g}"
    return SUPPORTED, "counted, not sampled" if measured.n is None else "the whole interval lies on the claimed side"


def _obstacle(measured: Measured) -> str:
    if measured.obstacle:
        return measured.obstacle
    if measured.n is not None and measured.n < FEWEST:
        patients = "patient" if measured.n == 1 else "patients"
        return f"{measured.n} {patients}; fewer than {FEWEST} cannot settle it"
    if math.isnan(measured.value):
        return "nothing in this study to measure it on"
    return "no interval: a source has a single patient" if math.isnan(measured.low) else ""
