"""A Zenodo record tells address, size and MD5 of its files, also of those whose hash nobody else publishes."""

from dataclasses import replace

from universal_diffusion.datasets.catalogue import Archive
from universal_diffusion.preparation.downloads.failures import Failure
from universal_diffusion.preparation.downloads.session import Session
from universal_diffusion.preparation.downloads.verify import Published


def described(session: Session, record: str, archive: Archive) -> tuple[str, Archive, Published]:
    """The address of the archive's file, the archive with the size that the record at `record` tells, and its MD5.

    Raises:
        Failure: the record does not hold the file.
    """
    content = session.patience.attempt(archive.name, lambda: session.json(record))
    try:
        file = next(file for file in content["files"] if file["key"] == archive.name)
        algorithm, _, digest = file["checksum"].partition(":")
        if algorithm != "md5":
            raise Failure(f"gives a checksum of an unknown kind ({algorithm[:20]})")
        known = replace(archive, bytes=int(file["size"]))
        return str(file["links"]["self"]), known, Published("md5", digest, record)
    except StopIteration:
        raise Failure(f"holds no file {archive.name}") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Failure("answers with something that is no record") from None
