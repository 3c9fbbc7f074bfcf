"""Every bit counts: a volume, model, checkpoint, prediction or table that was altered anywhere is refused in one line.

Each kind is written once, small. Then bits are flipped and ends cut off at places that hypothesis draws; what is read
must be what was written, or an InputError that names the file and what remakes it. Where the hash covers the whole file
(all but slices and patches of volumes) nothing altered may be read at all.
"""

import hashlib
import resource
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lightning_fabric.plugins import Precision

from universal_diffusion.checksums import SUMS, beside, hashes, read_sums, write_sums, write_with_hash
from universal_diffusion.csv_tables import read_csv
from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.scoring.predictions import predictions_of
from universal_diffusion.hdf5_seal import BLOCK
from universal_diffusion.method.weights import (
    load_card,
    load_tensors,
    load_weights,
    pretrained_file,
    save_model,
    save_tensors,
    write_card,
)
from universal_diffusion.preparation.splits import SplitRow, read_splits, write_splits
from universal_diffusion.segmentation.outputs.nifti_output import write_map, write_mask
from universal_diffusion.segmentation.sampling.engine import SlabMaps
from universal_diffusion.segmentation.sampling.slab_file import MAXIMUM, SlabFile, write_slab
from universal_diffusion.systems import system_of
from universal_diffusion.targets import bits
from universal_diffusion.training.checkpoints import CHECKPOINT, Checkpoint, Progress
from universal_diffusion.volumes import IMAGE_STEPS, SLICE_PRINT, Grid, Volume, VolumeFile, write_volume

SYSTEM = system_of("mask_clip")
GRID = Grid((6, 5, 4), np.diag([1.5, 1.5, 2.0, 1.0]))
CASE = "liver_0"


@dataclass(frozen=True)
class Stored:
    """A file, how it is read, what `remedy` names when it cannot be, and whether its hash covers all of it."""

    path: Path
    read: Callable[[], object]
    remedy: str
    whole: bool = True


def volume(case: str = CASE, seed: int = 0) -> Volume:
    random = np.random.default_rng(seed)
    image = (random.integers(0, IMAGE_STEPS + 1, GRID.shape) / IMAGE_STEPS).astype(np.float32)
    labels = random.choice(np.array([0, bits(["liver"]), bits(["liver", "liver tumor"])], np.uint32), GRID.shape)
    prints = np.array([(axis, level, 7 * level) for axis in range(3) for level in range(9)], SLICE_PRINT)
    hu = random.integers(0, 99, 300)
    return Volume("msd03", case, ("liver", "liver tumor"), "ab", image, labels, GRID, labels, GRID, hu, prints)


def plain(value: object) -> object:
    """Something that `==` compares to the last bit."""
    if isinstance(value, torch.Tensor):
        return plain(value.numpy())
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, Volume | Grid):
        return plain(vars(value))
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def volume_whole(folder: Path) -> Stored:
    def read() -> object:
        with VolumeFile(path) as file:
            return plain(file.read())

    path = folder / f"{CASE}.h5"
    write_volume(path, volume())
    return Stored(path, read, "rule `harmonise` remakes it")


def volume_in_parts(folder: Path) -> Stored:
    def read() -> object:
        with VolumeFile(path) as file:
            named = [file.source, file.case, file.annotated, file.fingerprint, file.grid, file.native_grid]
            small = [file.slice_counts, file.native_hu, file.slice_prints]
            slices = [(file.label_slice(z), file.image_patch(z, 0, 0, 6)) for z in range(GRID.shape[2])]
            return plain([named, small, slices])

    path = folder / f"{CASE}.h5"
    write_volume(path, volume())
    return Stored(path, read, "rule `harmonise` remakes it", whole=False)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Linear(5, 7)


def model(folder: Path, file: str) -> Stored:
    def read() -> object:
        card, module = load_card(at), torch.nn.Linear(5, 7)
        load_weights(at, module, card)
        return plain([card, dict(module.state_dict())])

    at = folder / "mask_clip"
    save_model(at, network(), {"architecture": {"width": 7}, "loss": float("nan"), "spacing_mm": [1.5, 1.5, 2.0]})
    return Stored(at / file, read, "rule `denoiser` remakes it", whole=file != "card.json")


