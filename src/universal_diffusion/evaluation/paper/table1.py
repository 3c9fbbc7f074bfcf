"""Step: Table 1, the aggregated dataset: what the paper counts, what is public, what this study read.

python -m universal_diffusion.evaluation.paper.table1 --inventory F --splits F --published F --own DIR... --cohort TEXT
    --output-csv F --output-md F --output-tex F
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from universal_diffusion.csv_tables import read_csv
from universal_diffusion.datasets.catalogue import Entry, entry, in_order, sources
from universal_diffusion.datasets.own.source import entry_of
from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.paper.published import printed, read_published
from universal_diffusion.preparation.splits import SplitRow, read_splits

PARTS = ("train", "validation", "test", "excluded")
COUNTS = [f"{prefix}{what}" for what in ("cases", "structures") for prefix in ("paper_", "public_", "")]
HEADINGS = {
    "title": "Dataset",
    "paper_cases": "Cases (paper)",
    "public_cases": "Cases (public, labelled)",
    "cases": "Cases (this study)",
    "patients": "Patients (this study)",
    "paper_structures": "Structures (paper)",
    "public_structures": "Structures (public)",
    "structures": "Structures (this study)",
    "use": "Train / validation / test / left out",
    "licence": "Licence",
    "reason": "Why they differ",
}
LEFT_OUT = "Left out: scans that also stand in the test set, found by comparing voxels."
PATIENTS = "Patients: scans that are copies of one another, found by comparing voxels, count once within a dataset."
STRUCTURES = "Structures are counted among the 29 targets, sides apart."


def dataset_rows(
    inventory: pd.DataFrame, splits: Sequence[SplitRow], figures: pd.DataFrame, own: Sequence[Entry] = ()
) -> pd.DataFrame:
    """One row per dataset of the paper's table, in its order, then the others of this study; columns of `HEADINGS`.

    Args:
        inventory: a row per case with dataset, source, case and annotated (names joined by "|").
        splits: the part and the patient of each case.
        figures: the printed table (`published.read_published`).
        own: entries of datasets that the catalogue does not list.
    """
    paper, entries = printed(figures), [*map(entry, sources()), *own]
    places = {(row.source, row.case): row for row in splits}
    others = [name for name in inventory["dataset"].unique() if name not in paper.index]
    rows = pd.DataFrame(
        [
            _row(name, [known for known in entries if known.dataset == name], inventory, places, paper)
            for name in [*paper.index, *others]
        ]
    )
    return rows.astype(dict.fromkeys([*COUNTS, "patients"], "Int64"))


def _row(
    dataset: str,
    entries: list[Entry],
    inventory: pd.DataFrame,
    places: Mapping[tuple[str, str], SplitRow],
    paper: pd.DataFrame,
) -> dict:
    cases = inventory[inventory["dataset"] == dataset]
    in_paper, public = dataset in paper.index, [known for known in entries if known.cases is not None]
    public_cases = sum(known.cases for known in public) if public else None
    public_structures = len(_union(known.annotated for known in public)) if public else None
    structures = len(_union(str(names).split("|") for names in cases["annotated"]))
    split = [places[key] for key in zip(cases["source"], cases["case"], strict=True) if key in places]
    use = [row.part for row in split]
    return {
        "dataset": dataset,
        "title": entries[0].dataset_title,
        "paper_cases": int(paper.loc[dataset, "cases"]) if in_paper else pd.NA,
        "public_cases": pd.NA if public_cases is None else public_cases,
        "cases": len(cases),
        "patients": len({row.group for row in split}),
        "paper_structures": int(paper.loc[dataset, "structures"]) if in_paper else pd.NA,
        "public_structures": pd.NA if public_structures is None else public_structures,
        "structures": structures,
        **{part: use.count(part) for part in PARTS},
        "licence": entries[0].licence,
        "reason": _reason(entries[0], (public_cases, len(cases)), (public_structures, structures)),
    }


def _union(names: Iterable[Iterable[str]]) -> set[str]:
    return {name for group in names for name in group if name}


def _reason(known: Entry, cases: tuple[int | None, int], structures: tuple[int | None, int]) -> str:
    """Why the paper, the public set and this study differ; `cases` and `structures` are the public count and ours."""
    fewer = f"this study runs on {_counted(cases[1], 'case')}" if cases[0] not in (cases[1], None) else ""
    other = (
        f"its cases hold {_counted(structures[1], 'structure')}" if structures[0] not in (structures[1], None) else ""
    )
    return "; ".join(filter(None, [known.reason, fewer, other]))


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"


def patients_by_organ(inventory: pd.DataFrame) -> str:
    """What the printed table says of the test set, which annotates other structures in each patient."""
    names = [name for text in inventory.loc[inventory["dataset"] == "ircadb", "annotated"] for name in text.split("|")]
    listed = ", ".join(f"{name} {names.count(name)}" for name in in_order(names))
    return f"Patients of 3D-IRCADb in which each structure is annotated: {listed or 'none'}; the others are unknown."


def printed_table(rows: pd.DataFrame, cohort: str, *notes: str) -> tables.Printed:
    """The rows as the paper prints them, with a line of sums over the paper's rows, and further notes below."""
    texts = rows.assign(use=rows[list(PARTS)].astype(str).agg(" / ".join, axis=1))
    in_paper = rows[rows["paper_cases"].notna()]
    totals = {column: in_paper[column].sum() for column in ("paper_cases", "public_cases", "cases")}
    texts = pd.concat([texts, pd.DataFrame([totals | {"title": "Sum of the paper's rows"}])], ignore_index=True)
    texts = texts.astype(dict.fromkeys([*COUNTS, "patients"], "Int64"))
    texts = texts[list(HEADINGS)].astype(object).where(texts[list(HEADINGS)].notna(), tables.NOTHING).map(str)
    texts = texts.rename(columns=HEADINGS)
    caption = f"Table 1: Statistics of the aggregated dataset. This study's columns: {cohort}."
    return tables.Printed(
        texts, tables.unmarked(texts), caption, (PATIENTS, STRUCTURES, LEFT_OUT, *notes), "tab:datasets"
    )


@one_line_errors
def main() -> None:
    """Write Table 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in ("--inventory", "--splits", "--published"):
        parser.add_argument(flag, type=Path, required=True)
    parser.add_argument("--own", type=Path, nargs="*", default=[], help="native folders outside the catalogue")
    tables.add_outputs(parser)
    arguments = parser.parse_args()
    splits = read_splits(arguments.splits)
    inventory = read_csv(arguments.inventory, str)
    own = [entry_of(folder.name, folder) for folder in arguments.own]
    rows = dataset_rows(inventory, splits, read_published(arguments.published, 1), own)
    table = printed_table(rows, arguments.cohort, patients_by_organ(inventory))
    tables.write_outputs(arguments, rows, table)


if __name__ == "__main__":
    main()
