"""From a measurement to a verdict. Never "supported" when the interval holds the value that says nothing."""

import math

from universal_diffusion.evaluation.claims.measured import FEWEST, Measured

SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE = "supported", "not supported", "not testable on this cohort"
ALPHA = 0.05


def verdict(measured: Measured, claimed: float | None, corrected: float = float("nan")) -> tuple[str, str]:
    """The verdict and its reason.

    Args:
        claimed: the size that the paper names, or None where it names a direction only.
        corrected: the p-value corrected for all tests of the ledger, NaN where there is no test; what was sampled
            settles nothing without one, neither for the claim nor against it.
    """
    if obstacle := _obstacle(measured):
        return NOT_TESTABLE, obstacle
    if measured.n is None:
        return _counted(measured, claimed)
    if measured.low <= measured.null <= measured.high:
        return NOT_SUPPORTED, f"the interval holds {measured.null:g}"
    against = measured.high < measured.null
    if not corrected < ALPHA:
        told = "no test was possible" if math.isnan(corrected) else f"the corrected p is {corrected:.2g}"
        return NOT_SUPPORTED, f"{'against' if against else 'in'} the claimed direction, but {told}"
    if against:
        return NOT_SUPPORTED, "the opposite was measured"
    if claimed is None:
        return SUPPORTED, "the whole interval lies on the claimed side"
    if measured.high < claimed:
        return NOT_SUPPORTED, f"in the claimed direction, but the whole interval lies below {claimed:g}"
    return SUPPORTED, f"the direction is; the interval does not exclude the size of {claimed:g}, nor does it show it"


def _counted(measured: Measured, claimed: float | None) -> tuple[str, str]:
    """What was counted is the number that is claimed or not; of a direction, on its side or not."""
    if claimed is not None:
        agrees = math.isclose(measured.value, claimed)
        return SUPPORTED if agrees else NOT_SUPPORTED, f"{measured.value:g} counted, {claimed:g} claimed"
    if measured.value > measured.null:
        return SUPPORTED, "counted, not sampled"
    return NOT_SUPPORTED, "the opposite was counted" if measured.value < measured.null else "counted: no difference"


def _obstacle(measured: Measured) -> str:
    if measured.obstacle:
        return measured.obstacle
    if measured.n is not None and measured.n < FEWEST:
        patients = "patient" if measured.n == 1 else "patients"
        return f"{measured.n} {patients}; fewer than {FEWEST} cannot settle it"
    if math.isnan(measured.value):
        return "nothing in this study to measure it on"
    return "no interval: a source or a target has too few patients" if math.isnan(measured.low) else ""
