"""The archives of one source: each as a person dropped it in place, or from the first mirror that gives it whole."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from universal_diffusion.datasets.catalogue import Address, Archive, Entry
from universal_diffusion.errors import InputError
from universal_diffusion.preparation.downloads import by_hand
from universal_diffusion.preparation.downloads.collection import collection_there, fetch_collection
from universal_diffusion.preparation.downloads.failures import Failure
from universal_diffusion.preparation.downloads.partial import Partial
from universal_diffusion.preparation.downloads.session import Patience, Session
from universal_diffusion.preparation.downloads.transfer import transfer
from universal_diffusion.preparation.downloads.verify import (
    Checked,
    Mismatch,
    Published,
    check,
    remember,
    remembered,
)
from universal_diffusion.preparation.downloads.zenodo import described

DAMAGED = "it is damaged or another edition: remove it and fetch it again"
IN_A_ROW = 3  # archives that cannot be had, one after the other, before the rest is not tried


def fetch(entry: Entry, folder: Path, patience: Patience) -> dict[str, Checked]:
    """Bring every archive of the source into `folder`.

    Returns:
        Every file by its name, that of its archive, below which a collection's lie: its place, and how it was checked.

    Raises:
        InputError: one or more cannot be had. What arrived of them, and the others, are kept.
    """
    try:
        return _fetch(entry, folder, patience)
    except OSError as error:
        remedy = "make room or make it writable, and run again: what has arrived is kept"
        raise InputError(error.filename or folder, f"cannot be written ({error.strerror})", remedy) from None


def _fetch(entry: Entry, folder: Path, patience: Patience) -> dict[str, Checked]:
    folder.mkdir(parents=True, exist_ok=True)
    found, errors, there, in_a_row = {}, [], 0, 0
    with _alone(folder, entry.title), Session(patience) as session:
        for number, archive in enumerate(entry.archives, 1):
            title = f"{archive.name} [{number}/{len(entry.archives)}]"
            try:
                files = _there(session, entry, archive, folder)
                if files is None:
                    files = _from_mirrors(session, entry, archive, folder / archive.name, title)
                    in_a_row = 0
                found |= files
                there += 1
            except InputError as error:
                errors.append(error)
                in_a_row += 1
            if in_a_row == IN_A_ROW:
                break
    if len(errors) > 1:
        problem = f"{there} of {len(entry.archives)} files are there, {len(errors)} failed, first {errors[0]}"
        raise InputError(entry.title, problem, "run again: what is there is kept")
    if errors:
        raise errors[0]
    return found


@contextmanager
def _alone(folder: Path, title: str) -> Iterator[None]:
    """Keep the folder to one run at a time; the next waits, and finds what the first has fetched."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{title}: another run is fetching into {folder}; waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _there(session: Session, entry: Entry, archive: Archive, folder: Path) -> dict[str, Checked] | None:
    """The archive's files, checked, if they lie there already, fetched or dropped in by hand.

    Raises:
        InputError: another file lies in its place.
    """
    place = folder / archive.name
    if place.is_dir() and not archive.is_collection:
        remedy = "put that there, or give the folder as a `local` source"
        raise InputError(place, "is a folder and not the archive as published", remedy)
    if archive.is_collection:
        return collection_there(session, entry, archive, place)
    lying = [place] if place.exists() else by_hand.strangers(folder, entry.archives)
    told = _told(session, archive, place) if lying else None
    if not place.exists():
        found = by_hand.under_another_name(archive, told, lying)
        return {archive.name: found} if found else None
    try:
        return {archive.name: check(place, archive, told)}
    except Mismatch as wrong:
        raise InputError(place, str(wrong), DAMAGED) from None


def _told(session: Session, archive: Archive, place: Path) -> Published | None:
    """The hash that a server publishes of an archive without one in the catalogue; its Zenodo record is asked once."""
    if archive.hash or (known := remembered(place, archive)):
        return None if archive.hash else known
    for address in archive.addresses:
        if address.service == "zenodo":
            try:
                with Session(replace(session.patience, attempts=1)) as once:
                    told = described(once, address.url, archive)[2]
            except Failure as failure:
                print(f"{archive.name}: not compared with {address.url}, which {failure}", file=sys.stderr)
            else:
                remember(place, address.url, told)
                return told
    return None


def _from_mirrors(session: Session, entry: Entry, archive: Archive, place: Path, title: str) -> dict[str, Checked]:
    failures = []
    for address in archive.addresses:
        try:
            if address.service == "nbia":
                return fetch_collection(session, address.url, entry, archive, place)
            url, known, told = address.url, archive, None
            if address.service == "zenodo":
                url, known, told = described(session, address.url, archive)
            partial, token = Partial(place, url), _token(entry, address)
            found, told = _fetch_file(session, url, token, known, told, partial, title)
            remember(place, address.url, told)  # before the file appears, which an older hash might belie
            partial.publish(place)
            return {archive.name: replace(found, path=place)}
        except Failure as failure:
            failures.append(f"{address.url} {failure}")
            print(f"{title}: {failures[-1]}", file=sys.stderr)
    lying = ", ".join(path.name for path in by_hand.strangers(place.parent, entry.archives))
    found = f"; it is none of the files that lie there ({lying})" if lying and not archive.is_collection else ""
    problem = f"could not be downloaded ({'; '.join(failures)}){found}"
    raise InputError(f"{entry.title}: {archive.name}", problem, by_hand.remedy(entry, archive, place))


def _token(entry: Entry, address: Address) -> str | None:
    """The token for an address of Synapse. Raises Failure where the environment holds none that can be sent."""
    if address.service != "synapse" or entry.credential is None:
        return None
    token = os.environ.get(entry.credential, "").strip()
    if not token:
        raise Failure(f"needs a personal token in the environment variable {entry.credential}, which is not set")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise Failure(f"needs a token, and what {entry.credential} holds is none (it must be one word)")
    return token


def _fetch_file(
    session: Session,
    url: str,
    token: str | None,
    archive: Archive,
    told: Published | None,
    partial: Partial,
    title: str,
) -> tuple[Checked, Published | None]:
    """The whole, verified file in `partial`, and the hash that is `told` of it, by its server else. Raises Failure."""
    resumed = partial.size > 0
    while True:
        sent = transfer(session, url, token, partial, archive.bytes, title)
        expected = told or (Published("sha256", sent, urlsplit(url).hostname) if sent else None)
        try:
            return check(partial.path, archive, expected), expected
        except Mismatch as wrong:
            partial.discard()
            if not resumed:
                raise Failure(f"gives a file that {wrong}") from None
            resumed = False  # two editions may have been joined by a server that does not tell them apart: once more
