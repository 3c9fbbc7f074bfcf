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
    return {f"{number:08d}.dcm": dicom(f"{patient} slice {number}") for number in range(3)}


def dicom(text: str) -> bytes:
    """A file with DICOM's preamble and mark."""
    return bytes(128) + b"DICM" + text.encode() * 99


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
    files = (path for path in folder.rglob("[!.]*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


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
    found = fetch(collection, tmp_path, hasty)
    assert {name: file.path.read_bytes() for name, file in found.items()} == {
        f"Pancreas-CT/{name}": content for name, content in whole_tree().items()
    }
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
        (zipped(BAD | {"00000001.dcm": dicom("damaged")}, GOOD_SUMS), "packs a damaged slice 00000001.dcm"),
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


def drop(folder: Path, *patients: str, count: int = 3) -> None:
    """Patients in the folders that the collection's own download tool makes."""
    for patient in patients:
        series = folder / "Pancreas-CT" / patient / "11-24-2015-CT/Pancreas-1"
        series.mkdir(parents=True)
        for number in range(count):
            (series / f"1-{number:03d}.dcm").write_bytes(dicom(f"{number}"))


def test_patients_dropped_in_by_hand_are_used(server, collection, tmp_path, hasty):
    drop(tmp_path, PATIENTS[1])
    found = fetch(collection, tmp_path, hasty)
    assert address(PATIENTS[1]) not in server.paths()
    assert sorted(path.name for path in tmp_path.rglob("*0002/**/*.dcm")) == ["1-000.dcm", "1-001.dcm", "1-002.dcm"]
    checks = {name.split("/")[1]: file.check for name, file in found.items() if name.endswith(".dcm")}
    assert checks == {
        PATIENTS[0]: "MD5 of the service's md5hashes.csv",
        PATIENTS[1]: "the number of slices in the service's list",
        PATIENTS[2]: "MD5 of the service's md5hashes.csv",
    }


@pytest.mark.parametrize("dropped", [PATIENTS, PATIENTS[:1]])
def test_folders_that_hold_no_dicom_are_no_patients(server, collection, tmp_path, hasty, dropped):
    for patient in dropped:
        (tmp_path / "Pancreas-CT" / patient).mkdir(parents=True)
        (tmp_path / "Pancreas-CT" / patient / "readme.txt").write_text("hi")
        (tmp_path / "Pancreas-CT" / patient / "1.dcm").write_bytes(b"no slice")
    with pytest.raises(InputError, match=r"PANCREAS_0001: holds 0 DICOM slices where 3 are listed; complete it"):
        fetch(collection, tmp_path, hasty)
    assert (tmp_path / "Pancreas-CT" / PATIENTS[0] / "readme.txt").exists()


def test_a_dropped_patient_that_lacks_slices_is_refused(server, collection, tmp_path, hasty):
    drop(tmp_path, *PATIENTS[:2])
    drop(tmp_path, PATIENTS[2], count=2)
    with pytest.raises(InputError, match=r"PANCREAS_0003: holds 2 DICOM slices where 3 are listed; complete it"):
        fetch(collection, tmp_path, hasty)


def test_dropped_patients_are_used_unchecked_where_the_service_is_mute(server, collection, tmp_path, hasty, capsys):
    drop(tmp_path, *PATIENTS)
    server.pages["/v4/getSeries?Collection=Pancreas-CT"].status = 500
    found = fetch(collection, tmp_path, hasty)
    assert len(found) == 9
    assert {file.check for file in found.values()} == {""}
    assert "slices not compared with" in capsys.readouterr().err
    assert len(server.asked) == 1


def test_a_slice_that_was_damaged_or_lost_since_it_was_fetched_is_told_without_a_network(
    server, collection, tmp_path, hasty
):
    fetch(collection, tmp_path, hasty)
    server.stop()
    damaged = next((tmp_path / "Pancreas-CT" / PATIENTS[1]).rglob("00000001.dcm"))
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"00000001\.dcm: has md5 .*it is damaged: remove .*PANCREAS_0002 to have it"):
        fetch(collection, tmp_path, hasty)
    damaged.unlink()
    with pytest.raises(InputError, match=r"PANCREAS_0002: holds 2 DICOM slices where 3 are listed"):
        fetch(collection, tmp_path, hasty)
