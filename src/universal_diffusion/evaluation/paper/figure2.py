"""Step: Figure 2 - image, truth, the denoising trajectory of one sample, mean and variance of several.

    python -m universal_diffusion.evaluation.paper.figure2 --model DIR --volumes DIR... --splits F --settings JSON
        --study-seed N --threads N --cohort TEXT --output-png F --output-svg F

Nothing is hand-picked: of each target in `SHOWN` the window around the largest true cross-section of any test case is
shown, of any validation case if no test case holds the target. A study that evaluates none of these shows the others.
"""

import argparse
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.evaluation.drawing import save
from universal_diffusion.evaluation.tables import add_outputs
from universal_diffusion.method.bundle import Bundle, load_bundle
from universal_diffusion.method.samplers import State, ancestral, ddim
from universal_diffusion.preparation.splits import SplitRow, read_splits, volumes_of
from universal_diffusion.segmentation.sampling.noise import Window, case_seed, window_noise
from universal_diffusion.segmentation.sampling.runtime import start_torch
from universal_diffusion.settings import Segmentation, read_json
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
STATES = 5  # of the trajectory, from pure noise to the sample


@dataclass(frozen=True)
class Example:
    """One row before sampling: image and truth (P, P) of a target in a window of a case of `part`."""

    target: Target
    source: str
    case: str
    part: str
    window: Window
    image: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class Prediction:
    """One row: `trajectory` (STATES or fewer, P, P) of the first sample, `mean`, `variance` (P, P); probabilities."""

    steps_left: tuple[int, ...]
    trajectory: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def largest_sections(volumes: Sequence[Path]) -> dict[str, tuple[int, Path, int]]:
    """By target name: area in mm2, file and axial slice of the largest true cross-section in any of the volumes."""
    largest: dict[str, tuple[float, Path, int]] = {}
    for path in volumes:
        with VolumeFile(path) as file:
            pixel = float(np.prod(file.grid.spacing_mm[:2]))
            for known in all_targets():
                counts = file.slice_counts[known.id - 1]
                area = pixel * counts.max()
                if area > largest.get(known.name, (0.0,))[0]:
                    largest[known.name] = area, path, int(counts.argmax())
    return largest


def example(name: str, path: Path, z: int, part: str, patch: int) -> Example:
    """The window around the target's centre in slice z of a stored case, kept inside the slice."""
    with VolumeFile(path) as file:
        volume = file.read()
    truth = mask(volume.labels[..., z], name)
    centre = np.argwhere(truth).mean(axis=0)
    x, y = (int(np.clip(round(c - patch / 2), 0, n - patch)) for c, n in zip(centre, truth.shape, strict=True))
    cut = (slice(x, x + patch), slice(y, y + patch))
    return Example(
        target(name), volume.source, volume.case, part, Window(z, x, y), volume.image[..., z][cut], truth[cut]
    )


def examples(volumes: Sequence[Path], splits: Sequence[SplitRow], patch: int) -> list[Example]:
    """The rows of the figure. Raises InputError if no evaluated case holds any target."""
    chosen = []
    sections = {part: largest_sections(volumes_of(volumes, splits, {part})) for part in ("test", "validation")}
    held = {name: part for part in reversed(sections) for name in sections[part]}
    for name in [name for name in SHOWN if name in held] or list(held):
        _, path, z = sections[held[name]][name]
        chosen.append(example(name, path, z, held[name], patch))
    if not chosen:
        raise InputError("splits", "leave no test or validation case that holds a target", "evaluate more cases")
    return chosen


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
    trajectory = [State(process.timesteps, start, start), *states]
    kept = np.unique(np.linspace(0, process.timesteps, STATES).round().astype(int))
    final = _probability(bundle, trajectory[-1].latent)
    return Prediction(
        tuple(trajectory[k].step for k in kept),
        np.stack([_probability(bundle, trajectory[k].latent[:1])[0] for k in kept]),
        final.mean(axis=0),
        final.var(axis=0),
    )


