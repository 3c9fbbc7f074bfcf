"""The checks: from what was measured of the cases to findings.

Each check reads the tables of `inventory` and `measure` and yields findings; none opens a volume.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from universal_diffusion.native_hu import EDGES
from universal_diffusion.preparation.quality.findings import Finding, finding, in_order
from universal_diffusion.preparation.quality.limits import limits
from universal_diffusion.targets import target

IN_PLANE_MM, SLICE_MM = (0.3, 2.0), (0.3, 10.0)
IN_PLANE_EXTENT_MM, HEIGHT_MM = (200.0, 700.0), (100.0, 2000.0)
SOFT_HU = (-150.0, 120.0)  # median of fat and soft tissue, from an obese patient to late enhancement
AIR_HU, PADDING_HU, BONE_HU = -500, -1060, 300
PADDING_SHARE = 0.01
SIDE_MM = 10.0  # from the mid-line, within which an organ lies on neither side
RESAMPLED = 0.01
INSIDE_PARENTS, ASTRAY = 0.95, 0.01


def check(inventory: pd.DataFrame, scans: pd.DataFrame, targets: pd.DataFrame) -> list[Finding]:
    """Findings about cases, in order.

    Args:
        inventory: a row per case (`inventory.row`).
        scans, targets: a row per `measures.ScanMeasures` and per `measures.TargetMeasures`.
    """
    found = [hit for scan in scans.itertuples() for hit in scan_findings(scan)]
    rows = with_volumes(inventory, targets)
    by_case = dict(list(rows.groupby(["source", "case"])))
    for scan in scans.itertuples():
        found += case_findings(scan.source, scan.case, by_case.get((scan.source, scan.case), rows.iloc[:0]))
    return in_order(found)


def with_volumes(inventory: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """`targets` with the columns `native_ml` and `harmonised_ml` of the inventory."""
    cases = inventory.set_index(["source", "case"])
    keys = list(zip(targets["source"], targets["case"], strict=True))
    slugs = [target(name).slug for name in targets["target"]]
    volumes = {
        column: [float(cases.at[key, f"{slug}{end}"]) for key, slug in zip(keys, slugs, strict=True)]
        for column, end in (("native_ml", "_native_ml"), ("harmonised_ml", "_ml"))
    }
    grid_ml = cases["spacing_mm"].map(lambda text: float(np.prod([float(edge) for edge in text.split(" x ")])) / 1000)
    return targets.assign(**volumes, voxel_ml=[grid_ml[key] for key in keys])


def scan_findings(scan) -> Iterator[Finding]:
    """Checks of one row of `scans`: spacing, field of view, Hounsfield units."""
    where = (scan.source, scan.case, "")
    spacing = [scan.right_mm, scan.front_mm, scan.up_mm]
    printed = " x ".join(f"{edge:.3g}" for edge in spacing) + " mm"
    if np.allclose(spacing, 1.0, atol=1e-6):
        yield finding(*where, "forced spacing", printed, "the scanner's spacing, not 1 mm along every axis")
    if not (_within(min(spacing[:2]), IN_PLANE_MM) and _within(max(spacing[:2]), IN_PLANE_MM)):
        yield finding(*where, "spacing", printed, "{:g} to {:g} mm in the slice".format(*IN_PLANE_MM))
    if not _within(scan.up_mm, SLICE_MM):
        yield finding(*where, "spacing", printed, "{:g} to {:g} mm between slices".format(*SLICE_MM))
    extent = [scan.extent_right_mm, scan.extent_front_mm, scan.extent_up_mm]
    printed = " x ".join(f"{edge:.0f}" for edge in extent) + " mm"
    if not all(_within(edge, IN_PLANE_EXTENT_MM) for edge in extent[:2]):
        yield finding(*where, "field of view", printed, "{:g} to {:g} mm in the slice".format(*IN_PLANE_EXTENT_MM))
    if not _within(scan.extent_up_mm, HEIGHT_MM):
        yield finding(*where, "field of view", printed, "{:g} to {:g} mm from foot to head".format(*HEIGHT_MM))
    if not _within(scan.soft_hu, SOFT_HU):
        yield finding(
            *where, "hounsfield", f"{scan.soft_hu:.0f} HU", "{:g} to {:g} HU in fat and soft tissue".format(*SOFT_HU)
        )
    yield from _range_findings(where, np.array(str(scan.native_hu).split("|"), np.int64))


def _range_findings(where: tuple[str, str, str], counts: np.ndarray) -> Iterator[Finding]:
    """Checks of the native Hounsfield units, where they were counted."""
    occupied = np.flatnonzero(counts)
    if not occupied.size:
        return
    lowest, highest = EDGES[occupied[0]], EDGES[occupied[-1] + 1]
    padding = counts[EDGES[1:] <= PADDING_HU].sum() / counts.sum()
    if lowest >= AIR_HU:
        yield finding(*where, "hounsfield", f"lowest value {lowest:g} HU or above", "air near -1000 HU")
    if padding >= PADDING_SHARE:
        yield finding(*where, "padding", f"{padding:.0%} below {PADDING_HU} HU", f"less than {PADDING_SHARE:.0%}")
    if highest <= BONE_HU:
        yield finding(*where, "clipped", f"highest value {highest:g} HU or below", f"bone above {BONE_HU} HU")


def case_findings(source: str, case: str, rows: pd.DataFrame) -> Iterator[Finding]:
    """Checks of one case's targets (`with_volumes`)."""
    if not (rows["native_ml"] > 0).any():
        yield finding(source, case, "", "no label", f"0 ml in {len(rows)} annotated targets", "at least one label")
    yield from _side_findings(source, case, rows)
    for row in rows.itertuples():
        where, limit = (source, case, row.target), limits()[row.target]
        if row.native_ml == 0:
            kind = "empty" if limit.empty == "suspicious" else "true absence"
            yield finding(
                *where,
                kind,
                "0 ml",
                "a label, as everyone has it" if kind == "empty" else "may be absent, or outside the scan",
            )
            continue
        if row.native_ml > limit.high_ml or (row.native_ml < limit.low_ml and not row.cut):
            yield finding(*where, "volume", f"{rounded(row.native_ml)} ml", f"{_range(limit.low_ml, limit.high_ml)} ml")
        if not _within(row.median_hu, (limit.hu_low, limit.hu_high)):
            expected = f"{_range(limit.hu_low, limit.hu_high)} HU"
            yield finding(*where, "hounsfield", f"median {row.median_hu:.0f} HU", expected)
        if abs(row.harmonised_ml - row.native_ml) > max(RESAMPLED * row.native_ml, row.voxel_ml):
            change = row.harmonised_ml / row.native_ml - 1
            yield finding(
                *where, "resampling", f"{change:+.1%} of {rounded(row.native_ml)} ml", f"within {RESAMPLED:.0%}"
            )
        if row.inside_parents < INSIDE_PARENTS:
            expected = f"{INSIDE_PARENTS:.0%} or more in {' or '.join(target(row.target).parents)}"
            yield finding(*where, "parents", f"{row.inside_parents:.0%}", expected)
        if row.astray > ASTRAY:
            yield finding(*where, "astray", f"{row.astray:.0%} far outside the body", f"at most {ASTRAY:.0%}")
        if row.components > limit.components:
            yield finding(*where, "fragments", f"{row.components} pieces", f"at most {limit.components}")


