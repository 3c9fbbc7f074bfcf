"""A TCIA collection from a server that speaks NBIA's REST interface: listed, fetched series by series, resumed."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest

from universal_diffusion.datasets.catalogue import Address, Archive
from universal_diffusion.errors import InputError
from universal_diffusion.preparation.downloads.mirrors import fetch

PATIENTS = ("PANCREAS_0001", "PANCREAS_0002", "PANCREAS_0003")
WITHDRAWN = ("PANCREAS_0025",)


def slices(patient: str) -> dict[str, bytes]:
    return {f"{number:08d}.dcm": f"{patient} slice {number}".encode() * 99 for number in range(3)}


def zipped(files: dict[str, bytes], sums: dict[str, str] | None = None) -> bytes:
    """As the service packs a series: its slices, the licence, and the MD5 sums (those of `files` unless told)."""
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()} if sums is None else sums
    table = "".join(f"{name},{md5}\n" for name, md5 in [("SOPInstanceUID", "MD5"), *sums.items()])
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in (files | {"LICENSE": b"CC BY 3.0", "md5hashes.csv": table.encode()}).items():
            bundle.writestr(name, content)
    return stream.getvalue()


def series_of(patient: str, **changed) -> dict:
    number = patient[-4:].lstrip("0")
    listed = {"PatientID": patient, "StudyInstanceUID": f"1.2.{number}", "SeriesInstanceUID": f"1.2.{number}.1"}
    return listed | {"Modality": "CT", "ImageCount": 3, "Collection": "Pancreas-CT"} | changed


def address(patient: str, base: str = "/v4") -> str:
    return f"{base}/getImageWithMD5Hash?SeriesInstanceUID={series_of(patient)['SeriesInstanceUID']}"


def listing(server, *listed: dict, base: str = "/v4") -> Address:
    url = server.serve(f"{base}/getSeries?Collection=Pancreas-CT", json.dumps(listed).encode(), length="chunked")
    return Address(url, "nbia")


@pytest.fixture
def collection(server, toy):
    """The entry, with everything served that it needs."""
    for patient in PATIENTS:  # packed anew for every request: no length, no ranges, no validator
        server.serve(address(patient), zipped(slices(patient)), length="chunked", ranges=False, etag=None)
    segmentation = series_of("PANCREAS_0001", SeriesInstanceUID="1.9", Modality="SEG")
    listed = listing(server, *map(series_of, (*PATIENTS, *WITHDRAWN)), segmentation)
    return toy(Archive("Pancreas-CT", (listed,), without=WITHDRAWN), cases=len(PATIENTS))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def whole_tree() -> dict[str, bytes]:
    files = {
        f"{patient}/{series_of(patient)['StudyInstanceUID']}/{series_of(patient)['SeriesInstanceUID']}/{name}": content
        for patient in PATIENTS
        for name, content in (slices(patient) | {"LICENSE": b"CC BY 3.0"}).items()
    }
    rows = [(patient, *list(series_of(patient).values())[1:3], "3") for patient in PATIENTS]
    table = "".join(",".join(row) + "\n" for row in [("patient", "study", "series", "slices"), *rows])
    return files | {"series.csv": table.encode()}


def test_every_wanted_series_is_fetched_and_listed(server, collection, tmp_path, hasty):
    assert fetch(collection, tmp_path, hasty) == {"Pancreas-CT": tmp_path / "Pancreas-CT"}
    assert tree(tmp_path / "Pancreas-CT") == whole_tree()
    assert len(server.asked) == 1 + len(PATIENTS)
    assert server.connections == 1


def test_what_is_there_is_not_fetched_again(server, collection, tmp_path, hasty):
    fetch(collection, tmp_path, hasty)
    server.asked.clear()
    fetch(collection, tmp_path, hasty)
    assert server.asked == []


def test_a_cut_series_starts_again_and_the_next_run_fetches_only_what_is_missing(server, collection, tmp_path, hasty):
    broken = server.pages[address(PATIENTS[1])]
    broken.cuts = [50, 50, 50]
    with pytest.raises(InputError, match=r"gave 2 of 3 patients, not PANCREAS_0002: cut the connection .* put its"):
        fetch(collection, tmp_path, hasty)
    assert sorted(path.name for path in (tmp_path / "Pancreas-CT").iterdir()) == [PATIENTS[0], PATIENTS[2]]
    broken.cuts = [50]
    server.asked.clear()
    fetch(collection, tmp_path, hasty)
    assert server.paths()[1:] == [address(PATIENTS[1])] * 2
    assert tree(tmp_path / "Pancreas-CT") == whole_tree()


BAD = slices(PATIENTS[0])
GOOD_SUMS = {name: hashlib.md5(content).hexdigest() for name, content in BAD.items()}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (zipped(BAD | {"00000001.dcm": b"damaged"}, GOOD_SUMS), "packs a damaged slice 00000001.dcm"),
        (zipped({"00000000.dcm": BAD["00000000.dcm"]}, GOOD_SUMS), "packs a series without its slice 00000001.dcm"),
        (zipped({"00000000.dcm": BAD["00000000.dcm"]}), "packs 1 slices where it lists 3"),
        (zipped(BAD | {"../escaped.dcm": b"x"}), "its series reaches out of its tree"),
        (zipped(BAD)[:-30], "its series is truncated or damaged"),
        (b"<html>maintenance</html>", "answers with a web page instead of the file"),
    ],
)
def test_a_series_that_is_not_whole_does_not_appear(server, collection, tmp_path, hasty, content, problem):
    server.pages[address(PATIENTS[0])].content = content
    with pytest.raises(InputError, match=f"PANCREAS_0001: {problem}"):
        fetch(collection, tmp_path, hasty)
    assert not (tmp_path / "Pancreas-CT" / PATIENTS[0]).exists()
    assert not list(tmp_path.rglob("escaped*"))
    assert not list(tmp_path.rglob(".*.partial"))


def test_the_second_service_completes_what_the_first_lacks(server, collection, toy, tmp_path, hasty):
    server.pages[address(PATIENTS[2])].status = 500
    second = listing(server, *map(series_of, PATIENTS), base="/v1")
    server.serve(address(PATIENTS[2], "/v1"), zipped(slices(PATIENTS[2])))
    archive = collection.archives[0]
    both = toy(Archive(archive.name, (*archive.addresses, second), without=WITHDRAWN), cases=3)
    fetch(both, tmp_path, hasty)
    assert tree(tmp_path / "Pancreas-CT") == whole_tree()
    assert [path for path in server.paths() if path.startswith("/v1/getImage")] == [address(PATIENTS[2], "/v1")]


@pytest.mark.parametrize(
    ("listed", "problem"),
    [
        ([series_of(PATIENTS[0])], "lists 1 patients with CT where the catalogue expects 3"),
        ([series_of(PATIENTS[0], PatientID="../escaped")], "lists a series under a name that no folder can have"),
        ([series_of(PATIENTS[0], StudyInstanceUID="..")], "lists a series under a name that no folder can have"),
        ([{"PatientID": "P"}], "answers with something that is no list of series"),
        (["text"], "answers with something that is no list of series"),
    ],
)
def test_a_list_that_is_none_is_refused(server, toy, tmp_path, hasty, listed, problem):
    wanted = toy(Archive("Pancreas-CT", (listing(server, *listed),)), cases=3)
    with pytest.raises(InputError, match=problem):
        fetch(wanted, tmp_path, hasty)
    assert not list(tmp_path.rglob("escaped*"))


def test_a_busy_service_is_asked_again_for_its_list(server, collection, tmp_path, hasty):
    server.pages["/v4/getSeries?Collection=Pancreas-CT"].statuses = [(503, {}), (429, {"Retry-After": "0"})]
    fetch(collection, tmp_path, hasty)
    assert tree(tmp_path / "Pancreas-CT") == whole_tree()


def test_patients_dropped_in_by_hand_are_used(server, collection, tmp_path, hasty):
    """In the folders that the collection's own download tool makes."""
    dropped = tmp_path / "Pancreas-CT/PANCREAS_0002/11-24-2015-CT/Pancreas-1/1-001.dcm"
    dropped.parent.mkdir(parents=True)
    dropped.write_bytes(b"slice")
    fetch(collection, tmp_path, hasty)
    assert address(PATIENTS[1]) not in server.paths()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*0002/**/*.dcm")] == [
        "Pancreas-CT/PANCREAS_0002/11-24-2015-CT/Pancreas-1/1-001.dcm"
    ]
