"""A Zenodo record tells address, size and MD5 of its files, also of those whose hash nobody else publishes."""

from dataclasses import replace

from universal_diffusion.datasets.catalogue import Archive
from universal_diffusion.preparation.downloads.failures import Failure
from universal_diffusion.preparation.downloads.session import Session


def described(session: Session, record: str, archive: Archive) -> tuple[str, Archive]:
    """The address of the archive's file, and the archive with what the record at `record` knows of it.

    Raises:
        Failure: the record does not hold the file.
    """
    content = session.patience.attempt(archive.name, lambda: session.json(record))
    try:
        file = next(file for file in content["files"] if file["key"] == archive.name)
        algorithm, _, digest = file["checksum"].partition(":")
        if algorithm != "md5":
            raise Failure(f"gives a checksum of an unknown kind ({algorithm[:20]})")
        return str(file["links"]["self"]), replace(archive, md5=digest, bytes=int(file["size"]))
    except StopIteration:
        raise Failure(f"holds no file {archive.name}") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Failure("answers with something that is no record") from None
