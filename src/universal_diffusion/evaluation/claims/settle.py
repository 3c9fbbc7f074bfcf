"""Step: the claims ledger - each claim of the paper that a number can settle, and what this study measured.

    python -m universal_diffusion.evaluation.claims.settle --cases F --splits F --inventory F --cost F --networks F
        --sampling F --table1 F --ceiling F --published F --logs models/VARIANT/log.csv... --sources JSON --weights JSON
        --study-seed N --cohort TEXT --output-csv F --output-md F --output-tex F --output-rows F

`--output-rows` lists what every value was computed from, row by row.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from universal_diffusion.csv_tables import read_csv
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.claims.evidence import Evidence
from universal_diffusion.evaluation.claims.inputs import checked_scores
from universal_diffusion.evaluation.claims.ledger import ledger, ledger_rows, measure_all
from universal_diffusion.evaluation.claims.printed import printed_ledger
from universal_diffusion.evaluation.logs import read_log
from universal_diffusion.evaluation.paper.published import read_published
from universal_diffusion.evaluation.scoring.cases import read_cases
from universal_diffusion.preparation.splits import read_splits
from universal_diffusion.settings import Source, Weights, read

TABLES = {  # of a flag: the columns that are read of it
    "cost": ["space", "encode_image_gflop", "total_gflop"],
    "networks": ["network", "part", "gflop"],
    "sampling": ["mode", "ensemble", "steps", "cases", "dice"],
    "table1": ["dataset", "public_cases"],
    "ceiling": ["source", "case", "target", "dice"],
    "inventory": ["source", "case", "annotated"],
}


def read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """The named columns of a table of this study. Raises InputError for a file without them."""
    try:
        return read_csv(path, columns=columns)
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({error})", f"expected columns {columns}; remake it") from None


def read_evidence(
    files: Mapping[str, Path], logs: Sequence[Path], sources: Mapping, weights: Mapping, study_seed: int
) -> Evidence:
    """All that the ledger measures on. Raises InputError for a file or section that is none of this study's.

    Args:
        files: cases, splits, published and those of `TABLES`, by name.
        logs: models/VARIANT/log.csv of every variant.
        sources, weights: these sections of the configuration.
    """
    read_tables = {name: read_table(files[name], columns) for name, columns in TABLES.items()}
    splits = read_splits(files["splits"])
    return Evidence(
        scores=checked_scores(read_cases(files["cases"]), splits, read_tables["inventory"]),
        **read_tables,
        published={table: read_published(files["published"], table) for table in (1, 2, 3)},
        sources={name: read(Source, content, f"configuration.sources.{name}") for name, content in sources.items()},
        weights=read(Weights, weights, "configuration.weights"),
        splits=splits,
        logs={path.parent.name: read_log(path) for path in logs},
        study_seed=study_seed,
    )


@one_line_errors
def main() -> None:
    """Write the ledger and its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, required=True, help="cases.csv")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv")
    for name, columns in TABLES.items():
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"table with {', '.join(columns)}")
    parser.add_argument("--published", type=Path, required=True, help="the paper's printed figures")
    parser.add_argument("--logs", type=Path, nargs="+", required=True, help="log.csv of each variant's training")
    parser.add_argument("--sources", required=True, help="JSON of the section `sources`")
    parser.add_argument("--weights", required=True, help="JSON of the section `weights`")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    tables.add_outputs(parser)
    parser.add_argument("--output-rows", type=Path, required=True, help="CSV of the rows behind every value")
    arguments = parser.parse_args()
    evidence = read_evidence(
        {name: getattr(arguments, name) for name in ("cases", "splits", "published", *TABLES)},
        arguments.logs,
        json.loads(arguments.sources),
        json.loads(arguments.weights),
        arguments.study_seed,
    )
    found = measure_all(evidence)
    rows = ledger(found)
    tables.write_outputs(arguments, rows, *printed_ledger(rows, arguments.cohort))
    tables.write_csv(arguments.output_rows, ledger_rows(found))


if __name__ == "__main__":
    main()
