"""Rows of the tables of `ORIGINS`, made again from the files that these come from by the function of their own step."""

import warnings
from collections.abc import Callable

import pandas as pd

from universal_diffusion.datasets import catalogue
from universal_diffusion.datasets.own.source import entry_of
from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.beyond.ceiling import ceilings, read_ceiling_cases
from universal_diffusion.evaluation.claims.ledger import ledger, measure_all
from universal_diffusion.evaluation.claims.settle import TABLES, read_evidence
from universal_diffusion.evaluation.paper.published import read_published
from universal_diffusion.evaluation.paper.table1 import dataset_rows
from universal_diffusion.evaluation.patients import read_patients
from universal_diffusion.evaluation.sampling.gate_rows import read_rows
from universal_diffusion.evaluation.sampling.gate_table import summary as gate_summary
from universal_diffusion.evaluation.sampling.sampling_rows import read_found, read_timed, summary
from universal_diffusion.evaluation.scoring.cases import read_cases
from universal_diffusion.evaluation.tracing.cells import Cell, read_table
from universal_diffusion.evaluation.tracing.checks import CHANGED, NOT_RECOMPUTED, Study
from universal_diffusion.evaluation.tracing.origins import CASES, ORIGINS
from universal_diffusion.evaluation.tracing.paper_figures import published_file
from universal_diffusion.evaluation.uncertainty.cells import group_cells
from universal_diffusion.evaluation.uncertainty.rows import judged_of
from universal_diffusion.preparation.splits import read_splits
from universal_diffusion.settings import Segmentation, read
from universal_diffusion.settings import Study as Configuration
from universal_diffusion.systems import VARIANTS, system_of


def verify_row(study: Study, name: str, cell: Cell) -> None:
    """Compare every value of the cell's row with the row made again; notes NOT_RECOMPUTED where it cannot be."""
    rows, what, keys = _remade(study, name, cell), f"{name}: {cell.column}", list(ORIGINS[name].keys)
    if isinstance(rows, str):
        study.note(what, NOT_RECOMPUTED, rows)
        return
    again = rows[(rows[keys].astype(str) == pd.Series({key: cell.row[key] for key in keys})).all(axis=1)]
    if again.empty:
        study.note(what, CHANGED, "the files that it comes from give no such row")
        return
    for column in again.columns.difference(keys, sort=False):
        study.verify_value(f"{name}: {column}", cell.row.get(column, ""), again.iloc[0][column])


def _remade(study: Study, name: str, cell: Cell) -> pd.DataFrame | str:
    """The rows, or why there are none. Raises InputError for a damaged file that is as it was recorded."""
    lacking = [pattern for pattern, paths in ORIGINS[name].files(study, cell).items() if not paths]
    if lacking:
        return f"{', '.join(lacking)} not here"
    try:
        rows = AGAIN[name](study, cell)
    except InputError as error:
        if all(check.status != CHANGED for check in study.checks):
            raise
        return str(error)
    return "a file that it comes from is not here" if rows is None else rows


def _datasets(study: Study, cell: Cell) -> pd.DataFrame | None:
    published = published_file(study)
    own = sorted(set(study.record["archives"]) - set(catalogue.sources()))
    folders = [study.folder / "native" / name for name in own]
    if published is None or not all(folder.is_dir() for folder in folders):
        return None
    entries = [entry_of(folder.name, folder) for folder in folders]
    inventory, splits = read_table(study.folder / "inventory.csv"), read_splits(study.folder / "splits.csv")
    return dataset_rows(inventory, splits, read_published(published, 1), entries)


def _gate(study: Study, cell: Cell) -> pd.DataFrame:
    return gate_summary(read_rows(sorted(study.folder.glob(f"scores/gate/{cell.row['variant']}/*.csv"))))


def _ceilings(study: Study, cell: Cell) -> pd.DataFrame:
    paths = sorted(study.folder.glob("models/*mask_autoencoder/ceiling.csv"))
    return ceilings(pd.concat([read_ceiling_cases(path) for path in paths]))


def _cost(study: Study, cell: Cell) -> pd.DataFrame:
    from universal_diffusion.evaluation.beyond.cost import costs  # torch, which the other tables do without
    from universal_diffusion.method.bundle import load_bundle

    sampling = read(Segmentation, study.record["configuration"]["segmentation"], "configuration.segmentation")
    return costs(load_bundle(study.folder / "models/mask_clip"), sampling)


def _networks(study: Study, cell: Cell) -> pd.DataFrame:
    from universal_diffusion.evaluation.beyond.networks import network_rows  # torch, as above

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torchvision's, of how lpips calls it
        return network_rows(read(Configuration, study.record["configuration"]))


def _uncertainty(study: Study, cell: Cell) -> pd.DataFrame:
    system, folder = system_of(cell.row["row"]), study.folder / "scores"
    tables = [folder / kind / f"{system.key}.csv" for kind in ("reliability", "coverage")]
    patients = read_patients(study.folder / "splits.csv")
    judged = judged_of(system, read_cases(study.folder / CASES), patients, *tables)
    return group_cells(judged, cell.row["column"].partition("@")[2], int(study.record["seed"]))


def _sampling(study: Study, cell: Cell) -> pd.DataFrame:
    return summary(read_found(study.folder / "scores/sampling.csv"))


def _seconds(study: Study, cell: Cell) -> pd.DataFrame:
    return summary(read_timed(study.folder / "scores/sampling.csv", study.folder / "scores/sampling_seconds.csv"))


def _claims(study: Study, cell: Cell) -> pd.DataFrame | None:
    published = published_file(study)
    if published is None:
        return None
    files = {name: study.folder / f"tables/{name}.csv" for name in TABLES}
    files |= {name: study.folder / f"{name}.csv" for name in ("splits", "inventory")}
    files |= {"cases": study.folder / CASES, "published": published}
    files |= {"ceiling": study.folder / "models/mask_autoencoder/ceiling.csv"}
    logs = [study.folder / "models" / system.key / "log.csv" for system in VARIANTS]
    configuration = study.record["configuration"]
    evidence = read_evidence(files, logs, configuration["sources"], configuration["weights"], int(study.record["seed"]))
    return ledger(measure_all(evidence))


AGAIN: dict[str, Callable[[Study, Cell], pd.DataFrame | None]] = {
    "tables/table1.csv": _datasets,
    "tables/gate.csv": _gate,
    "tables/autoencoder_ceiling.csv": _ceilings,
    "tables/cost.csv": _cost,
    "tables/networks.csv": _networks,
    "tables/uncertainty.csv": _uncertainty,
    "tables/sampling.csv": _sampling,
    "tables/sampling_seconds.csv": _seconds,
    "claims.csv": _claims,
}