def pretrained(folder: Path) -> Stored:
    def read() -> object:
        return plain(load_tensors(pretrained_file(at, "clip_text")))

    at = folder / "pretrained"
    save_tensors(at / "clip_text.safetensors", {"features": torch.arange(30.0)})
    write_card(at, {"sha256": {"clip_text": hashlib.sha256((at / "clip_text.safetensors").read_bytes()).hexdigest()}})
    return Stored(at / "clip_text.safetensors", read, "rule `pretrained` remakes it")


def slab_file(folder: Path) -> Stored:
    def read() -> object:
        file = SlabFile(path)
        file.check()
        return plain([file.voxels, [file.levels(kind, row, slice(None)) for kind in MAXIMUM for row in range(3)]])

    path = folder / "slab_00000_004.h5"
    write_slab(path, slab())
    return Stored(path, read, "delete it and segment the CT again")


class Learning:
    """As much of a task as a checkpoint asks for."""

    def __init__(self):
        self.module, self.history = network(), torch.arange(4)

    def state(self) -> dict[str, torch.Tensor]:
        return {"history": self.history}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        self.history = state["history"]


def checkpoint_in(folder: Path) -> Checkpoint:
    task = Learning()
    optimiser = torch.optim.AdamW(task.module.parameters())
    task.module(torch.ones(1, 5)).sum().backward()
    optimiser.step()
    return Checkpoint(folder / CHECKPOINT, {"seed": 1}, task, network(), optimiser, Precision())


def checkpoint(folder: Path) -> Stored:
    def read() -> object:
        found = checkpoint_in(at)
        progress = found.load()
        state = [found.task.module.state_dict(), found.average.state_dict(), found.optimiser.state_dict()["state"]]
        return plain([vars(progress), found.task.history, *map(dict, state)])

    at = folder / "mask_learnt"
    checkpoint_in(at).save(Progress(3, 4, 4))
    return Stored(at / CHECKPOINT, read, "delete it and run again: rule `denoiser` starts afresh")


def prediction(folder: Path, file: str) -> Stored:
    def read() -> object:
        found = predictions_of([shard], SYSTEM, "msd03", CASE, GRID)
        predicted = found.mask("liver")
        return plain([predicted, found.mean("liver", predicted), found.variance("liver")])

    shard = folder / "mask_clip" / "1-of-1"
    mean = np.random.default_rng(0).random(GRID.shape).astype(np.float32)
    at = shard / "msd03" / CASE
    write_mask(at / "liver.nii.gz", np.rint(mean * 255) / 255 >= 0.5, GRID)
    write_map(at / "liver_mean.nii.gz", mean, 1.0, GRID)
    write_map(at / "liver_variance.nii.gz", mean / 4, 0.25, GRID)
    write_sums(shard, hashes(shard, at.iterdir()))
    return Stored(shard / file, read, f"delete {shard} and run again: rule `segment` remakes it", whole=file != SUMS)


def table(folder: Path) -> Stored:
    path = folder / "rows.csv"
    write_with_hash(path, "source,case,dice\n" + "".join(f"msd03,liver_{n},{n / 7:.6g}\n" for n in range(9)))
    return Stored(path, lambda: read_csv(path).to_csv(), "delete both and run again: Snakemake remakes them")


def splits(folder: Path) -> Stored:
    path = folder / "splits.csv"
    write_splits(path, [SplitRow("msd03", "msd", f"liver_{n}", "g", "train", "") for n in range(9)])
    return Stored(path, lambda: read_splits(path), "delete both and run again: Snakemake remakes them")


