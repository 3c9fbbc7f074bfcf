"""What `segmentation.json` says: what came out of a CT, from what, how, and in which files."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from universal_diffusion import __version__
from universal_diffusion.segmentation.inputs.ct import CT
from universal_diffusion.segmentation.outputs.dicom_seg import SEGMENTATION
from universal_diffusion.segmentation.outputs.export import Outputs
from universal_diffusion.segmentation.outputs.facts import TargetFacts
from universal_diffusion.segmentation.outputs.label_map import LABELS, SLICER, SNAP
from universal_diffusion.segmentation.outputs.native_files import file_name
from universal_diffusion.segmentation.outputs.overview import OVERVIEW
from universal_diffusion.segmentation.outputs.seg_source import seg_notes
from universal_diffusion.segmentation.sampling.slab_store import SlabStore
from universal_diffusion.segmentation.spent import peak_device_memory_gib, peak_memory_gib
from universal_diffusion.settings import Segmentation
from universal_diffusion.targets import target
from universal_diffusion.volumes import Grid

DIGITS = {"volume_ml": 3, "volume_sd_ml": 3, "mean_hu": 2, "sd_hu": 2, "uncertainty": 5}


@dataclass(frozen=True)
class Run:
    """How a CT was segmented; `identity` is everything that a target's maps depend on."""

    model: Path
    card: dict
    sampling: Segmentation
    seed: int
    device: torch.device
    threads: int
    identity: dict


def report(
    run: Run,
    ct: CT,
    store: SlabStore,
    facts: dict[str, TargetFacts],
    outputs: Outputs,
    sizes: dict[str, int],
    seconds: dict[str, float],
) -> dict:
    """The content of `segmentation.json`; `sizes` are the bytes of every file beside it."""
    kept = store.kept
    return {
        "version": __version__,
        "ct": _of_ct(ct),
        "harmonised": _described(store.grid),
        "model": {"path": str(run.model), "weights_sha256": run.card["weights_sha256"], "card": run.card},
        "sampling": asdict(run.sampling),
        "gate": None if kept is None else {name: round(kept.share(name), 4) for name in facts},
        "seed": run.seed,
        "device": str(run.device),
        "threads": run.threads,
        "batch": store.batch,
        "identity": run.identity,
        "targets": {name: _of_target(name, facts[name]) | {"files": _files_of(name, outputs)} for name in facts},
        "files": _common_files(outputs),
        "patient_kept": outputs.dicom_seg and outputs.patient,
        "bytes": sizes,
        "seconds": {part: round(spent, 3) for part, spent in seconds.items()},
        "peak_memory_gib": _rounded(peak_memory_gib(), 3),
        "peak_device_memory_gib": _rounded(peak_device_memory_gib(run.device), 3),
    }


def files_of(targets: Sequence[str], outputs: Outputs) -> list[str]:
    """Names of all files that a run writes beside its report."""
    return [*_common_files(outputs).values(), *(file for name in targets for file in _files_of(name, outputs).values())]


def _of_ct(ct: CT) -> dict:
    """Where it is, absolute if it is in a file, and enough to read it again: of DICOM the UID of the series taken."""
    path = ct.path.absolute() if ct.path.exists() else ct.path
    series = str(ct.headers[0].get("SeriesInstanceUID", "")) or None if ct.headers else None
    of_file = {"path": str(path), "series": series, "format": ct.format}
    return of_file | _described(ct.grid) | {"notes": [*ct.notes, *seg_notes(ct)]}


def _described(grid: Grid) -> dict:
    return {"shape": list(grid.shape), "spacing_mm": np.round(grid.spacing_mm, 4).tolist()}


def _of_target(name: str, facts: TargetFacts) -> dict:
    numbers = {key: _rounded(getattr(facts, key), digits) for key, digits in DIGITS.items()}
    return {"id": target(name).id, "voxels": int(facts.voxels), **numbers}


def _files_of(name: str, outputs: Outputs) -> dict[str, str]:
    kinds = [*(["mask"] if outputs.masks else []), *(["mean", "variance", "entropy"] if outputs.maps else [])]
    return {kind: file_name(name, kind) for kind in kinds}


def _common_files(outputs: Outputs) -> dict[str, str]:
    multilabel = {"multilabel": LABELS, "names_itksnap": SNAP, "names_slicer": SLICER} if outputs.multilabel else {}
    dicom_seg = {"dicom_seg": SEGMENTATION} if outputs.dicom_seg else {}
    return multilabel | dicom_seg | ({"overview": OVERVIEW} if outputs.overview else {})


def _rounded(value: float | None, digits: int) -> float | None:
    """A number as JSON can hold it: None for one that is missing or not finite."""
    return round(value, digits) if value is not None and math.isfinite(value) else None
