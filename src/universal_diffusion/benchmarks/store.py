"""Benchmark: random 256 x 256 training patches from the volume store, from MONAI's pipeline and from `.nii.gz`.

    python -m universal_diffusion.benchmarks.store --paper config/paper.yaml --output-csv F

Every pipeline visits a case and cuts 8 patches of it. "warm": its files lie in the page cache; "cold": each visit opens
them afresh from the disk, as when thousands of volumes are larger than memory.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pandas as pd
import torch
import yaml
from monai.data import PersistentDataset
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    FgBgToIndicesd,
    LoadImaged,
    RandCropByPosNegLabeld,
)

from universal_diffusion.benchmarks.demand import PEAK, patches_per_second
from universal_diffusion.benchmarks.record import forget, seconds, write_record
from universal_diffusion.benchmarks.scans import harmonised
from universal_diffusion.errors import one_line_errors
from universal_diffusion.preparation.patches import PatchSampler
from universal_diffusion.settings import Patches, Study, read
from universal_diffusion.targets import mask
from universal_diffusion.training.patches import IndexedBatches, ReadAhead
from universal_diffusion.volumes import Volume, write_volume

CASES, PER_CASE, PATCH, VISITS, SEED = 3, 8, 256, 9, 1
PAPER_CASES = 2882
KEYS = ("image", "label")


@dataclass(frozen=True)
class Pipeline:
    """One way to patches: `visit` cuts `PER_CASE` of them from case i; `afresh` too, opening its files anew."""

    name: str
    files: tuple[tuple[Path, ...], ...]  # of each case
    visit: Callable[[int], object]
    afresh: Callable[[int], object]


def store(paths: Sequence[Path], images: bool) -> Pipeline:
    """The study's own sampler on stored volumes, in one process, with images or for their masks alone."""
    every = PatchSampler(paths, Patches(PER_CASE, 0.5), PATCH, SEED)

    def afresh(index: int) -> object:
        one = PatchSampler([paths[index % CASES]], Patches(PER_CASE, 0.5), PATCH, SEED)
        return one.draw(index, PER_CASE, images)

    return Pipeline(
        "volume store, one process" + ("" if images else ", masks alone"),
        tuple((path,) for path in paths),
        lambda index: every.draw(index, PER_CASE, images),
        afresh,
    )


def nifti(volumes: Sequence[Volume], folder: Path) -> Pipeline:
    """Compressed NIfTI of the same arrays, the mask of one target; both are read whole."""
    pairs = []
    for volume in volumes:
        arrays = volume.image, mask(volume.labels, "liver").astype(np.uint8)
        pair = tuple(folder / f"{volume.case}_{key}.nii.gz" for key in KEYS)
        for path, array in zip(pair, arrays, strict=True):
            nib.save(nib.Nifti1Image(array, volume.grid.affine), path)
        pairs.append(pair)

    def visit(index: int) -> list[np.ndarray]:
        generator = np.random.default_rng(index)
        arrays = [np.asanyarray(nib.load(path).dataobj) for path in pairs[index % CASES]]
        corners = [generator.integers(0, np.subtract(arrays[0].shape, (PATCH, PATCH, 1)) + 1) for _ in range(PER_CASE)]
        return [array[x : x + PATCH, y : y + PATCH, z].copy() for x, y, z in corners for array in arrays]

    return Pipeline(".nii.gz, read whole", tuple(pairs), visit, visit)


def crops(per_case: int, indexed: bool) -> Compose:
    """MONAI's transforms that cut `per_case` patches of a case; `indexed`: where the target lies can be cached."""
    crop = {"fg_indices_key": "label_fg_indices", "bg_indices_key": "label_bg_indices"} if indexed else {}
    return Compose(
        [
            LoadImaged(KEYS),
            EnsureChannelFirstd(KEYS),
            EnsureTyped(KEYS, dtype=[torch.float32, torch.uint8]),
            *([FgBgToIndicesd("label")] if indexed else []),
            RandCropByPosNegLabeld(KEYS, "label", (PATCH, PATCH, 1), pos=1, neg=1, num_samples=per_case, **crop),
        ]
    )


