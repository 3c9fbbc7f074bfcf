"""Benchmark: how long Snakemake takes to plan the paper's study.

python -m universal_diffusion.benchmarks.plan --python F --paper config/paper.yaml --output-csv F
"""

import argparse
import re
import subprocess
from pathlib import Path

import pandas as pd
import yaml

from universal_diffusion.benchmarks.record import seconds, write_record
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.settings import Study, read

REPEATS = 3


def planned_jobs(command: list[str]) -> int:
    """Jobs of a dry run. Raises InputError if it fails."""
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise InputError(" ".join(command), "failed", (run.stdout + run.stderr).strip().splitlines()[-1])
    return int(re.search(r"^total +(\d+)$", run.stdout + run.stderr, re.MULTILINE)[1])


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="the Python that Snakemake is installed in")
    parser.add_argument("--paper", required=True, type=Path, help="the configuration to plan")
    parser.add_argument("--output-csv", required=True, type=Path, help="table to write, a page beside it")
    arguments = parser.parse_args()
    study = read(Study, yaml.safe_load(arguments.paper.read_text(encoding="utf-8")))
    command = [arguments.python, "-m", "snakemake", "-n", "--configfile", str(arguments.paper)]
    row = {
        "configuration": str(arguments.paper),
        "jobs": planned_jobs(command),
        "seconds": seconds(lambda: planned_jobs(command), REPEATS),
    }
    notes = [
        f"`snakemake -n`, median of {REPEATS} runs. {len(study.sources)} sources in {study.shards} shards each: a job "
        "harmonises or segments a shard of cases, so that their number does not enter the plan."
    ]
    write_record(arguments.output_csv, pd.DataFrame([row]), "Planning the paper's study", notes)


if __name__ == "__main__":
    main()