PREDICTED = f"msd03/{CASE}/liver"
KINDS = {
    "volume, read whole": volume_whole,
    "volume, slices and patches": volume_in_parts,
    "weights": lambda folder: model(folder, "weights.safetensors"),
    "card": lambda folder: model(folder, "card.json"),
    "pretrained weights": pretrained,
    "checkpoint": checkpoint,
    "mask": lambda folder: prediction(folder, f"{PREDICTED}.nii.gz"),
    "mean": lambda folder: prediction(folder, f"{PREDICTED}_mean.nii.gz"),
    "variance": lambda folder: prediction(folder, f"{PREDICTED}_variance.nii.gz"),
    "slab": slab_file,
    "sums of a shard": lambda folder: prediction(folder, SUMS),
    "table": table,
    "splits": splits,
}


@pytest.fixture(scope="module", params=list(KINDS))
def stored(request, tmp_path_factory) -> tuple[Stored, Path, str]:
    """A stored file, a copy of it, and the hash of what was read of it unharmed."""
    made = KINDS[request.param](tmp_path_factory.mktemp("stored"))
    copy = tmp_path_factory.mktemp("copies") / "copy"
    shutil.copy(made.path, copy)
    return made, copy, digest(made.read())


def read_altered(stored: Stored, altered: bytes, good: bytes) -> object:
    """What is read of the altered file, or the InputError that refuses it."""
    stored.path.write_bytes(altered)
    try:
        return stored.read()
    except InputError as error:
        return error
    finally:
        stored.path.write_bytes(good)


def check_refused(stored: Stored, altered: bytes, good: bytes, unharmed: str) -> None:
    """One line names the file (or one that its sums do not fit) and what remakes it; else nothing read has changed."""
    found = read_altered(stored, altered, good)
    if not isinstance(found, InputError):
        assert not stored.whole
        assert digest(found) == unharmed
        return
    told = str(found)
    assert str(stored.path) in told or stored.path.name in (SUMS, "card.json")
    assert stored.remedy in told
    assert "\n" not in told


def digest(read: object) -> str:
    return hashlib.sha256(repr(read).encode()).hexdigest()


@settings(max_examples=60)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@example(place=0.0, bit=0)
@example(place=np.nextafter(1, 0), bit=7)
def test_a_flipped_bit_is_never_read(stored, place, bit):
    made, copy, unharmed = stored
    good = copy.read_bytes()
    altered = bytearray(good)
    altered[int(place * len(good))] ^= 1 << bit
    check_refused(made, bytes(altered), good, unharmed)


@settings(max_examples=20)
@given(kept=st.floats(0, 1, exclude_max=True))
@example(kept=0.0)
@example(kept=np.nextafter(1, 0))
def test_a_file_cut_short_is_never_read(stored, kept):
    made, copy, unharmed = stored
    good = copy.read_bytes()
    check_refused(made, good[: int(kept * len(good))], good, unharmed)


