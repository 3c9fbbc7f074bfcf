"""Step: the quality report: findings, and for each dataset a page, a figure and picture sheets.

python -m universal_diffusion.preparation.quality.report --inventory F --measures DIR... --counts F --structures F
    --volumes DIR... --settings JSON --cohort TEXT --output DIR
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from tqdm import tqdm

from universal_diffusion.csv_tables import read_csv
from universal_diffusion.datasets import catalogue
from universal_diffusion.errors import one_line_errors
from universal_diffusion.files import whole_file, write_text
from universal_diffusion.preparation.folders import whole_folder
from universal_diffusion.preparation.pictures import Tile
from universal_diffusion.preparation.quality import figures, sheets
from universal_diffusion.preparation.quality.checks import check, with_volumes
from universal_diffusion.preparation.quality.findings import Finding, finding, in_order
from universal_diffusion.preparation.quality.measure import SCANS, TARGETS, write_table
from universal_diffusion.preparation.quality.structures import EMPTY, SOURCE, UNKNOWN, Structure, read_structures
from universal_diffusion.preparation.quality.text import Dataset, page
from universal_diffusion.settings import Preparation, read_json
from universal_diffusion.volumes import VolumeFile


def count_findings(inventory: pd.DataFrame, counts: pd.DataFrame) -> Iterator[Finding]:
    """Sources without the number of cases that the catalogue gives, datasets without that of the paper's Table 1."""
    for source, cases in inventory.groupby("source").size().items():
        public = catalogue.entry(source).cases if source in catalogue.sources() else cases
        if cases != public:
            kind = "cases" if cases < public else "too many cases"
            yield finding(source, "", "", kind, f"cases: {cases}", f"{public} in the public release")
    for dataset, cases in inventory.groupby("dataset"):
        row = counts.loc[dataset]
        if row["paper_cases"] and int(row["paper_cases"]) != len(cases):
            value = f"cases of {row['title']}: {len(cases)} ({row['reason']})"
            yield finding(
                cases["source"].iloc[0], "", "", "cases", value, f"{row['paper_cases']} in the paper's Table 1"
            )


def structure_findings(structures: Sequence[Structure]) -> Iterator[Finding]:
    """Mask folders of 3D-IRCADb that the catalogue does not know, and those of targets that mark nothing."""
    for one in structures:
        if one.state == UNKNOWN:
            yield finding(SOURCE, one.case, "", "unknown structure", f"folder {one.folder}", "a name of the catalogue")
        elif one.state == EMPTY:
            yield finding(SOURCE, one.case, "", "empty structure", f"folder {one.folder}", "at least one voxel")


def write_dataset(dataset: Dataset, tiles: Sequence[Tile], output: Path, folder: Path, window: tuple) -> None:
    """Write a dataset's page and figure into `output`, and its picture sheets into `folder`."""
    name = dataset.counts["dataset"]
    title = f"{dataset.counts['title']}: {len(dataset.scans)} cases. Cohort: {dataset.cohort}"
    write_text(output / f"{name}.md", page(dataset))
    _save(figures.figure(dataset.scans, dataset.targets, title, window), output / f"{name}.png")
    for number, sheet in enumerate(sheets.sheets(tiles, title), 1):
        _save(sheet, folder / f"{name}-{number}.png")


def _save(figure: plt.Figure, path: Path) -> None:
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=sheets.DOTS_PER_INCH, metadata={"Software": None})
    plt.close(figure)


def _tiles(cases: pd.DataFrame, findings: Sequence[Finding], paths: Mapping[sheets.Key, Path]) -> list[Tile]:
    """The pictures of a dataset's cases; one volume is in memory at a time."""
    by_case = defaultdict(list)
    for hit in findings:
        by_case[hit.source, hit.case].append(hit)
    tiles = []
    for key in sheets.pictured(list(zip(cases["source"], cases["case"], strict=True)), by_case):
        with VolumeFile(paths[key]) as file:
            tiles.append(sheets.tile(file.read(), by_case[key]))
    return tiles


def _measured(folders: Sequence[Path], name: str, inventory: pd.DataFrame) -> pd.DataFrame:
    """A table of `measure`, its shards joined in the order of the inventory."""
    shards = [read_csv(folder / name) for folder in folders]
    joined = pd.concat([shard for shard in shards if len(shard)] or shards)
    return inventory[["source", "dataset", "case"]].merge(joined, on=["source", "case"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inventory", required=True, type=Path, help="inventory.csv")
    parser.add_argument("--measures", required=True, nargs="+", type=Path, help="folders from `measure`")
    parser.add_argument("--counts", required=True, type=Path, help="table1.csv")
    parser.add_argument("--structures", nargs="*", default=[], type=Path, help="table from `ircadb`")
    parser.add_argument("--volumes", required=True, nargs="+", type=Path, help="directories of harmonised cases")
    parser.add_argument("--settings", required=True, help="JSON of settings.Preparation")
    parser.add_argument("--cohort", required=True, help="what the titles say the cases are")
    parser.add_argument("--output", required=True, type=Path, help="folder to write into")
    return parser.parse_args()


@one_line_errors
def main() -> None:
    flags = _arguments()
    window = read_json(Preparation, flags.settings, "settings").hu_window
    inventory = read_csv(flags.inventory)
    scans, targets = (_measured(flags.measures, name, inventory) for name in (SCANS, TARGETS))
    counts = read_csv(flags.counts, str).set_index("dataset", drop=False)
    structures = [one for path in flags.structures for one in read_structures(path)]
    found = [*check(inventory, scans, targets), *count_findings(inventory, counts), *structure_findings(structures)]
    found = in_order(found)
    write_table(flags.output / "findings.csv", found, Finding)
    targets = with_volumes(inventory, targets)
    paths = {(path.parents[1].name, path.stem): path for folder in flags.volumes for path in folder.glob("*.h5")}
    with whole_folder(flags.output / "sheets") as folder:
        for name, cases in tqdm(inventory.groupby("dataset", sort=False), "report", unit="dataset", file=sys.stderr):
            own = [hit for hit in found if hit.source in set(cases["source"])]
            tiles = _tiles(cases, own, paths)
            dataset = Dataset(
                counts=counts.loc[name],
                scans=scans[scans["dataset"] == name],
                targets=targets[targets["dataset"] == name],
                findings=own,
                structures=structures if name == SOURCE else [],
                pictured=len(tiles),
                cohort=flags.cohort,
            )
            write_dataset(dataset, tiles, flags.output, folder, window)


if __name__ == "__main__":
    main()