def monai(pairs: Sequence[tuple[Path, ...]], folder: Path, indexed: bool) -> Pipeline:
    """`PersistentDataset` on those files, `RandCropByPosNegLabeld`; `indexed`: target voxels are cached too."""
    cache = folder / f"monai_{indexed}"
    cases = [dict(zip(KEYS, map(str, pair), strict=True)) for pair in pairs]
    dataset, files = PersistentDataset(cases, crops(PER_CASE, indexed), cache_dir=cache), []
    for index in range(len(cases)):
        before = set(cache.glob("*.pt"))
        dataset[index]
        files.append(tuple(set(cache.glob("*.pt")) - before))
    name = "MONAI PersistentDataset" + (", indices cached" if indexed else "")
    return Pipeline(name, tuple(files), lambda i: dataset[i % CASES], lambda i: dataset[i % CASES])


def measured(pipeline: Pipeline) -> dict[str, object]:
    """Patches per second, warm and cold, and bytes on disk per case."""
    warm, cold = iter(range(1000)), iter(range(1000))
    pipeline.visit(next(warm))
    files = [path for paths in pipeline.files for path in paths]
    return {
        "pipeline": pipeline.name,
        "warm patches/s": PER_CASE / seconds(lambda: pipeline.visit(next(warm)), VISITS),
        "cold patches/s": PER_CASE / seconds(lambda: pipeline.afresh(next(cold)), VISITS, lambda: forget(files)),
        "MB per case": sum(path.stat().st_size for path in files) / CASES / 1e6,
    }


def read_ahead(paths: Sequence[Path], workers: int) -> float:
    """Patches per second that a training receives from worker processes, in batches of 64, over 1,280 patches."""
    batch, batches = 64, 20
    sampler = PatchSampler(paths, Patches(PER_CASE, 0.5), PATCH, SEED)
    ahead, indices = ReadAhead(IndexedBatches(sampler, batch), workers), iter(range(10**6))
    for _ in range(batches):
        ahead.draw(next(indices))
    return batch / (seconds(lambda: [ahead.draw(next(indices)) for _ in range(batches)], 3) / batches)


def report(rows: pd.DataFrame, ahead: float, needed: Mapping[str, float]) -> list[str]:
    """What the page says below its table."""
    rate = rows.set_index("pipeline")["warm patches/s"]
    (own, masks), (plain, cached) = (rate[rate.index.str.startswith(name)] for name in ("volume store", "MONAI"))
    demand = ", ".join(f"{network} {patches:,.0f}" for network, patches in needed.items())
    return [
        f"{CASES} cases of 280 x 280 x 268 voxels, {PER_CASE} patches of {PATCH} x {PATCH} a visit, one torch thread, "
        f"median of {VISITS} visits. MONAI and NIfTI hold the image and ONE target's mask, the store all 29 targets.",
        f"The store gives {own / plain:.0f} times the patches of MONAI's pipeline, {own / cached:.0f} times those of "
        "its variant that also caches where the target lies.",
        f"Two worker processes hand a training {ahead:,.0f} patches/s.",
        f"Patches/s that a GPU would take at its full peak ({PEAK}), which none reaches, "
        f"from the counted operations of the networks of `config/paper.yaml` (derived, not measured): {demand}. For "
        "that the mask auto-encoder, fed with masks alone, needs "
        f"{needed['mask auto-encoder'] / masks:.1f} of these processes, the image auto-encoder "
        f"{needed['image auto-encoder'] / own:.1f}, the denoiser {needed['denoiser'] / own:.1f}; "
        "each training has `threads` - 1 of them.",
        f"The paper's {PAPER_CASES:,} training cases at this size: "
        f"{PAPER_CASES * rows['MB per case'][0] / 1e3:,.0f} GB in the store.",
    ]


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", required=True, type=Path, help="the configuration whose trainings are fed")
    parser.add_argument("--output-csv", required=True, type=Path, help="table to write, a page beside it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = read(Study, yaml.safe_load(arguments.paper.read_text(encoding="utf-8")))
    arguments.output_csv.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=arguments.output_csv.parent) as name:
        folder, volumes = Path(name), [harmonised(str(number)) for number in range(CASES)]
        paths = [folder / f"{volume.case}.h5" for volume in volumes]
        for path, volume in zip(paths, volumes, strict=True):
            write_volume(path, volume)
        files = nifti(volumes, folder)
        pipelines = [store(paths, images=True), store(paths, images=False)]
        pipelines += [monai(files.files, folder, indexed) for indexed in (False, True)]
        rows = pd.DataFrame([measured(pipeline) for pipeline in (*pipelines, files)])
        notes = report(rows, read_ahead(paths, workers=2), patches_per_second(study))
    write_record(arguments.output_csv, rows, "Training patches per second", notes)


if __name__ == "__main__":
    main()
