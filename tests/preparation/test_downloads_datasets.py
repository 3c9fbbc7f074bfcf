"""From a server to a reader: the catalogue's own entries, with the phantom's archives at their addresses."""

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from universal_diffusion.datasets import catalogue
from universal_diffusion.datasets.catalogue import Address, Archive
from universal_diffusion.datasets.readers import reader
from universal_diffusion.phantom.write import write
from universal_diffusion.preparation.acquire import acquire
from universal_diffusion.preparation.unpack import unpack
from universal_diffusion.settings import Phantom, Source

SOURCES = ("msd09", "btcv", "kits23", "pancreas_ct", "abdomenct1k", "amos", "word")
CASES = 2


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Folder of a source's archives, as the phantom writes them."""
    root = tmp_path_factory.mktemp("phantom")
    for source in SOURCES:
        write(source, Phantom(24, (16.0, 18.0), dict.fromkeys(SOURCES, CASES)), 1, root / source)
    return root


def served_file(server, archive: Archive, path: Path) -> Archive:
    """The archive at the same services' addresses here, under the hash of what lies there."""
    content, (service, *_) = path.read_bytes(), [address.service for address in archive.addresses]
    url = server.serve(f"/{archive.name}", content)
    if service == "zenodo":
        described = {"key": archive.name, "size": len(content), "links": {"self": url}}
        described["checksum"] = f"md5:{hashlib.md5(content).hexdigest()}"
        url = server.serve(f"/records/{archive.name}", json.dumps({"files": [described]}).encode())
    hashes = {kind: hashlib.new(kind, content).hexdigest() for kind in ("sha256", "md5") if getattr(archive, kind)}
    return replace(archive, addresses=(Address(url, service),), **hashes)


def served_collection(server, archive: Archive, folder: Path) -> Archive:
    """Every folder of slices below as a series of the NBIA service."""
    listed = []
    for series in sorted({path.parent for path in folder.rglob("*.dcm")}):
        patient, study, uid = series.relative_to(folder).parts
        listed.append({"PatientID": patient, "StudyInstanceUID": study, "SeriesInstanceUID": uid})
        listed[-1] |= {"Modality": "CT", "ImageCount": len(list(series.iterdir()))}
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as bundle:
            for path in sorted(series.iterdir()):
                bundle.write(path, path.name)
            sums = [f"{path.name},{hashlib.md5(path.read_bytes()).hexdigest()}" for path in sorted(series.iterdir())]
            bundle.writestr("md5hashes.csv", "\n".join(["SOPInstanceUID,MD5", *sums]))
        server.serve(f"/nbia/getImageWithMD5Hash?SeriesInstanceUID={uid}", stream.getvalue(), length="chunked")
    url = server.serve("/nbia/getSeries?Collection=Pancreas-CT", json.dumps(listed).encode())
    return replace(archive, addresses=(Address(url, "nbia"),))


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_downloaded_is_what_the_reader_reads(source, server, archives, tmp_path, hasty, monkeypatch):
    monkeypatch.setenv("SYNAPSE_AUTH_TOKEN", "token")
    known = catalogue.entry(source)
    there = [archive for archive in known.archives if (archives / source / archive.name).exists()]
    served = tuple(
        (served_collection if archive.is_collection else served_file)(server, archive, archives / source / archive.name)
        for archive in there
    )
    entry = replace(known, archives=served, cases=CASES)
    acquire(entry, Source("download", "train"), tmp_path, tmp_path / "archives", hasty)
    unpack(tmp_path / "archives", tmp_path / "native", entry.password)
    native = reader(source, tmp_path / "native")
    assert len(native.cases()) == CASES
    case = native.read(native.cases()[0])
    assert case.labels.any()
    assert set(case.annotated) <= set(entry.annotated)
