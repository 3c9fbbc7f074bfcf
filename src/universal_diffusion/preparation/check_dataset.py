"""Everything about an own dataset that is worth knowing before a study: its cases, its labels, and all that is wrong.

`check` reads every case as the study will, and goes on after a case that it cannot use.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from universal_diffusion.datasets.base import Case
from universal_diffusion.datasets.own.cases import find
from universal_diffusion.datasets.own.description import DESCRIPTION, parse
from universal_diffusion.datasets.own.reader import OwnReader
from universal_diffusion.errors import InputError
from universal_diffusion.preparation.fingerprints import prints
from universal_diffusion.preparation.leakage import patient_groups
from universal_diffusion.preparation.repeats import PRINTED, repeats
from universal_diffusion.targets import mask
from universal_diffusion.volumes import Grid

RIGHT_OF = (  # of the first lies the second to the patient's right in everybody but those with situs inversus
    ("spleen", "liver"),
    ("left kidney", "right kidney"),
    ("left adrenal gland", "right adrenal gland"),
    ("left head of femur", "right head of femur"),
)
USE = "a study reads it by a line under `sources:`, e.g. my_hospital: {origin: local, role: train, path: FOLDER}"
MEASURED = ["case", "target", "voxels", "ml", "right_mm"]


@dataclass(frozen=True)
class Report:
    """What was found: a row per case and annotated target in `targets`, columns `MEASURED`; a text per case."""

    title: str
    cases: tuple[str, ...]
    targets: pd.DataFrame
    warnings: tuple[str, ...]
    problems: tuple[str, ...]


def check(folder: Path) -> Report:
    """Read the description and every case of the dataset in `folder`; what cannot be used is among the problems."""
    description, problems = parse(folder)
    if description is None:
        return Report(str(folder), (), pd.DataFrame(columns=MEASURED), (), tuple(map(str, problems)))
    entry, found = description.entry(folder.resolve().name), find(folder, description)
    problems = list(found.problems)
    reader, lines, rows, scans = OwnReader(entry, description, folder, found.cases), [], [], []
    for name in tqdm(reader.cases(), desc="check", unit="case", file=sys.stderr):
        try:
            case = reader.read(name)
            told = prints(case.image, name)
        except InputError as error:
            problems.append(error)
            continue
        scans.append((entry.key, name, told.fingerprint, told.slice_prints))
        mine = measured(case)
        lines.append(_line(case, mine))
        rows += mine
    targets = pd.DataFrame(rows, columns=MEASURED)
    warnings = [*_warnings(targets), *_copies(scans), *_unused(found.unused)]
    if not problems:
        warnings += _missing(targets, entry.annotated)
    return Report(description.title or str(folder), tuple(lines), targets, tuple(warnings), tuple(map(str, problems)))


def measured(case: Case) -> list[tuple[str, str, int, float, float]]:
    """The `MEASURED` columns of every annotated target; `right_mm` is its centre's x in RAS millimetres."""
    voxel_ml, rows = Grid(case.image.shape, case.affine).voxel_ml, []
    for name in case.annotated:
        places = np.argwhere(mask(case.labels, name))
        centre = (case.affine @ [*places.mean(axis=0), 1])[0] if len(places) else np.nan
        rows.append((case.case, name, len(places), len(places) * voxel_ml, float(centre)))
    return rows


def printed(report: Report) -> str:
    """The report as the command line shows it."""
    blocks = [
        f"{report.title}: {_counted(report.cases, 'readable case')}",
        "\n".join(report.cases),
        summary(report.targets),
    ]
    blocks.append("\n".join(f"warning: {text}" for text in report.warnings))
    blocks.append("\n".join(f"problem: {text}" for text in report.problems))
    counts = f"{_counted(report.problems, 'problem')}, {_counted(report.warnings, 'warning')}"
    verdict = "correct the problems and check again" if report.problems else f"ready; {USE}"
    return "\n\n".join(block for block in [*blocks, f"{counts}: {verdict}"] if block)


def summary(targets: pd.DataFrame) -> str:
    """A line per target: in how many cases it was looked for and found, and the volumes where it was found."""
    if targets.empty:
        return ""
    lines = [f"{'target':28s} annotated  present  least ml  median ml   most ml       voxels"]
    for name, group in targets.groupby("target", sort=False):
        ml = group["ml"][group["voxels"] > 0]
        volumes = "".join(f"{value:10.1f} " for value in (ml.min(), ml.median(), ml.max())) if len(ml) else " " * 33
        lines.append(f"{name:28s} {len(group):9d}  {len(ml):7d}{volumes}{group['voxels'].sum():12d}")
    return "\n".join(lines)


def _line(case: Case, rows: Sequence[tuple[str, str, int, float, float]]) -> str:
    shape = " x ".join(map(str, case.image.shape))
    spacing = " x ".join(f"{edge:.2f}" for edge in Grid(case.image.shape, case.affine).spacing_mm)
    found = [f"{name} {ml:.1f} ml ({voxels})" if voxels else f"{name} absent" for _, name, voxels, ml, _ in rows]
    return f"{case.case}: {shape} voxels of {spacing} mm; {', '.join(found)}"


def _warnings(targets: pd.DataFrame) -> list[str]:
    read = targets["case"].nunique()
    told = ["a single case: as a training source it leaves none to validate on"] if read == 1 else []
    drawn = targets.groupby("case", sort=False)["voxels"].sum()
    told += [
        f"{case}: no target is drawn in it, though all of them count as looked for" for case in drawn.index[drawn == 0]
    ]
    centres = targets.pivot(index="case", columns="target", values="right_mm")
    for left, right in RIGHT_OF:
        if {left, right} <= set(centres.columns):
            for case in centres.index[centres[right] < centres[left]]:
                told.append(
                    f"{case}: the {right} lies to the left of the {left}: swapped labels, or a header that mirrors the "
                    f"patient (then name the case under `mirrored` of the source)"
                )
    return told


def _copies(scans: Sequence[tuple[str, str, str, np.ndarray]]) -> list[str]:
    """A text per group of copies, found as the study's leakage audit finds them; `scans` are rows of `PRINTED`."""
    if not scans:
        return []
    pairs = repeats(pd.DataFrame(scans, columns=PRINTED))
    edges = [((row.source, row.case), (row.other_source, row.other_case)) for row in pairs.itertuples()]
    groups = defaultdict(list)
    for (_, case), group in patient_groups({scan[:2]: f"{n:016d}" for n, scan in enumerate(scans)}, edges).items():
        groups[group].append(case)
    partly = {case for row in pairs[~pairs["identical"]].itertuples() for case in (row.case, row.other_case)}
    return [
        f"{', '.join(names)} are the same scan{'; some are cropped or have other HU' * bool(partly & set(names))}"
        for names in groups.values()
        if len(names) > 1
    ]


def _missing(targets: pd.DataFrame, annotated: Sequence[str]) -> list[str]:
    present = set(targets["target"][targets["voxels"] > 0])
    return [
        f"no case holds {name}, though {DESCRIPTION} maps a label to it" for name in annotated if name not in present
    ]


def _unused(paths: Sequence[object]) -> list[str]:
    listed = f"{', '.join(map(str, paths[:5]))}{' ...' if len(paths) > 5 else ''}"
    return [f"not used, as they match neither pattern: {listed} ({_counted(paths, 'NIfTI file')})"] if paths else []


def _counted(items: Sequence[object], what: str) -> str:
    return f"{len(items)} {what}{'' if len(items) == 1 else 's'}"
