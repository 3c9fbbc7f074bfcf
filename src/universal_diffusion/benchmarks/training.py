"""Benchmark: the three trainings at the paper's scale, and the denoiser's written the plain way.

    python -m universal_diffusion.benchmarks.training --paper config/paper.yaml --output-csv F

The real training steps run for a few optimiser steps on synthetic cases at the paper's spacing; their own logs say what
each step took and how much of it was waiting for data.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
import yaml

from universal_diffusion.benchmarks.alone import DTYPES, STEPS, WARM, alone, device_peak, found_device, scaled
from universal_diffusion.benchmarks.demand import step_flops
from universal_diffusion.benchmarks.plain import plain_flops, plain_training
from universal_diffusion.benchmarks.record import write_record
from universal_diffusion.benchmarks.scans import harmonised
from universal_diffusion.benchmarks.store import nifti
from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.beyond.cost import flops
from universal_diffusion.evaluation.beyond.networks import perceptual
from universal_diffusion.preparation.splits import SplitRow, write_splits
from universal_diffusion.settings import Study, Weights, read
from universal_diffusion.volumes import Volume, write_volume

CASES = ("train", "train", "validation")
VARIANT = "mask_learnt"
PLAIN = "denoiser, the plain way"
TRAININGS = {
    "mask auto-encoder": ("training.mask_autoencoder", "mask_autoencoder", ()),
    "image auto-encoder": ("training.image_autoencoder", "image_autoencoder", ("pretrained",)),
    "denoiser": ("training.denoiser", "denoiser", ("mask_autoencoder", "image_autoencoder", "pretrained")),
}


@dataclass(frozen=True)
class Cohort:
    """Stored cases with their splits, in `folder`, which also receives the trained models; the same as NIfTI pairs."""

    folder: Path
    pairs: tuple[tuple[Path, ...], ...]


def write_cohort(folder: Path, volume: Volume) -> Cohort:
    """`volume` once for each of `CASES`."""
    volumes = [replace(volume, case=str(number), fingerprint=str(number)) for number in range(len(CASES))]
    for one in volumes:
        write_volume(folder / "volumes" / f"{one.case}.h5", one)
    rows = [
        SplitRow(one.source, "amos", one.case, one.case, part, "") for one, part in zip(volumes, CASES, strict=True)
    ]
    write_splits(folder / "splits.csv", rows)
    return Cohort(folder, nifti(volumes, folder).files)


def run_step(step: str, flags: Sequence[str]) -> dict:
    """Run a step of the library in this process, as its rule does."""
    sys.argv = [step, *flags]
    importlib.import_module(f"universal_diffusion.{step}").main()
    return {}


def flags_of(training: str, study: Study, folder: Path, threads: int) -> list[str]:
    """The command line of one of `TRAININGS`; it finds what was trained before it in `folder`."""
    _, name, needed = TRAININGS[training]
    given = {
        "volumes": folder / "volumes",
        "splits": folder / "splits.csv",
        "settings": json.dumps(asdict(getattr(study, name))),
        "preparation": json.dumps(asdict(study.preparation)),
        "patches": json.dumps(asdict(study.patches)),
        "study-seed": study.seed,
        "threads": threads,
        "output": folder / name,
    } | {model.replace("_", "-"): folder / model for model in needed}
    if name == "denoiser":
        given |= {"variant": VARIANT, "diffusion": json.dumps(asdict(study.diffusion))}
        given |= {"study": study.study, "cohort": study.cohort}
    return [text for flag, value in given.items() for text in (f"--{flag}", str(value))]


def logged(log: Path, batch: int, warm: int) -> dict[str, float]:
    """Patches per second and the share of waiting for data, of the steps of `log.csv` after the `warm` first."""
    rows = pd.read_csv(log).iloc[warm:]
    took = rows["seconds"].sum()
    return {"patches/s": batch * len(rows) / took, "waiting %": 100 * rows["wait_seconds"].sum() / took}


def perceptual_flops(patch: int) -> int:
    """Operations of LPIPS for one patch: both images forward, the reconstruction also backward."""
    with torch.device("meta"):
        distance, image = perceptual(), torch.zeros(1, 3, patch, patch)
        reconstruction = torch.zeros(1, 3, patch, patch, requires_grad=True)
        return flops(lambda: distance(image, reconstruction).sum().backward())


def measure(study: Study, cohort: Cohort, device: str, threads: int) -> pd.DataFrame:
    """A row per training, then the plain way's."""
    weights = json.dumps(asdict(Weights("untrained")))
    flags = ["--settings", weights, "--study-seed", str(study.seed), "--output", str(cohort.folder / "pretrained")]
    alone(run_step, "method.pretrained", flags)
    counted = step_flops(study)
    counted["image auto-encoder"] += perceptual_flops(study.preparation.patch)
    rows = []
    for training, (step, name, _) in TRAININGS.items():
        settings = getattr(study, name).training
        peak = alone(run_step, step, flags_of(training, study, cohort.folder, threads))["peak GiB"]
        figures = logged(cohort.folder / name / "log.csv", settings.batch, WARM[device])
        rows.append(_row(training, settings, figures, counted[training], peak))
    figures = alone(plain_training, study, cohort.pairs, cohort.folder / "cache", device, threads, WARM[device])
    rows.append(_row(PLAIN, study.denoiser.training, figures, plain_flops(study), figures["peak GiB"]))
    table = pd.DataFrame(rows)
    for precision in table["precision"].unique():
        most = alone(device_peak, device, DTYPES[precision], threads)["peak TFLOP/s"]
        table.loc[table["precision"] == precision, "peak TFLOP/s"] = most
    table["% of peak"] = 100 * table["TFLOP/s"] / table["peak TFLOP/s"]
    return table[[column for column in table if column != "peak GiB"] + ["peak GiB"]]


