"""Step: the table of the ceiling - what each mask auto-encoder alone allows any denoiser to reach, per target.

    python -m universal_diffusion.evaluation.beyond.ceiling --cases F... --cohort TEXT
        --output-csv F --output-md F --output-tex F

From the case rows that the auto-encoders' trainings end with, at each of their factors: side by side, they show what a
larger factor f costs the thin targets.
"""

import argparse
from pathlib import Path

import pandas as pd

from universal_diffusion.csv_tables import read_csv
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.targets import all_targets

COLUMNS = ["factor", "source", "case", "target", "dice", "truth_voxels"]
NOTES = (
    "Dice in per cent of the decoded against the encoded mask, on the harmonised grid: mean and least over the "
    "validation cases that hold the target, n of them, copies of a scan counted each. Voxels: their masks' mean size.",
    "f: how many times smaller than the mask its latent is along each axis, with equally many channels. The denoisers "
    "work at the smallest f; the other auto-encoder is trained in as many steps, for this comparison only.",
)


def read_ceiling_cases(path: Path) -> pd.DataFrame:
    """One row per case and target that the case holds, with `COLUMNS`. Raises InputError for a file that is no such."""
    try:
        cases = read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no table of a ceiling ({error})", "train the mask auto-encoder again") from None
    if list(cases.columns) != COLUMNS or cases.empty:
        told = f"has {len(cases)} rows of {list(cases.columns)}, expected some of {COLUMNS}"
        raise InputError(path, told, "train the mask auto-encoder again")
    return cases


def ceilings(cases: pd.DataFrame) -> pd.DataFrame:
    """One row per target and factor: target, factor, n, dice_mean, dice_min, truth_voxels; n is 0 where no case is."""
    found = cases.groupby(["target", "factor"]).agg(
        n=("dice", "size"), dice_mean=("dice", "mean"), dice_min=("dice", "min"), truth_voxels=("truth_voxels", "sum")
    )
    names = [known.name for known in all_targets()]
    factors = sorted(cases["factor"].unique())
    table = found.reindex(pd.MultiIndex.from_product([names, factors], names=found.index.names))
    return table.fillna({"n": 0, "truth_voxels": 0}).astype({"n": int, "truth_voxels": int}).reset_index()


def printed_table(rows: pd.DataFrame, cohort: str) -> tables.Printed:
    """The ceilings with a row per target and two columns per factor."""
    factors = sorted(rows["factor"].unique())
    finest = rows[rows["factor"] == factors[0]]
    texts = pd.DataFrame(
        {
            "Target": finest["target"].to_numpy(),
            "n": finest["n"].astype(str).to_numpy(),
            "Voxels": [f"{row.truth_voxels / row.n:.0f}" if row.n else tables.NOTHING for row in finest.itertuples()],
        }
    )
    for factor in factors:
        of_factor = rows[rows["factor"] == factor]
        for heading, column in (("mean", "dice_mean"), ("least", "dice_min")):
            texts[f"{heading}, f = {factor}"] = [tables.percent(value, 1) for value in of_factor[column]]
    caption = f"What the mask auto-encoder alone allows any denoiser to reach, per target. Cohort: {cohort}."
    return tables.Printed(texts, tables.unmarked(texts), caption, NOTES, "tab:ceiling")


@one_line_errors
def main() -> None:
    """Write the table of ceilings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, nargs="+", required=True, help="ceiling.csv of each mask auto-encoder")
    tables.add_outputs(parser)
    arguments = parser.parse_args()
    rows = ceilings(pd.concat([read_ceiling_cases(path) for path in arguments.cases], ignore_index=True))
    tables.write_outputs(arguments, rows, printed_table(rows, arguments.cohort))


if __name__ == "__main__":
    main()
