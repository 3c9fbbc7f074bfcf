"""Step: score every prediction of one system against the truth, one row per case and annotated target.

    python -m universal_diffusion.evaluation.scoring.score --predictions DIR... --volumes DIR... --splits F
        --system NAME --results DIR --processes N
        --output-scores F --output-reliability F --output-coverage F --output-inputs F

Truth and prediction meet on the CT's own grid, and once more on the harmonised grid, where the published competitors
were measured. A target that nobody looked for in a case is never scored there. Cases are scored by several processes,
each of which holds the labels of one case and, of one target at a time, its masks and one map; how many processes there
are changes no byte. Beside the scores stands what they were computed from, with the SHA-256 of every file.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from universal_diffusion.checksums import write_with_hash
from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.scoring.case_scores import CaseScores, score_case
from universal_diffusion.evaluation.scoring.cases import COLUMNS as CASES
from universal_diffusion.evaluation.scoring.cases import write_cases
from universal_diffusion.preparation.splits import EVALUATED, SplitRow, read_splits, volumes_of
from universal_diffusion.systems import System, system_of

TARGET = ["source", "case", "part", "target"]
COLUMNS = {
    "reliability": [*TARGET, "bin", "voxels", "probability_sum", "truth_sum"],
    "coverage": [*TARGET, "coverage", "dice"],
    "inputs": ["source", "case", "target", "file", "sha256"],
}


def score_system(
    system: System,
    predictions: Sequence[Path],
    volumes: Sequence[Path],
    splits: Path,
    results: Path,
    processes: int = 1,
) -> CaseScores:
    """The rows of every validation and test case, in the order of `splits`.

    Args:
        predictions, volumes: directories, one per shard or source.
        results: the folder from which files are told.
    """
    table = [row for row in read_splits(splits) if row.part in EVALUATED]
    of_case = partial(score_case, system=system, directories=predictions, results=results)
    cases = list(zip(volumes_of(volumes, table, EVALUATED), table, strict=True))
    together = CaseScores()
    for scores in tqdm(_mapped(of_case, cases, processes), desc=f"score {system.key}", unit="case", total=len(cases)):
        for rows, more in zip(vars(together).values(), vars(scores).values(), strict=True):
            rows.extend(more)
    return together


def _mapped(
    of_case: Callable[[Path, SplitRow], CaseScores], cases: Iterable[tuple[Path, SplitRow]], processes: int
) -> Iterator[CaseScores]:
    """`of_case` of all cases in their order, by one process or several."""
    if processes == 1:
        yield from (of_case(*case) for case in cases)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(of_case, *zip(*cases, strict=True))


def _write(path: Path, rows: list[dict], columns: list[str]) -> None:
    table = pd.DataFrame(rows, columns=columns)
    write_with_hash(path, table.to_csv(index=False, float_format="%.9g", lineterminator="\n"))


@one_line_errors
def main() -> None:
    """Write one system's scores, and what they were computed from."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--predictions", type=Path, nargs="+", required=True, help="directories of predictions, one per shard"
    )
    parser.add_argument("--volumes", type=Path, nargs="+", required=True, help="directories of harmonised volumes")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv, from `split`")
    parser.add_argument("--system", required=True, help="a variant or a baseline")
    parser.add_argument("--results", type=Path, required=True, help="the study's folder, from which files are told")
    parser.add_argument("--processes", type=int, required=True, help="that share the cases")
    parser.add_argument("--output-scores", type=Path, required=True, help="table of scores to write")
    for name in COLUMNS:
        parser.add_argument(f"--output-{name}", type=Path, required=True, help=f"table of {name} to write")
    arguments = parser.parse_args()
    found = score_system(
        system_of(arguments.system),
        arguments.predictions,
        arguments.volumes,
        arguments.splits,
        arguments.results,
        arguments.processes,
    )
    for name, columns in COLUMNS.items():
        _write(getattr(arguments, f"output_{name}"), getattr(found, name), columns)
    write_cases(arguments.output_scores, pd.DataFrame(found.cases, columns=CASES))


if __name__ == "__main__":
    main()
