"""Step: the study on one page that needs no network - findings, tables, figures, claims, cases, costs, limits.

    python -m universal_diffusion.evaluation.report.page --results DIR --cases DIR --cohort TEXT --output F

Everything is taken from the study's artefacts (`contents.SECTIONS`); nothing is computed anew but counts. The page
holds its figures; only the cases' own pages lie beside it, in the folder that `--cases` names.
"""

import argparse
import base64
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.evaluation.report.contents import SECTIONS, Item, Section
from universal_diffusion.evaluation.report.found import case_list, limits, sentences
from universal_diffusion.evaluation.report.printed import Table, read_printed, read_rows
from universal_diffusion.evaluation.report.spent import spent
from universal_diffusion.files import write_text


@dataclass(frozen=True)
class Picture:
    """A PNG as a data URI, and its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Shown:
    """An item with what it shows: tables, or a picture."""

    item: Item
    tables: tuple[Table, ...]
    picture: Picture | None = None

    @property
    def key(self) -> str:
        """Its anchor on the page."""
        return self.item.file.replace("/", "-").rpartition(".")[0]


def show(item: Item, results: Path) -> Shown:
    """Read an item's artefact. Raises InputError when it is missing or damaged."""
    path = results / item.file
    match path.suffix:
        case ".md":
            return Shown(item, tuple(read_printed(path)))
        case ".csv":
            return Shown(item, (read_rows(path, "", dict(item.columns)),))
        case _:
            return Shown(item, (), _picture(path))


def page(results: Path, cases: Path, cohort: str) -> str:
    """The page as HTML. Raises InputError when an artefact is missing or damaged."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = files("universal_diffusion.evaluation.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    provenance, machine = _record(results / "provenance.json"), _record(results / "machine.json")
    return environment.from_string(template).render(
        study=provenance["study"],
        cohort=cohort,
        provenance=provenance,
        machine=machine,
        found=list(sentences(results, cohort)),
        limits=limits(results),
        sections=[(section, _shown(section, results)) for section in SECTIONS],
        cases=[(row, _linked(cases, row.source, row.case)) for row in case_list(results).itertuples()],
        spent=spent(results / "benchmarks"),
        results=results.as_posix(),
    )


def _shown(section: Section, results: Path) -> list[Shown]:
    return [show(item, results) for item in section.items]


def _linked(cases: Path, source: str, case: str) -> str:
    """The relative address of a case's page. Raises InputError when it is missing."""
    path = cases / f"{source}-{case}.html"
    if not path.is_file():
        raise InputError(path, "is missing: every evaluated case has a page", "run rule `case_pages` again")
    return f"{cases.name}/{path.name}"


def _picture(path: Path) -> Picture:
    try:
        content = path.read_bytes()
        width, height = struct.unpack(">II", content[16:24])  # where a PNG's header has them
    except (OSError, struct.error):
        raise InputError(path, "cannot be read", "run the rule that draws it") from None
    return Picture(f"data:image/png;base64,{base64.b64encode(content).decode()}", width, height)


def _record(path: Path) -> Mapping:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({error})", "run rule `provenance`") from None


@one_line_errors
def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="the study's folder")
    parser.add_argument("--cases", type=Path, required=True, help="folder with a page for every evaluated case")
    parser.add_argument("--cohort", required=True, help="what everything was measured on")
    parser.add_argument("--output", type=Path, required=True, help="page to write, beside the cases' folder")
    arguments = parser.parse_args()
    write_text(arguments.output, page(arguments.results, arguments.cases, arguments.cohort))


if __name__ == "__main__":
    main()
