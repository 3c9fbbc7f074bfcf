"""A native tree is read as it was unpacked or not at all, whatever its files' formats would have let pass."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from universal_diffusion.checksums import SUMS
from universal_diffusion.datasets.catalogue import entry
from universal_diffusion.datasets.readers import reader
from universal_diffusion.errors import InputError
from universal_diffusion.phantom.write import write
from universal_diffusion.preparation.acquire import acquire
from universal_diffusion.preparation.folders import visible_tree
from universal_diffusion.preparation.unpack import unpack
from universal_diffusion.preparation.unpacked import unpacked
from universal_diffusion.settings import Phantom, Source

SOURCES = ("msd03", "btcv", "kits23", "pancreas_ct", "abdomenct1k", "amos", "word", "ircadb")
REAL = {"chaos": "chaos", "totalsegmentator": "totalsegmentator", "msd09": "msd/Task09_Spleen"}
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def phantom_tree(source: str, folder: Path) -> Path:
    write(source, Phantom(16, (20.0, 20.0), {source: 2}), 0, folder / "archives")
    unpack(folder / "archives", folder / "native", entry(source).password)
    return folder / "native"


def real_tree(source: str, folder: Path) -> Path:
    if not (DATA / REAL[source]).exists():
        pytest.skip(f"the labelled CTs of {source} are not under {DATA}")
    acquire(entry(source), Source("local", "test", REAL[source]), DATA, folder / "archives")
    unpack(folder / "archives", folder / "native", None)
    return folder / "native"


@pytest.fixture(scope="module")
def dicom(tmp_path_factory) -> Path:
    return phantom_tree("ircadb", tmp_path_factory.mktemp("ircadb"))


def refused(root: Path, case: str, match: str) -> None:
    with pytest.raises(InputError, match=match) as refusal:
        unpacked("ircadb", root).read(case)
    assert f"delete {root} and run again: rule `unpack` remakes it" in str(refusal.value)


@pytest.mark.parametrize(
    ("source", "made"), [*((name, phantom_tree) for name in SOURCES), *((name, real_tree) for name in REAL)]
)
def test_what_lies_outside_a_cases_paths_is_not_read(source: str, made: Callable[[str, Path], Path], tmp_path):
    root = made(source, tmp_path)
    native = unpacked(source, root)
    case = native.cases()[0]
    before = native.read(case)
    for name in visible_tree(root):
        if not any((root / name).is_relative_to(path) for path in native.paths(case)):
            (root / name).unlink()
    after = reader(source, root).read(case)
    assert np.array_equal(before.image, after.image)
    assert np.array_equal(before.labels, after.labels)


def test_the_sums_are_those_of_sha256sum(dicom):
    told = subprocess.run(["sha256sum", "-c", SUMS], cwd=dicom, check=True, capture_output=True, text=True).stdout
    listed = {line.removesuffix(": OK") for line in told.splitlines()}
    assert listed == {str(name) for name in visible_tree(dicom)} - {SUMS, "origin.json"}


@settings(max_examples=20)
@given(data=st.data())
def test_a_flipped_bit_of_any_slice_is_told(dicom, data):
    case = unpacked("ircadb", dicom).cases()[0]
    path = data.draw(st.sampled_from(sorted(dicom.glob(f"**/{case}/**/image_*"))))
    good = path.read_bytes()
    altered = bytearray(good)
    altered[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(altered)
    try:
        refused(dicom, case, f"{path}: has SHA-256 [0-9a-f]+, but [0-9a-f]+ when its tree was unpacked")
    finally:
        path.write_bytes(good)


def test_swapped_missing_and_added_slices_are_told(dicom, tmp_path):
    case, other = unpacked("ircadb", dicom).cases()[:2]
    for change, problem in (("swap", "has SHA-256"), ("remove", "cannot be read"), ("add", "was not there")):
        root = tmp_path / change
        shutil.copytree(dicom, root)
        (first,) = root.glob(f"**/{case}/**/PATIENT_DICOM/image_0")
        if change == "swap":
            (second,) = root.glob(f"**/{other}/**/PATIENT_DICOM/image_0")
            shutil.copy(second, first)
        elif change == "remove":
            first.unlink()
        else:
            shutil.copy(first, first.with_name("image_000"))
        refused(root, case, problem)
    assert np.any(unpacked("ircadb", dicom).read(case).labels)


def test_a_tree_without_sums_is_not_whole(dicom, tmp_path):
    shutil.copytree(dicom, tmp_path / "native")
    (tmp_path / "native" / SUMS).unlink()
    refused(tmp_path / "native", unpacked("ircadb", dicom).cases()[0], f"{SUMS}: cannot be read")


def test_a_linked_file_that_was_edited_is_told_with_its_place(tmp_path):
    own = tmp_path / "mine" / "Task09_Spleen"
    write("msd09", Phantom(16, (20.0, 20.0), {"msd09": 1}), 0, tmp_path / "made")
    unpack(tmp_path / "made", own, None)
    acquire(entry("msd09"), Source("local", "test", own.name), own.parent, tmp_path / "archives")
    unpack(tmp_path / "archives", tmp_path / "native", None)
    native = unpacked("msd09", tmp_path / "native")
    case = native.cases()[0]
    assert np.any(native.read(case).labels)
    _, label = native.paths(case)
    target = label.resolve()
    target.write_bytes(target.read_bytes() + b"\0")
    with pytest.raises(InputError, match=f"put {target} back as it was; or delete the source's archives/"):
        native.read(case)