def _probability(bundle: Bundle, latents: torch.Tensor) -> np.ndarray:
    return torch.sigmoid(bundle.mask_autoencoder.decode(latents))[:, 0].cpu().numpy()


def draw(rows: Sequence[tuple[Example, Prediction]], model: str, cohort: str) -> Figure:
    """The picture sheet: one row per example."""
    steps = rows[0][1].steps_left
    titles = ["image", "truth", "noise", *(f"{step} left" for step in steps[1:-1]), "sample"]
    titles += [f"mean of {SAMPLES}", "variance"]
    figure, axes = plt.subplots(
        len(rows), len(titles), figsize=(1.45 * len(titles), 1.33 * len(rows) + 0.9), squeeze=False
    )
    for places, (shown, predicted) in zip(axes, rows, strict=True):
        _draw_row(places, shown, predicted)
    for place, title in zip(axes[0], titles, strict=True):
        place.set_title(title, fontsize=9)
    caption = (
        f"Figure 2: predictions of {model}. From noise to one sample, with the steps that are left; mean and variance "
        f"(black 0, bright 0.25) of {SAMPLES} samples. Cohort: {cohort}."
    )
    height = figure.get_size_inches()[1]
    figure.subplots_adjust(0.1, 0.55 / height, 0.995, 1 - 0.25 / height, 0.03, 0.03)
    figure.text(0.01, 0.08 / height, textwrap.fill(caption, 150), fontsize=8, va="bottom")
    return figure


def _draw_row(places: Sequence[Axes], shown: Example, predicted: Prediction) -> None:
    image = _hung(shown.image)
    places[0].imshow(image, cmap="gray", vmin=0, vmax=1)
    places[1].imshow(image, cmap="gray", vmin=0, vmax=1)
    places[1].imshow(np.ma.masked_equal(_hung(shown.truth), False), cmap="autumn", alpha=0.7, vmin=0, vmax=1)
    probabilities = [*predicted.trajectory, predicted.mean]
    for place, probability in zip(places[2:-1], probabilities, strict=True):
        place.imshow(_hung(probability), cmap="gray", vmin=0, vmax=1)
    places[-1].imshow(_hung(predicted.variance), cmap="inferno", vmin=0, vmax=0.25)
    for place in places:
        place.set_xticks([])
        place.set_yticks([])
    label = f"{shown.target.name}\n{shown.source}\n{shown.case} ({shown.part})"
    places[0].set_ylabel(label, fontsize=7, rotation=0, ha="right", va="center", labelpad=4)


def _hung(patch: np.ndarray) -> np.ndarray:
    """A patch (x, y) as radiologists hang it: the patient's right on the left of the picture, the front on top."""
    return patch.T[::-1, ::-1]


@one_line_errors
def main() -> None:
    """Draw Figure 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="directory of the trained model")
    parser.add_argument("--volumes", type=Path, nargs="+", required=True, help="directories of harmonised volumes")
    parser.add_argument("--splits", type=Path, required=True, help="splits.csv, from `split`")
    parser.add_argument("--settings", required=True, help="JSON of the section `segmentation`")
    parser.add_argument("--study-seed", type=int, required=True, help="the configuration's `seed`")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads; sums depend on it")
    add_outputs(parser, ("png", "svg"))
    arguments = parser.parse_args()
    sampling = read_json(Segmentation, arguments.settings, "configuration.segmentation")
    bundle = load_bundle(arguments.model, start_torch(arguments.threads))
    chosen = examples(arguments.volumes, read_splits(arguments.splits), bundle.card["patch"])
    rows = [(shown, predict(bundle, shown, sampling, arguments.study_seed)) for shown in chosen]
    embedding = bundle.card["architecture"]["denoiser"]["embedding"]
    model = f"{bundle.prediction} prediction with {embedding.replace('clip', 'CLIP')} embeddings"
    save(draw(rows, model, arguments.cohort), arguments.output_png, arguments.output_svg)


if __name__ == "__main__":
    main()
