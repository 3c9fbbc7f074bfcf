"""The rows of Figure 2: which window of which case, by rule, and what the model draws there.

Nothing is hand-picked: of each target in `SHOWN` the test case with the median Dice among those that hold it (of an
even number the lower one of the middle), a validation case if no test case holds it; in it the axial slice with most
truth. A study that evaluates none of these targets shows the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.scoring.cases import of_system
from universal_diffusion.method.bundle import Bundle
from universal_diffusion.method.samplers import ancestral, ddim
from universal_diffusion.segmentation.sampling.noise import Window, case_seed, window_noise
from universal_diffusion.settings import Segmentation
from universal_diffusion.systems import System
from universal_diffusion.targets import Target, all_targets, mask, target
from universal_diffusion.volumes import VolumeFile

SHOWN = (
    "liver",
    "liver tumor",
    "spleen",
    "left kidney",
    "pancreas",
    "gallbladder",
    "stomach",
    "hepatic vessel",
    "lung tumor",
    "colon tumor",
)
SAMPLES = 8  # more than a study's ensemble: single windows are cheap
STATES = 3  # of the trajectory, from the first step to the sample


@dataclass(frozen=True)
class Example:
    """One row before sampling: image and truth (P, P) of a target in a window of a case with this 3-D Dice.

    Attributes:
        n: cases of `part` that hold the target, of which this is the median one.
    """

    target: Target
    source: str
    case: str
    part: str
    dice: float
    n: int
    window: Window
    image: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class Prediction:
    """What the model draws in a window; all but `noise` are probabilities.

    Attributes:
        noise: (P, P), the first channel of zT, each of its cells as large as the pixels it stands for.
        steps: steps taken up to each state of the trajectory.
        trajectory: (S, P, P) of the first sample: the decoded estimate of z0 after so many steps, lastly the sample.
        mean, variance: (P, P) over `SAMPLES` samples.
    """

    noise: np.ndarray
    steps: tuple[int, ...]
    trajectory: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def fullest_slices(volumes: Sequence[Path]) -> dict[tuple[str, str, str], tuple[Path, int]]:
    """By source, case and target that the stored case holds: its file and the axial slice with most truth."""
    found = {}
    for path in volumes:
        with VolumeFile(path) as file:
            for known in all_targets():
                counts = file.slice_counts[known.id - 1]
                if counts.any():
                    found[file.source, file.case, known.name] = path, int(counts.argmax())
    return found


def median_rows(cases: pd.DataFrame, system: System) -> dict[str, pd.Series]:
    """By target the row of the median-Dice case, with n; of the test cases, else of the validation cases."""
    held, found = of_system(cases, system).query("truth_ml > 0"), {}
    for part in ("validation", "test"):  # the later one wins
        for name, own in held[held["part"] == part].groupby("target"):
            ordered = own.sort_values(["dice", "source", "case"], kind="stable")
            found[name] = pd.concat([ordered.iloc[(len(own) - 1) // 2], pd.Series({"n": len(own)})])
    return found


def example(row: pd.Series, path: Path, z: int, patch: int) -> Example:
    """The window around the target's centre in slice z of a stored case, kept inside the slice."""
    with VolumeFile(path) as file:
        volume = file.read()
    known = target(row["target"])
    truth, image = mask(volume.labels[..., z], known.name), volume.image[..., z]
    centre = np.argwhere(truth).mean(axis=0)
    x, y = (int(np.clip(round(c - patch / 2), 0, n - patch)) for c, n in zip(centre, truth.shape, strict=True))
    cut = (slice(x, x + patch), slice(y, y + patch))
    place = (known, row["source"], row["case"], row["part"], float(row["dice"]), int(row["n"]))
    return Example(*place, Window(z, x, y), image[cut], truth[cut])


def examples(cases: pd.DataFrame, system: System, volumes: Sequence[Path], patch: int) -> list[Example]:
    """The rows of the figure. Raises InputError if no evaluated case holds any target."""
    slices = fullest_slices(volumes)
    stored = [key in slices for key in cases[["source", "case", "target"]].itertuples(index=False, name=None)]
    rows = median_rows(cases[stored], system)
    names = [name for name in SHOWN if name in rows] or sorted(rows, key=lambda name: target(name).id)
    if not names:
        raise InputError("cases", "name no test or validation case that holds a target", "evaluate more cases")
    return [example(rows[name], *slices[rows[name]["source"], rows[name]["case"], name], patch) for name in names]


@torch.inference_mode()
def predict(bundle: Bundle, shown: Example, sampling: Segmentation, study_seed: int) -> Prediction:
    """Draw `SAMPLES` samples of one window with the noise that the study's own predictions use."""
    image = torch.from_numpy(shown.image[None, None]).float().to(bundle.device)
    ids = torch.full((SAMPLES,), shown.target.id, device=bundle.device)
    latent = bundle.image_autoencoder.encode(image).expand(SAMPLES, -1, -1, -1)
    embedding = bundle.embedding(ids)
    features = bundle.denoiser.features(latent, embedding)
    seed, shape = case_seed(study_seed, shown.source, shown.case), (bundle.latent_channels, *latent.shape[2:])

    def noise(draw: int) -> torch.Tensor:
        drawn = window_noise(seed, shown.target.name, [shown.window], range(SAMPLES), draw, shape)
        return torch.from_numpy(drawn).to(bundle.device)

    def denoise(noisy: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return bundle.denoiser(noisy, step, embedding, features)

    start, process = noise(0), bundle.process.respace(sampling.steps)
    if sampling.sampler == "ddim":
        states = ddim(denoise, start, process, bundle.prediction, sampling.eta, lambda i: noise(1 + i))
    else:
        states = ancestral(denoise, start, process, bundle.prediction, lambda i: noise(1 + i))
    trajectory = list(states)
    kept = np.unique(np.linspace(1, len(trajectory), STATES).round().astype(int))
    final = _probability(bundle, trajectory[-1].latent)
    return Prediction(
        start[0, 0].cpu().numpy().repeat(factor := bundle.mask_autoencoder.factor, 0).repeat(factor, 1),
        tuple(int(step) for step in kept),
        np.stack([*(_probability(bundle, trajectory[k - 1].estimate[:1])[0] for k in kept[:-1]), final[0]]),
        final.mean(axis=0),
        final.var(axis=0),
    )


def _probability(bundle: Bundle, latents: torch.Tensor) -> np.ndarray:
    return torch.sigmoid(bundle.mask_autoencoder.decode(latents))[:, 0].cpu().numpy()
