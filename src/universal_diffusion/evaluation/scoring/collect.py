"""Step: all systems' scores in one table, `cases.csv` (its columns are told in `evaluation/scoring/cases.py`).

python -m universal_diffusion.evaluation.scoring.collect --parts F... --output F
"""

import argparse
from pathlib import Path

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.scoring.cases import collect, write_cases


@one_line_errors
def main() -> None:
    """Write the table of all systems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=Path, nargs="+", required=True, help="tables of scores, one per system")
    parser.add_argument("--output", type=Path, required=True, help="table to write")
    arguments = parser.parse_args()
    write_cases(arguments.output, collect(arguments.parts))


if __name__ == "__main__":
    main()
