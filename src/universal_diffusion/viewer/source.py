"""What a page is made from: the report of a result, checked, and the very CT that was segmented."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from universal_diffusion.errors import InputError
from universal_diffusion.segmentation.inputs.ct import CT
from universal_diffusion.segmentation.inputs.ct_hash import ct_sha256
from universal_diffusion.segmentation.inputs.ct_input import read_ct
from universal_diffusion.segmentation.report import REPORT, read_report

NUMBER = int | float | None
CONTENT = {
    "version": str,
    "seed": int,
    "ct": {"path": str},
    "identity": {"ct_sha256": str},
    "model": {"path": str, "card": {"cohort": str}},
    "sampling": {"sampler": str, "steps": int, "ensemble": int},
    "targets": {},
}
OF_TARGET = {"voxels": int, "volume_ml": NUMBER, "volume_sd_ml": NUMBER, "uncertainty": NUMBER}


def result_report(result: Path) -> dict:
    """The report in a result folder, with all that the page says of it.

    Raises:
        InputError: there is none, or it is none of this program.
    """
    remedy = "give the folder that `universal-diffusion segment` wrote"
    if not (result / REPORT).is_file():
        raise InputError(result, f"holds no {REPORT}", remedy)
    report = read_report(result)
    if report is None:
        raise InputError(result / REPORT, "cannot be read as JSON", remedy)
    missing = list(_missing(report, CONTENT))
    if not missing:
        missing = list(_missing(report["targets"], dict.fromkeys(report["targets"], OF_TARGET), "targets."))
    if missing or not report["targets"]:
        lacks = ", ".join(missing[:3]) or "targets"
        raise InputError(result / REPORT, f"is no report of universal-diffusion (it lacks {lacks})", remedy)
    return report


def segmented_ct(result: Path, report: Mapping, ct: CT | None) -> CT:
    """`ct` if it is the one that was segmented; read again from where it was, the same DICOM series, when None.

    Raises:
        InputError: it is not where it was, or has other voxels or another place than the one segmented.
    """
    series = report["ct"].get("series")
    if ct is None:
        path = Path(report["ct"]["path"])
        if not path.exists():
            problem = "is not there any more, the result was made from it"
            raise InputError(path, problem, "say where it is now with --ct")
        ct = read_ct(path, series)
    if ct_sha256(ct) != report["identity"]["ct_sha256"]:
        made_from = f"the one that {result / REPORT} was made from, {report['ct']['path']}"
        which = f" and --series {series}" if series else ""
        raise InputError(ct.path, f"is another CT than {made_from} (its voxels differ)", f"give that with --ct{which}")
    return ct


def _missing(content: Mapping, wanted: Mapping, within: str = "") -> Iterator[str]:
    """Names of what `content` lacks, or holds as something else."""
    for key, kind in wanted.items():
        held = content.get(key)
        if key not in content or not isinstance(held, dict if isinstance(kind, dict) else kind):
            yield f"{within}{key}"
        elif isinstance(kind, dict):
            yield from _missing(held, kind, f"{within}{key}.")
