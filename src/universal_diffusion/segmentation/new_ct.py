"""One new CT, from its file to masks, maps and a report of what was done."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from universal_diffusion import __version__
from universal_diffusion.errors import InputError
from universal_diffusion.files import write_json
from universal_diffusion.method.bundle import load_bundle
from universal_diffusion.method.weights import load_card
from universal_diffusion.preparation.transforms import harmonise_image
from universal_diffusion.segmentation.ct_input import read_ct
from universal_diffusion.segmentation.engine import segment
from universal_diffusion.segmentation.native import write_prediction
from universal_diffusion.segmentation.runtime import start_torch
from universal_diffusion.settings import Preparation, Segmentation
from universal_diffusion.targets import target
from universal_diffusion.volumes import Grid

REPORT = "segmentation.json"


@dataclass(frozen=True)
class Result:
    """What came out: millilitres per target in the order asked for, the report's path, the model's cohort."""

    volumes_ml: dict[str, float]
    report: Path
    cohort: str


def segment_ct(
    ct: Path,
    model: Path,
    output: Path,
    targets: tuple[str, ...],
    sampling: Segmentation,
    seed: int,
    device: str,
    threads: int,
) -> Result:
    """Segment one CT and write `<slug>{,_mean,_variance}.nii.gz` per target and `segmentation.json` into `output`.

    Args:
        targets: names; all that the model was trained on when empty.

    Raises:
        InputError: an unusable CT, model or output, or a target that is unknown or that the model was not trained on.
    """
    if output.exists() and not output.is_dir():
        raise InputError(output, "is a file, expected a folder for the masks", "give another --output")
    seconds: dict[str, float] = {}
    torch_device = start_torch(threads, device)
    card = load_card(model)
    wanted = _wanted(targets, card, model)
    with _timed(seconds, "read"):
        image, native = read_ct(ct)
    with _timed(seconds, "harmonise"):
        harmonised, grid = harmonise_image(image, native.affine, _preparation(card, model), str(ct))
    with _timed(seconds, "load model"):
        bundle = load_bundle(model, torch_device)
    volumes_ml: dict[str, float] = {}
    found = segment(bundle, harmonised, wanted, sampling, seed)
    for name in tqdm(wanted, unit="target", file=sys.stderr):
        with _timed(seconds, name):
            maps = next(found)
            volumes_ml[name] = write_prediction(output, name, maps.mean, maps.variance, grid, native)
    report = {
        "version": __version__,
        "ct": {"path": str(ct), **_describe(native)},
        "harmonised": _describe(grid),
        "model": {"path": str(model), "weights_sha256": card["weights_sha256"], "card": card},
        "sampling": asdict(sampling),
        "seed": seed,
        "device": str(torch_device),
        "threads": threads,
        "targets": {name: {"volume_ml": ml, "mask": f"{target(name).slug}.nii.gz"} for name, ml in volumes_ml.items()},
        "seconds": {part: round(spent, 3) for part, spent in seconds.items()},
    }
    write_json(output / REPORT, report)
    return Result(volumes_ml, output / REPORT, card["cohort"])


def _wanted(names: tuple[str, ...], card: dict, model: Path) -> list[str]:
    trained = card.get("targets")
    if not trained or "cohort" not in card:
        raise InputError(model, "holds no segmentation model", "give the directory of a variant, e.g. models/mask_clip")
    wanted = list(dict.fromkeys(target(name).name for name in names)) or trained
    strange = [name for name in wanted if name not in trained]
    if strange:
        raise InputError(
            f"target {strange[0]!r}",
            f"was not annotated in what the model {model} was trained on",
            f"choose from: {', '.join(trained)}",
        )
    return wanted


def _preparation(card: dict, model: Path) -> Preparation:
    """The model's own grid, window and patch: a CT must be harmonised as the training scans were."""
    try:
        return Preparation(
            spacing_mm=tuple(card["spacing_mm"]),
            hu_window=tuple(card["hu_window"]),
            patch=card["patch"],
        )
    except KeyError as missing:
        raise InputError(
            model / "card.json", f"does not say {missing}", "give a model trained by this version of the study"
        ) from None


def _describe(grid: Grid) -> dict:
    return {"shape": list(grid.shape), "spacing_mm": np.round(grid.spacing_mm, 4).tolist()}


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - started
