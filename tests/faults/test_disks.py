"""A disk that fills up or turns read-only under each kind of work: it is named, and then all is as it was."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.faults

STAGES = {
    "harmonise": "volumes/amos/1-of-1",
    "training": "models/noise_learnt/weights.safetensors",
    "segmentation": "predictions/mask_clip/1-of-1",
    "scoring": "scores/parts/mask_clip.csv",
    "tables": "tables/table2.csv",
    "report": "report.html",
}
ROOM = (0, 2**16)
SHUT = ("training", "segmentation", "tables")
DISK = 2**29


@pytest.fixture(scope="module")
def small_disk(undisturbed, tmp_path_factory) -> Iterator:
    """The finished study on a small disk of its own."""
    folder = tmp_path_factory.mktemp("disk")
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder]).returncode:
        pytest.skip("mounting a small disk needs root")
    yield undisturbed[0].copy(folder / "study", said=tmp_path_factory.mktemp("said") / "study.txt")
    subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def full(folder, room: int) -> Iterator[None]:
    """Leave that many bytes free."""
    balloon = folder.with_name("balloon")
    free = os.statvfs(folder)
    size = free.f_bavail * free.f_frsize - room
    with open(balloon, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    yield
    balloon.unlink()


@contextmanager
def read_only(folder) -> Iterator[None]:
    """Let nothing be written below `folder`."""
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
    yield
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_named_and_with_room_again_all_is_as_it_was(small_disk, undisturbed, counted, different):
    times = 0
    for target in STAGES.values():
        dates = small_disk.dates()
        for room in ROOM:
            small_disk.remove(target)
            with full(small_disk.folder, room):
                status, said = small_disk.remake(target)
            if status:
                times += 1
                assert "No space left on device" in said, said[-3000:]
        status, said = small_disk.remake(target)
        assert status == 0, said[-3000:]
        assert different(small_disk, undisturbed[1]) == []
        small_disk.redate(dates)
    assert times >= len(STAGES)
    assert small_disk.leftovers() == []
    counted("full disk", hurt=", ".join(STAGES), times=times, survived=times, detected=times)


@pytest.mark.parametrize("part", ["results", "."])
def test_a_read_only_folder_is_named_and_writable_again_all_is_as_it_was(
    small_disk, undisturbed, counted, different, part
):
    dates = small_disk.dates()
    for name in SHUT:
        small_disk.remove(STAGES[name])
        with read_only(small_disk.folder / part):
            status, said = small_disk.make(STAGES[name])
        assert status != 0
        assert "Read-only file system" in said or "Write-protected output files" in said, said[-3000:]
        status, said = small_disk.remake(STAGES[name])
        assert status == 0, said[-3000:]
        assert different(small_disk, undisturbed[1]) == []
        small_disk.redate(dates)
    what = "results" if part == "results" else "the whole folder"
    counted(f"read-only: {what}", hurt=", ".join(SHUT), times=len(SHUT), survived=len(SHUT), detected=len(SHUT))
