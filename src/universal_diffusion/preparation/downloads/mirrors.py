"""The archives of one source: each as a person dropped it in place, or from the first mirror that gives it whole."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from universal_diffusion.datasets.catalogue import Address, Archive, Entry
from universal_diffusion.errors import InputError
from universal_diffusion.preparation.downloads import by_hand
from universal_diffusion.preparation.downloads.collection import fetch_collection, is_complete
from universal_diffusion.preparation.downloads.failures import Failure
from universal_diffusion.preparation.downloads.partial import Partial
from universal_diffusion.preparation.downloads.session import Patience, Session
from universal_diffusion.preparation.downloads.transfer import transfer
from universal_diffusion.preparation.downloads.verify import mismatch
from universal_diffusion.preparation.downloads.zenodo import described

IN_A_ROW = 3  # archives that cannot be had, one after the other, before the rest is not tried


def fetch(entry: Entry, folder: Path, patience: Patience) -> dict[str, Path]:
    """Bring every archive of the source into `folder`.

    Returns:
        Where each lies, by the archive's name: a file, or a folder for a collection.

    Raises:
        InputError: one or more cannot be had. What arrived of them, and the others, are kept.
    """
    try:
        return _fetch(entry, folder, patience)
    except OSError as error:
        remedy = "make room or make it writable, and run again: what has arrived is kept"
        raise InputError(error.filename or folder, f"cannot be written ({error.strerror})", remedy) from None


def _fetch(entry: Entry, folder: Path, patience: Patience) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    places, errors, in_a_row = {}, [], 0
    with _alone(folder, entry.title), Session(patience) as session:
        for number, archive in enumerate(entry.archives, 1):
            title = f"{archive.name} [{number}/{len(entry.archives)}]"
            try:
                if there := _there(entry, archive, folder):
                    places[archive.name] = there
                    continue
                places[archive.name] = _from_mirrors(session, entry, archive, folder / archive.name, title)
                in_a_row = 0
            except InputError as error:
                errors.append(error)
                in_a_row += 1
            if in_a_row == IN_A_ROW:
                break
    if len(errors) > 1:
        problem = f"{len(places)} of {len(entry.archives)} files are there, {len(errors)} failed, first {errors[0]}"
        raise InputError(entry.title, problem, "run again: what is there is kept")
    if errors:
        raise errors[0]
    return places


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


def _there(entry: Entry, archive: Archive, folder: Path) -> Path | None:
    """Where the archive lies already, fetched or dropped in by hand."""
    place = folder / archive.name
    if place.is_dir() and not archive.is_collection:
        remedy = "put that there, or give the folder as a `local` source"
        raise InputError(place, "is a folder and not the archive as published", remedy)
    if is_complete(place, entry, archive) if archive.is_collection else place.exists():
        return place
    return by_hand.under_another_name(archive, folder, entry.archives)


def _from_mirrors(session: Session, entry: Entry, archive: Archive, place: Path, title: str) -> Path:
    failures = []
    for address in archive.addresses:
        try:
            if address.service == "nbia":
                fetch_collection(session, address.url, entry, archive, place)
            elif address.service == "zenodo":
                url, known = described(session, address.url, archive)
                _fetch_file(session, url, None, known, place, title)
            else:
                _fetch_file(session, address.url, _token(entry, address), archive, place, title)
            return place
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


def _fetch_file(session: Session, url: str, token: str | None, archive: Archive, place: Path, title: str) -> None:
    """Raises Failure unless the whole, verified file is in its place."""
    partial = Partial(place, url)
    resumed = partial.size > 0
    transfer(session, url, token, partial, archive.bytes, title)
    wrong = mismatch(partial.path, archive)
    if wrong and resumed:  # two editions may have been joined by a server that does not tell them apart
        partial.discard()
        transfer(session, url, token, partial, archive.bytes, title)
        wrong = mismatch(partial.path, archive)
    if wrong:
        partial.discard()
        raise Failure(f"gives a file that {wrong}")
    partial.publish(place)
