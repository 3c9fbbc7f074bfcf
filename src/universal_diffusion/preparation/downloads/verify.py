"""Whether a file is the published one, by whatever is known of it."""

import zipfile
from pathlib import Path

import pooch

from universal_diffusion.datasets.catalogue import Archive


def mismatch(path: Path, archive: Archive) -> str | None:
    """What tells a file from the published one, in words; None if nothing does.

    Its size comes first, then the strongest published hash; a zip or gz file of which neither is published must at
    least be one (a zip's directory stands at its end, so that a cut one is none).
    """
    size = path.stat().st_size
    if archive.bytes is not None and size != archive.bytes:
        return f"has size {size} bytes, the catalogue expects {archive.bytes} bytes"
    if archive.hash:
        algorithm, expected = archive.hash
        found = pooch.file_hash(str(path), alg=algorithm)
        return None if found == expected else f"has {algorithm} {found}, the catalogue expects {expected}"
    if archive.name.endswith(".zip") and not zipfile.is_zipfile(path):
        return "is no zip archive, or only the beginning of one"
    if archive.name.endswith(".gz") and not _begins(path, b"\x1f\x8b"):
        return "is no gzip file"
    return None


def _begins(path: Path, magic: bytes) -> bool:
    with open(path, "rb") as file:
        return file.read(len(magic)) == magic
