"""Picture sheets that a person can look through: every case of a dataset, or as many as one looks at, worst first."""

import math
from collections.abc import Iterator, Mapping, Sequence

from matplotlib.figure import Figure

from universal_diffusion.preparation.pictures import Tile, sheet, views
from universal_diffusion.preparation.quality.findings import SEVERITIES, Finding
from universal_diffusion.targets import mask
from universal_diffusion.volumes import Volume

CASES, SHEETS = 24, 4  # cases a sheet, sheets a dataset
ACROSS = 4  # cases a row
PICTURE_INCH = 2.5
DOTS_PER_INCH = 100

Key = tuple[str, str]  # source and case


def pictured(cases: Sequence[Key], findings: Mapping[Key, Sequence[Finding]]) -> list[Key]:
    """The cases to show: those with errors and warnings first, then others at even steps through the dataset.

    Args:
        cases: of one dataset, in natural order.
        findings: what was found in them.
    """
    grave = [key for key in cases if _grave(findings.get(key, ()))]
    grave.sort(key=lambda key: min(SEVERITIES.index(hit.severity) for hit in findings[key]))
    others = [key for key in cases if not _grave(findings.get(key, ()))]
    room = min(max(0, CASES * SHEETS - len(grave)), len(others))
    return [*grave[: CASES * SHEETS], *(others[len(others) * k // room] for k in range(room))]


def tile(volume: Volume, findings: Sequence[Finding]) -> Tile:
    """A case's pictures, through the largest section of the first target with an error or a warning if there is one."""
    grave = _grave(findings)
    at_fault = next((hit.target for hit in grave if hit.target and mask(volume.labels, hit.target).any()), None)
    remark = "; ".join(dict.fromkeys(f"{hit.kind} {hit.target}".strip() for hit in grave))
    return Tile(f"{volume.source} {volume.case}", remark, views(volume, at_fault))


def sheets(tiles: Sequence[Tile], title: str) -> Iterator[Figure]:
    """The tiles on as many sheets as they need, up to `CASES` on each."""
    count = math.ceil(len(tiles) / CASES)
    for number in range(count):
        page = tiles[CASES * number : CASES * (number + 1)]
        yield sheet(page, f"{title} (sheet {number + 1} of {count})", ACROSS, PICTURE_INCH)


def _grave(findings: Sequence[Finding]) -> list[Finding]:
    return [hit for hit in findings if hit.severity != "note"]