def _side_findings(source: str, case: str, rows: pd.DataFrame) -> Iterator[Finding]:
    """Organs on the wrong side: "mirrored" where that is every organ with a side, "side" for each one otherwise."""
    sided = [
        (row.target, limits()[row.target].side, row.right_of_spine_mm)
        for row in rows.itertuples()
        if limits()[row.target].side and abs(row.right_of_spine_mm) > SIDE_MM
    ]
    wrong = [(name, side, mm) for name, side, mm in sided if (mm > 0) != (side == "right")]
    if wrong and len(wrong) == len(sided):
        names = ", ".join(f"{name} {abs(mm):.0f} mm to the {_opposite(side)}" for name, side, mm in wrong)
        yield finding(source, case, "", "mirrored", names, "each on its own side of the spine")
    else:
        for name, side, mm in wrong:
            value = f"{abs(mm):.0f} mm to the {_opposite(side)} of the spine"
            yield finding(source, case, name, "side", value, f"on the {side}")


def rounded(figure: float) -> str:
    """Three digits, without an exponent."""
    return f"{figure:.0f}" if figure >= 100 else f"{figure:.3g}"


def _opposite(side: str) -> str:
    return "left" if side == "right" else "right"


def _within(value: float, bounds: tuple[float, float]) -> bool:
    """Is the value in the range? What was not measured is."""
    return bool(np.isnan(value) or bounds[0] <= value <= bounds[1])


def _range(low: float, high: float) -> str:
    if np.isinf(low):
        return f"at most {high:g}"
    return f"{low:g} or more" if np.isinf(high) else f"{low:g} to {high:g}"