def test_a_refused_volume_is_not_kept_open(tmp_path):
    made = volume_in_parts(tmp_path)
    good = made.path.read_bytes()
    for place in range(BLOCK, len(good), 97):
        altered = bytearray(good)
        altered[place] ^= 4
        if isinstance(refusal := read_altered(made, bytes(altered), good), InputError):
            assert isinstance(read_altered(made, good[: 2 * len(good) // 3], good), InputError), refusal


@pytest.mark.parametrize("name", ["slice_counts", "native_hu", "slice_prints"])
def test_zeros_in_the_place_of_a_chunk_are_told(tmp_path, name):
    """What HDF5 reads past the end of a file that is cut while it is open."""
    made = volume_in_parts(tmp_path)
    with h5py.File(made.path) as file:
        chunk = file[name].id.get_chunk_info(0)
    with open(made.path, "r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(bytes(chunk.size))
    with pytest.raises(InputError, match="rule `harmonise`"):
        made.read()


def slab() -> SlabMaps:
    maps = np.random.default_rng(0).random((3, 40, 40, 4)).astype(np.float32)
    maps[..., 1] = 0
    return SlabMaps(0, maps, maps / 4, np.arange(6).reshape(3, 2))


@pytest.mark.parametrize(
    "write", [lambda path: write_volume(path, volume()), lambda path: write_slab(path, slab())], ids=["volume", "slab"]
)
def test_a_disk_that_is_full_after_any_byte_is_told_and_leaves_nothing(tmp_path, write):
    path = tmp_path / f"{CASE}.h5"
    write(path)
    size = path.stat().st_size
    path.unlink()
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in [*range(0, size, size // 60), size - 1]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
        try:
            with pytest.raises(OSError, match="File too large"):
                write(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
        assert list(tmp_path.iterdir()) == []


def test_rows_missing_at_the_end_of_a_table_are_told(tmp_path):
    made = splits(tmp_path)
    good = made.path.read_bytes()
    for end in [place + 1 for place, byte in enumerate(good) if byte == ord("\n")][:-1]:
        assert isinstance(read_altered(made, good[:end], good), InputError)


def test_an_edited_table_is_read_once_its_hash_is_gone(tmp_path):
    made = splits(tmp_path)
    made.path.write_text(made.path.read_text().replace("train", "test"))
    with pytest.raises(InputError, match=r"delete splits\.csv\.sha256 alone"):
        made.read()
    beside(made.path).unlink()
    assert {row.part for row in made.read()} == {"test"}


def test_files_swapped_between_cases_are_told(tmp_path):
    for number in range(2):
        write_volume(tmp_path / f"liver_{number}.h5", volume(f"liver_{number}", number))
    shutil.copy(tmp_path / "liver_1.h5", tmp_path / "liver_0.h5")
    with pytest.raises(InputError, match=r"liver_0\.h5: holds the volume of msd03 liver_1; .*rule `harmonise`"):
        VolumeFile(tmp_path / "liver_0.h5")
    made = prediction(tmp_path, f"{PREDICTED}.nii.gz")
    shutil.copy(made.path.with_name("liver_mean.nii.gz"), made.path)
    with pytest.raises(InputError, match=r"liver\.nii\.gz: is not the file that its shard's SHA256SUMS"):
        made.read()
    other = tmp_path / "coarser"
    save_model(other, torch.nn.Linear(5, 7), {"architecture": {}})
    mine = model(tmp_path, "weights.safetensors")
    shutil.copy(other / "weights.safetensors", mine.path)
    with pytest.raises(InputError, match=r"weights\.safetensors: is not the file its card\.json describes"):
        mine.read()


def test_files_of_an_older_version_say_so(tmp_path):
    """Each as it was written before it carried a hash."""
    (tmp_path / "mask_clip").mkdir()
    (tmp_path / "mask_clip" / "card.json").write_text('{"architecture": {}}')
    with pytest.raises(InputError, match=r"holds no hash of itself: another version wrote it; .*rule `denoiser`"):
        load_card(tmp_path / "mask_clip")
    found = checkpoint_in(tmp_path / "segresnet")
    save_tensors(found.path, {"module/weight": torch.ones(2)})
    with pytest.raises(InputError, match=r"holds no hash of itself: another version wrote it.*rule `segresnet`"):
        found.load()
    (tmp_path / "shard" / "msd03" / CASE).mkdir(parents=True)
    with pytest.raises(InputError, match="SHA256SUMS: cannot be read"):
        predictions_of([tmp_path / "shard"], SYSTEM, "msd03", CASE, GRID)


def test_a_volume_of_another_format_is_refused(tmp_path):

    with h5py.File(tmp_path / "liver_0.h5", "w") as file:
        file.attrs["format"] = 2
    with pytest.raises(InputError, match=r"format 2, expected 3: .*rule `harmonise` remakes it"):
        VolumeFile(tmp_path / "liver_0.h5")


def test_hashes_can_be_checked_by_hand(tmp_path):
    saved, predicted, rows = volume_whole(tmp_path), prediction(tmp_path, SUMS), table(tmp_path)
    first = saved.path.read_bytes().partition(b"\n")[0].decode()
    assert first.endswith(hashlib.sha256(saved.path.read_bytes()[BLOCK:]).hexdigest())
    for sums in (predicted.path, beside(rows.path)):
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", sums.name], cwd=sums.parent, check=True)
    assert set(read_sums(predicted.path.parent, "")) == {
        f"{PREDICTED}{kind}.nii.gz" for kind in ("", "_mean", "_variance")
    }
