"""A TCIA collection through its NBIA service: every series listed, fetched with its slices' MD5 sums, and unpacked.

The service zips a series anew for every request, so a series that breaks off starts again; those that are there do not.
"""

import csv
import re
import shutil
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from urllib.parse import urljoin

import pooch

from universal_diffusion.datasets.catalogue import Archive, Entry
from universal_diffusion.errors import InputError
from universal_diffusion.files import whole_file
from universal_diffusion.preparation.downloads.failures import Failure
from universal_diffusion.preparation.downloads.partial import Partial
from universal_diffusion.preparation.downloads.session import Session
from universal_diffusion.preparation.downloads.transfer import transfer
from universal_diffusion.preparation.extraction import extract
from universal_diffusion.preparation.folders import visible_tree, whole_folder

SERIES, SUMS = "series.csv", "md5hashes.csv"
IN_A_ROW = 3  # patients that cannot be had, one after the other, before a mirror is given up


@dataclass(frozen=True)
class Series:
    """One CT series as the service lists it."""

    patient: str
    study: str
    series: str
    slices: int


def is_complete(place: Path, entry: Entry, archive: Archive) -> bool:
    """Whether every patient is there, fetched or dropped in by hand."""
    return len(_patients(place) - set(archive.without)) >= entry.cases


def fetch_collection(session: Session, listing: str, entry: Entry, archive: Archive, place: Path) -> None:
    """Complete the folder `place`: `<patient>/<study>/<series>/*.dcm`, and the list of series.

    Args:
        listing: address that lists the collection's series; a series' own stands beside it.

    Raises:
        Failure: the service lists other patients than expected, or some series cannot be had. The others are kept.
    """
    listed = session.patience.attempt(archive.name, lambda: _listed(session, listing, archive))
    if len(listed) != entry.cases:
        raise Failure(f"lists {len(listed)} patients with CT where the catalogue expects {entry.cases}")
    place.mkdir(parents=True, exist_ok=True)
    for killed in place.glob(".partial-*"):  # the half fetched patient of a run that was ended from outside
        shutil.rmtree(killed)
    failures, in_a_row = [], 0
    there = _patients(place)
    for number, patient in enumerate(sorted(listed), 1):
        if patient in there:
            continue
        try:
            _fetch_patient(session, listing, listed[patient], place, f"{patient} [{number}/{len(listed)}]")
            in_a_row = 0
        except Failure as failure:
            failures.append(f"{patient}: {failure}")
            in_a_row += 1
        if in_a_row == IN_A_ROW:
            break
    if failures:
        raise Failure(f"gave {len(_patients(place))} of {len(listed)} patients, not {failures[0]}")
    _write_list(place / SERIES, [series for patient in sorted(listed) for series in listed[patient]])


def _patients(place: Path) -> set[str]:
    return {path.parts[0] for path in visible_tree(place) if len(path.parts) > 1}


def _listed(session: Session, listing: str, archive: Archive) -> Mapping[str, list[Series]]:
    """The CT series of every wanted patient, by patient. Raises Failure for a list that is none."""
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


def _fetch_patient(session: Session, listing: str, wanted: list[Series], place: Path, title: str) -> None:
    """Put the folder of a patient in place once all of its series are whole."""
    with whole_folder(place / wanted[0].patient) as folder:
        for series in wanted:
            url = urljoin(listing, f"getImageWithMD5Hash?SeriesInstanceUID={series.series}")
            zipped = folder / f".{series.series}.zip"
            partial = Partial(zipped, url)
            transfer(session, url, None, partial, None, title)
            partial.publish(zipped)
            try:
                _unpack(zipped, folder / series.study / series.series, series.slices)
            except InputError as error:
                raise Failure(f"its series {error.problem}") from None
            zipped.unlink()


def _unpack(zipped: Path, folder: Path, slices: int) -> None:
    """Unpack a series and check every slice. Raises Failure where one is missing or damaged, InputError for the zip."""
    extract(zipped, folder, None)
    try:
        rows = list(csv.reader((folder / SUMS).read_text(encoding="utf-8").splitlines()))
    except (OSError, ValueError):
        raise Failure(f"packs a series without {SUMS}") from None
    sums = {row[0]: row[1].strip().lower() for row in rows if len(row) > 1}
    sums = {name: md5 for name, md5 in sums.items() if re.fullmatch(r"[0-9a-f]{32}", md5)}  # not the header
    there = {str(name) for name in visible_tree(folder)}
    for name, md5 in sums.items():
        if name not in there:
            raise Failure(f"packs a series without its slice {name}")
        if pooch.file_hash(str(folder / name), alg="md5") != md5:
            raise Failure(f"packs a damaged slice {name}")
    packed = sum(name.endswith(".dcm") for name in sums)
    if packed != slices:
        raise Failure(f"packs {packed} slices where it lists {slices}")
    (folder / SUMS).unlink()


def _write_list(path: Path, listed: list[Series]) -> None:
    with whole_file(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Series))
        writer.writerows(map(astuple, listed))