def _row(training: str, settings, figures: dict[str, float], count: int, peak: float) -> dict:
    rate = figures["patches/s"]
    return {
        "training": training,
        "precision": settings.precision,
        "batch": settings.batch,
        "patches/s": rate,
        "s per step": settings.batch / rate,
        "waiting %": figures["waiting %"],
        "GFLOP per patch": count / 1e9,
        "TFLOP/s": rate * count / 1e12,
        "peak GiB": peak,
    }


def report(rows: pd.DataFrame, study: Study, device: str, threads: int) -> list[str]:
    """What the page says below its table."""
    own, plain = (rows.set_index("training").loc[name] for name in ("denoiser", PLAIN))
    small = "" if device == "cuda" else ", one patch a step in 32 bits because there is no GPU"
    compiled = "compiled" if study.denoiser.training.compile else "not compiled"
    return [
        f"On {device} with {threads} CPU threads{small}: networks of `config/paper.yaml`, patches of "
        f"{study.preparation.patch} x {study.preparation.patch} of synthetic cases at the paper's spacing, "
        f"{STEPS[device]} steps, the first {WARM[device]} of them not counted, each training in a process of its own.",
        "Patches/s hold what a step does until its row is logged: data, frozen networks, forward, backward, optimiser, "
        "averaged weights. Waiting: the share of that spent waiting for data.",
        "Operations are counted by torch, forward and backward, frozen networks and LPIPS included; the peak is the "
        "faster of a product of large matrices and a large convolution of the same type here. Own networks: channels "
        f"last, {compiled}. "
        "Peak GiB: of the device's memory; the study's includes the validation and picture after the last step.",
        f"The study's denoiser takes {own['patches/s'] / plain['patches/s']:.2f} times the patches/s of the plain way "
        f"and {own['TFLOP/s'] / plain['TFLOP/s']:.2f} times its FLOP/s. The plain way: MONAI's DiffusionModelUNet of "
        "the same channels, blocks and attention, image latent concatenated, target as a class embedding; MONAI's "
        "AutoencoderKL, noise schedule, transforms and loader (images with ONE target's mask); squared error alone. "
        "The study's also has a class-aware encoder for the image, the loss of the learned variance, "
        "importance-sampled steps and averaged weights.",
    ]


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", required=True, type=Path, help="the configuration whose trainings are measured")
    parser.add_argument("--output-csv", required=True, type=Path, help="table to write, a page beside it")
    arguments = parser.parse_args()
    paper = read(Study, yaml.safe_load(arguments.paper.read_text(encoding="utf-8")))
    device, threads = found_device(paper)
    study = scaled(paper, device)
    arguments.output_csv.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=arguments.output_csv.parent) as name:
        cohort = write_cohort(Path(name), harmonised("0"))
        rows = measure(study, cohort, device, threads)
    write_record(arguments.output_csv, rows, "Trainings at the paper's scale", report(rows, study, device, threads))


if __name__ == "__main__":
    main()
