"""What is known of the variants' uncertainty: their scores, and the rows behind reliability and coverage."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from universal_diffusion.csv_tables import read_csv
from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.patients import Patients, read_patients
from universal_diffusion.evaluation.scoring.calibration import BINS, COVERAGES
from universal_diffusion.evaluation.scoring.cases import of_system, read_cases
from universal_diffusion.settings import Segmentation, read_json
from universal_diffusion.systems import VARIANTS, System

MASK = ["source", "case", "target"]  # what tells one mask of a variant from another
RELIABILITY = ("bin", "voxels", "probability_sum", "truth_sum")
COVERAGE = ("coverage", "dice")
STEPS = {"bin": list(range(BINS)), "coverage": sorted(COVERAGES)}


@dataclass(frozen=True)
class Judged:
    """One variant's masks, whatever their Dice; the same masks in all three tables.

    Attributes:
        system: the variant.
        masks: rows of `cases.csv` with a column `patient`.
        reliability: patient, source, case, part, target, bin, voxels, probability_sum, truth_sum.
        coverage: patient, source, case, part, target, coverage, dice.
    """

    system: System
    masks: pd.DataFrame
    reliability: pd.DataFrame
    coverage: pd.DataFrame

    def only(self, column: str, value: str) -> "Judged":
        """The masks whose `part` or `target` is that one."""
        tables = (self.masks, self.reliability, self.coverage)
        return Judged(self.system, *(table[table[column] == value] for table in tables))


def read_judged(cases: Path, reliability: Sequence[Path], coverage: Sequence[Path], splits: Path) -> list[Judged]:
    """Every variant, in the order of `VARIANTS`; the order of the files' rows changes nothing.

    Args:
        reliability, coverage: tables of all variants, each named `<variant>.csv`.

    Raises:
        InputError: a variant's table is missing or damaged, or is not of the masks in `cases`.
    """
    scores, patients = read_cases(cases), read_patients(splits)
    return [
        judged_of(system, scores, patients, _path(reliability, system), _path(coverage, system)) for system in VARIANTS
    ]


def judged_of(system: System, scores: pd.DataFrame, patients: Patients, reliability: Path, coverage: Path) -> Judged:
    """One variant, from all systems' `scores` and its own two tables. Raises as `read_judged`."""
    masks = of_system(scores, system)
    tables = [_rows(reliability, masks, RELIABILITY), _rows(coverage, masks, COVERAGE)]
    ordered = (table.sort_values(MASK, kind="stable") for table in (masks, *tables))
    return Judged(system, *map(patients.named, ordered))


def _path(paths: Sequence[Path], system: System) -> Path:
    by_name: Mapping[str, Path] = {path.stem: path for path in paths}
    if system.key not in by_name:
        raise InputError(f"{system.key}.csv", "is not among the tables given", "run rule `score` for every variant")
    return by_name[system.key]


def _rows(path: Path, masks: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """A long table, checked: every mask once at every bin or coverage."""
    remedy = "run rule `score` again"
    expected = [*MASK[:2], "part", MASK[2], *columns]
    step = columns[0]
    try:
        rows = read_csv(path, {"part": str, **dict.fromkeys(columns, float)})
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no table of scores ({error})", remedy) from None
    if list(rows.columns) != expected:
        raise InputError(path, f"has columns {list(rows.columns)}, expected {expected}", remedy)
    rows = rows.sort_values(step, kind="stable")
    steps = rows.groupby(MASK)[step].agg(list)
    odd = [name for name, found in steps.items() if found != STEPS[step]]
    odd += sorted(set(steps.index) ^ set(masks[MASK].itertuples(index=False, name=None)))
    if odd:
        told = f"does not hold {'/'.join(odd[0])} as `cases.csv` does, once for every {step}"
        raise InputError(path, told, remedy)
    return rows


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Give a step the flags that `read_inputs` reads."""
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv, from `collect`")
    parser.add_argument("--reliability", type=Path, nargs="+", required=True, help="<variant>.csv of every variant")
    parser.add_argument("--coverage", type=Path, nargs="+", required=True, help="<variant>.csv of every variant")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv, from `split`")
    parser.add_argument("--settings", required=True, help="JSON of the section `segmentation`")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")


def read_inputs(arguments: argparse.Namespace) -> tuple[list[Judged], str]:
    """All variants, and how they were sampled, in words."""
    judged = read_judged(arguments.cases, arguments.reliability, arguments.coverage, arguments.splits)
    return judged, described(read_json(Segmentation, arguments.settings, "configuration.segmentation"))


def described(sampling: Segmentation) -> str:
    """Ensemble size, steps, sampler and what was left unsampled, in words."""
    sampler = {"ddim": f"DDIM, eta {sampling.eta:g}", "ancestral": "ancestral"}[sampling.sampler]
    samples, steps = (
        f"{count} {name}{'s' if count > 1 else ''}"
        for count, name in ((sampling.ensemble, "sample"), (sampling.steps, "step"))
    )
    gate = "no gate" if sampling.gate is None else "behind a gate"
    warm = "" if sampling.warm_start is None else f", warm start at step {sampling.warm_start}"
    return f"ensemble of {samples}, {steps} each ({sampler}), {gate}{warm}"


def counted(judged: Judged) -> str:
    """How many masks with a Dice, of how many targets and patients."""
    scored = judged.masks[judged.masks["dice"].notna()]
    counts = len(scored), scored["target"].nunique(), scored["patient"].nunique()
    return ", ".join(
        f"{count} {name}{'s' if count != 1 else ''}"
        for count, name in zip(counts, ("mask", "target", "patient"), strict=True)
    )
