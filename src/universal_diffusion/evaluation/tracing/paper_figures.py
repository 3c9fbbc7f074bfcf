"""A figure that the paper printed: its line of config/published.csv, in the repository or this package's."""

from pathlib import Path

from universal_diffusion.evaluation.paper.published import COLUMNS, read_published
from universal_diffusion.evaluation.tracing.cells import Cell
from universal_diffusion.evaluation.tracing.checks import CHANGED, NOT_HERE, VERIFIED, Study
from universal_diffusion.files import sha256

PUBLISHED = "config/published.csv"


def published_file(study: Study) -> Path | None:
    """The transcription of the paper's tables, compared with what the study recorded; None where it is not here."""
    places = [study.folder.parents[1] / PUBLISHED, Path(__file__).parents[4] / PUBLISHED]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        study.note(PUBLISHED, NOT_HERE, "the paper's printed figures")
        return None
    known, found = study.record["artefacts"].get(PUBLISHED), sha256(path)
    study.note(PUBLISHED, VERIFIED if found == known else CHANGED, f"sha256 {found}, recorded {known}")
    return path


def published_lines(study: Study, name: str, cell: Cell) -> dict[str, list[str]]:
    """A section on the figure in a published cell of Table 2 or 3, compared with the cell."""
    path = published_file(study)
    if path is None:
        return {"Published": [f"printed in the paper; {PUBLISHED} is not here"]}
    number = int(name.removesuffix(".csv")[-1])
    figures = read_published(path, number)
    column = cell.row["column"].split("@")[0] if number == 3 else cell.row["column"]
    mine = figures[(figures["row_key"] == cell.row["row"]) & (figures["column_key"] == column)]
    value = mine["value"].iloc[0] / 100 if len(mine) else None
    study.verify_value(f"{name}: value", cell.row["value"], value)
    return {
        f"Published, Table {number} of the paper": [
            f"{key}: {value}" for row in mine[COLUMNS].to_dict("records") for key, value in row.items() if value != ""
        ]
    }
