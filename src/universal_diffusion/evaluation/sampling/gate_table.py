"""Step: what the gate saves and what it misses, per variant and target (CSV, Markdown and LaTeX).

python -m universal_diffusion.evaluation.sampling.gate_table --parts F... --cohort TEXT
    --output-csv F --output-md F --output-tex F
"""

import argparse
from pathlib import Path

import pandas as pd

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.sampling.gate_rows import COUNTS, read_rows
from universal_diffusion.segmentation.presets import GATE
from universal_diffusion.systems import system_of
from universal_diffusion.targets import all_targets

ALL = "all targets"
NOTES = (
    "Kept: share of the (axial slice, window) pairs with body that are sampled at all. Saved: share of the network "
    "calls (denoiser steps of one sample in one window) that the study's steps and ensemble would take without the "
    "gate; the gate's own are counted.",
    "Missed: voxels of truth outside what was kept, in per cent of the target's voxels. They can never be found; which "
    "of them would be found without the gate is not counted here.",
    "Lost: cases that hold the target, of which the gate kept no voxel. n: cases in which it is annotated, and of them "
    "those that hold it. Annotated targets only, on the harmonised grid, validation and test cases together.",
    f"The gate is that of `universal-diffusion segment`: every {GATE.every} slices, probability {GATE.threshold:g}, "
    f"{GATE.margin_mm:g} mm; the tables of Dice are made without it. Where the configuration has a gate, it is that "
    "one, and Dice is with it.",
)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per variant and target, and one for all targets together: n, shares, voxels."""
    order = {known.name: number for number, known in enumerate(all_targets())}
    found = []
    for variant, own in rows.groupby("variant", sort=True):
        names = sorted(set(own["target"]), key=order.__getitem__)
        for name, chosen in [*((name, own[own["target"] == name]) for name in names), (ALL, own)]:
            found.append({"variant": variant, "target": name} | _shares(chosen))
    return pd.DataFrame(found)


def _shares(rows: pd.DataFrame) -> dict[str, float]:
    total = rows[COUNTS].sum()
    held = rows["truth_voxels"] > 0
    return {
        "n": len(rows),
        "n_held": int(held.sum()),
        "pairs": total["pairs"],
        "kept": total["kept"] / total["pairs"] if total["pairs"] else float("nan"),
        "calls_saved": 1 - total["gated_calls"] / total["ungated_calls"] if total["ungated_calls"] else float("nan"),
        "truth_voxels": total["truth_voxels"],
        "missed_voxels": total["missed_voxels"],
        "missed": total["missed_voxels"] / total["truth_voxels"] if total["truth_voxels"] else float("nan"),
        "n_lost": int((held & (rows["missed_voxels"] == rows["truth_voxels"])).sum()),
    }


def printed_table(found: pd.DataFrame, cohort: str) -> tables.Printed:
    """A row per target; kept, saved, missed and lost of each variant side by side."""
    first = found[found["variant"] == found["variant"].iloc[0]]
    names = list(first["target"])
    texts = pd.DataFrame({"Target": names})
    texts["n (held)"] = [f"{row.n} ({row.n_held})" for row in first.itertuples()]
    for variant, own in found.groupby("variant", sort=True):
        label, rows = system_of(variant).label, own.set_index("target").loc[names]
        for column, key in (("kept", "kept"), ("saved", "calls_saved")):
            texts[f"{label}: {column}"] = [tables.percent(value, 0) for value in rows[key]]
        texts[f"{label}: missed"] = [tables.percent(value, 2) for value in rows["missed"]]
        texts[f"{label}: lost"] = [str(value) for value in rows["n_lost"]]
    caption = f"What the gate keeps, saves and misses (%), measured here: {cohort}."
    return tables.Printed(texts, tables.unmarked(texts), caption, NOTES, "tab:gate")


@one_line_errors
def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=Path, nargs="+", required=True, help="tables of all variants and shards")
    tables.add_outputs(parser)
    arguments = parser.parse_args()
    found = summary(read_rows(arguments.parts))
    tables.write_outputs(arguments, found, printed_table(found, arguments.cohort))


if __name__ == "__main__":
    main()
