"""What an NBIA service tells of a collection: its CT series, how many slices each has, and the slices' MD5 sums."""

import csv
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from universal_diffusion.datasets.catalogue import Archive
from universal_diffusion.errors import InputError
from universal_diffusion.files import whole_file
from universal_diffusion.preparation.downloads.failures import Failure
from universal_diffusion.preparation.downloads.session import Session
from universal_diffusion.preparation.downloads.verify import Published

SERIES = "series.csv"


@dataclass(frozen=True)
class Series:
    """One CT series as the service lists it."""

    patient: str
    study: str
    series: str
    slices: int


def list_series(session: Session, listing: str, archive: Archive) -> Mapping[str, list[Series]]:
    """The CT series of every wanted patient of the list at `listing`. Raises Failure for a list that is none."""
    by_patient = defaultdict(list)
    try:
        for item in session.json(listing):
            if item.get("Modality", "CT") == "CT" and item["PatientID"] not in archive.without:
                names = (item["PatientID"], item["StudyInstanceUID"], item["SeriesInstanceUID"])
                if not all(re.fullmatch(r"\w[\w.-]*", name) for name in names):
                    raise Failure("lists a series under a name that no folder can have")
                by_patient[names[0]].append(Series(*names, int(item["ImageCount"])))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Failure("answers with something that is no list of series") from None
    return {patient: sorted(series, key=astuple) for patient, series in by_patient.items()}


def listed_slices(session: Session, archive: Archive, place: Path) -> Counter[str]:
    """The number of slices that each patient should have, by the kept list or the service; empty if neither tells."""
    if (place / SERIES).exists():
        return _read_list(place / SERIES)
    for address in archive.addresses:
        try:
            with Session(replace(session.patience, attempts=1)) as once:
                series = [series for wanted in list_series(once, address.url, archive).values() for series in wanted]
        except Failure as failure:
            print(f"{archive.name}: slices not compared with {address.url}, which {failure}", file=sys.stderr)
        else:
            write_list(place / SERIES, sorted(series, key=astuple))
            return count_slices(series)
    return Counter()


def count_slices(wanted: Iterable[Series]) -> Counter[str]:
    """The number of slices of every patient."""
    counts = Counter()
    for series in wanted:
        counts[series.patient] += series.slices
    return counts


def read_sums(path: Path) -> dict[str, Published]:
    """The MD5 sums of a series' files by name, none where there is no such table."""
    if not path.exists():
        return {}
    rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    sums = {row[0]: row[1].strip().lower() for row in rows if len(row) > 1}
    known = {name: md5 for name, md5 in sums.items() if re.fullmatch(r"[0-9a-f]{32}", md5)}  # not the header
    return {name: Published("md5", md5, "the service's md5hashes.csv") for name, md5 in known.items()}


def _read_list(path: Path) -> Counter[str]:
    """The slices of every patient of a kept list. Raises InputError where it is none."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return count_slices(Series(**row | {"slices": int(row["slices"])}) for row in rows)
    except (KeyError, TypeError, ValueError):
        raise InputError(path, "is no list of series", "remove it: it is written anew") from None


def write_list(path: Path, wanted: list[Series]) -> None:
    """Keep the list."""
    with whole_file(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Series))
        writer.writerows(map(astuple, wanted))
