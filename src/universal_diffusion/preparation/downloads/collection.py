"""A TCIA collection through its NBIA service: every series listed, fetched with its slices' MD5 sums, and unpacked.

The service zips a series anew for every request, so a series that breaks off starts again; those that are there do not.
The sums are kept, hidden, beside the slices, so that every run compares them. A patient dropped in by hand has none:
the number of slices is compared with the service's list.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urljoin

from universal_diffusion.datasets.catalogue import Archive, Entry
from universal_diffusion.errors import InputError
from universal_diffusion.preparation.downloads.failures import Failure
from universal_diffusion.preparation.downloads.partial import Partial
from universal_diffusion.preparation.downloads.series import (
    SERIES,
    Series,
    count_slices,
    list_series,
    listed_slices,
    read_sums,
    write_list,
)
from universal_diffusion.preparation.downloads.session import Session
from universal_diffusion.preparation.downloads.transfer import transfer
from universal_diffusion.preparation.downloads.verify import Checked, Mismatch, against
from universal_diffusion.preparation.extraction import extract
from universal_diffusion.preparation.folders import visible_tree, whole_folder

SUMS, KEPT_SUMS = "md5hashes.csv", ".md5hashes.csv"
IN_A_ROW = 3  # patients that cannot be had, one after the other, before a mirror is given up


def collection_there(session: Session, entry: Entry, archive: Archive, place: Path) -> dict[str, Checked] | None:
    """The files of the collection, checked, if every patient is there, fetched or dropped in by hand.

    Raises:
        InputError: a patient has fewer slices than are listed, or one of them is damaged.
    """
    there = _slices(place)
    if len(there.keys() - set(archive.without)) < entry.cases:
        return None
    listed = listed_slices(session, archive, place)
    _require_all(place, there, listed)
    return _checked(place, archive, {}, bool(listed))


def fetch_collection(session: Session, listing: str, entry: Entry, archive: Archive, place: Path) -> dict[str, Checked]:
    """Complete the folder `place`: `<patient>/<study>/<series>/*.dcm`, and the list of series.

    Args:
        listing: address that lists the collection's series; a series' own stands beside it.

    Raises:
        Failure: the service lists other patients than expected, or some series cannot be had. The others are kept.
        InputError: a patient that is there has fewer slices than are listed, or one of them is damaged.
    """
    listed = session.patience.attempt(archive.name, lambda: list_series(session, listing, archive))
    if len(listed) != entry.cases:
        raise Failure(f"lists {len(listed)} patients with CT where the catalogue expects {entry.cases}")
    place.mkdir(parents=True, exist_ok=True)
    failures, fresh, in_a_row = [], {}, 0
    there = _slices(place)
    _require_all(place, there, count_slices(series for wanted in listed.values() for series in wanted))
    for number, patient in enumerate(sorted(listed), 1):
        if patient in there:
            continue
        try:
            fresh |= _fetch_patient(session, listing, listed[patient], place, f"{patient} [{number}/{len(listed)}]")
            in_a_row = 0
        except Failure as failure:
            failures.append(f"{patient}: {failure}")
            in_a_row += 1
        if in_a_row == IN_A_ROW:
            break
    if failures:
        raise Failure(f"gave {len(_slices(place))} of {len(listed)} patients, not {failures[0]}")
    write_list(place / SERIES, [series for patient in sorted(listed) for series in listed[patient]])
    return _checked(place, archive, fresh, True)


def _slices(place: Path) -> Counter[str]:
    """The number of DICOM files of every patient that has any."""
    below = (path for path in visible_tree(place) if len(path.parts) > 1)
    return Counter(path.parts[0] for path in below if _is_dicom(place / path))


def _is_dicom(path: Path) -> bool:
    """Whether the file has DICOM's mark (PS3.10, section 7.1)."""
    if not path.exists():
        raise InputError(path, "is a link to a file that is gone", "put it back, or take the link away")
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def _require_all(place: Path, there: Counter[str], listed: Counter[str]) -> None:
    """Raises InputError for a patient that a person has dropped in, or that was damaged, without all of its slices."""
    for patient, slices in sorted(listed.items()):
        if there[patient] < slices and visible_tree(place / patient):
            problem = f"holds {there[patient]} DICOM slices where {slices} are listed"
            raise InputError(place / patient, problem, "complete it, or remove it to have it fetched")


def _checked(place: Path, archive: Archive, fresh: Mapping[Path, Checked], counted: bool) -> dict[str, Checked]:
    """The files below `place` by their name; those that `fresh` does not know are read and compared with their sums."""
    found, sums = {}, {}
    for name in visible_tree(place):
        path = place / name
        if path.parent not in sums:
            sums[path.parent] = read_sums(path.parent / KEPT_SUMS)
        try:
            checked = fresh.get(path) or against(path, sums[path.parent].get(path.name))
        except Mismatch as wrong:
            remedy = f"it is damaged: remove {place / name.parts[0]} to have it fetched"
            raise InputError(path, str(wrong), remedy) from None
        if counted and not checked.check and len(name.parts) > 1 and _is_dicom(path):
            checked = replace(checked, check="the number of slices in the service's list")
        found[str(archive.name / name)] = checked
    return found


def _fetch_patient(
    session: Session, listing: str, wanted: list[Series], place: Path, title: str
) -> dict[Path, Checked]:
    """Put the folder of a patient in place once all of its series are whole; its files."""
    found = {}
    with whole_folder(place / wanted[0].patient) as folder:
        for series in wanted:
            url = urljoin(listing, f"getImageWithMD5Hash?SeriesInstanceUID={series.series}")
            zipped = folder / f".{series.series}.zip"
            partial = Partial(zipped, url)
            transfer(session, url, None, partial, None, title)
            partial.publish(zipped)
            try:
                files = _unpack(zipped, folder / series.study / series.series, series.slices)
            except InputError as error:
                raise Failure(f"its series {error.problem}") from None
            zipped.unlink()
            for file in files:
                there = place / wanted[0].patient / file.path.relative_to(folder)
                found[there] = replace(file, path=there)
    return found


def _unpack(zipped: Path, folder: Path, slices: int) -> list[Checked]:
    """Unpack a series and check every slice. Raises Failure where one is missing or damaged, InputError for the zip."""
    extract(zipped, folder, None)
    try:
        sums = read_sums((folder / SUMS).rename(folder / KEPT_SUMS))
    except (OSError, ValueError):
        raise Failure(f"packs a series without {SUMS}") from None
    there = {str(name) for name in visible_tree(folder)}
    if missing := sorted(sums.keys() - there):
        raise Failure(f"packs a series without its slice {missing[0]}")
    files = []
    for name in sorted(there):
        try:
            files.append(against(folder / name, sums.get(name)))
        except Mismatch:
            raise Failure(f"packs a damaged slice {name}") from None
    packed = sum(_is_dicom(folder / name) for name in sums)
    if packed != slices:
        raise Failure(f"packs {packed} slices where it lists {slices}")
    return files
