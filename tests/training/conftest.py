"""What tests of the trainings share: a tiny study, its steps' command lines, and a task whose solution is known."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from universal_diffusion.files import sha256
from universal_diffusion.method.pretrained import vgg16_features
from universal_diffusion.method.weights import save_tensors, write_card
from universal_diffusion.preparation.splits import SplitRow, write_splits
from universal_diffusion.settings import Weights
from universal_diffusion.targets import target
from universal_diffusion.training import image_autoencoder, mask_autoencoder
from universal_diffusion.training.patches import generator
from universal_diffusion.training.tasks import Task
from universal_diffusion.volumes import Grid, Volume, write_volume

CASES = {"amos_0001": "train", "amos_0002": "train", "amos_0003": "validation"}
TRAINING = {
    "steps": 8,
    "batch": 4,
    "learning_rate": 0.01,
    "warmup": 2,
    "decay": "cosine",
    "weight_decay": 0.0,
    "ema_decay": 0.5,
    "gradient_clip": 1.0,
    "validate_every": 4,
    "checkpoint_minutes": 0.0,
    "precision": "32-true",
}
NETWORK = {"channels": [8, 8, 8], "latent_channels": 2, "residual_blocks": 1}
SECTIONS = {
    "mask_autoencoder": NETWORK,
    "image_autoencoder": NETWORK | {"perceptual_weight": 0.1, "kl_weight": 1e-6},
    "denoiser": {"channels": [8, 16], "residual_blocks": 1, "attention_scales": [1], "embedding_channels": 8},
}
DIFFUSION = {"timesteps": 4, "schedule": "cosine", "history": 1, "uniform_probability": 0.1}


class TinyStudy:
    """Volumes, splits, pretrained weights and, where they have been trained, both auto-encoders, in `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder

    def command(self, section: str, output: Path, *more: object, network: dict | None = None, **training) -> list[str]:
        """The command line of a training, with other values for some settings."""
        settings = SECTIONS[section] | (network or {}) | {"training": TRAINING | training}
        flags = {
            "volumes": self.folder / "volumes",
            "splits": self.folder / "splits.csv",
            "settings": json.dumps(settings),
            "preparation": json.dumps({"spacing_mm": [5, 5, 6], "hu_window": [-175, 250], "patch": 32}),
            "patches": json.dumps({"per_case": 2, "target_probability": 0.7}),
            "study-seed": 1,
            "threads": 1,
            "output": output,
        }
        words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        return [section, *words, *map(str, more)]

    def denoiser(self, output: Path, variant: str = "mask_clip", **training) -> list[str]:
        """The command line of the denoiser's training."""
        more = ["--variant", variant, "--study", "tiny", "--cohort", "boxes", "--diffusion", json.dumps(DIFFUSION)]
        for name in ("mask-autoencoder", "image-autoencoder", "pretrained"):
            more += [f"--{name}", self.folder / name.replace("-", "_")]
        return self.command("denoiser", output, *more, **training)


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> TinyStudy:
    """Three cases of one box each, with both auto-encoders trained."""
    folder = tmp_path_factory.mktemp("study")
    source = np.random.default_rng(0)
    grid = Grid((32, 32, 4), np.diag([5.0, 5.0, 6.0, 1.0]))
    for number, case in enumerate(CASES):
        labels = np.zeros(grid.shape, np.uint32)
        labels[4 + number : 16, 8:20] |= target("liver").bit
        image = np.where(labels, 0.7, 0.3) + source.normal(0, 0.05, grid.shape)
        volume = Volume("amos", case, ("spleen", "liver"), case, image.astype(np.float32), labels, grid, labels, grid)
        write_volume(folder / "volumes" / f"{case}.h5", volume)
    splits = [SplitRow("amos", "amos", case, case, part, "") for case, part in CASES.items()]
    write_splits(folder / "splits.csv", splits)
    vgg, note = vgg16_features(Weights("untrained"), 1, folder)
    save_tensors(folder / "pretrained/vgg16.safetensors", vgg.features.state_dict())
    clip = torch.randn(29, 512, generator=torch.Generator().manual_seed(0))
    save_tensors(folder / "pretrained/clip_text.safetensors", {"features": clip})
    hashes = {name: sha256(folder / f"pretrained/{name}.safetensors") for name in ("vgg16", "clip_text")}
    write_card(folder / "pretrained", {"vgg16": note, "clip": "random", "sha256": hashes})
    made = TinyStudy(folder)
    run(mask_autoencoder, made.command("mask_autoencoder", folder / "mask_autoencoder"))
    pretrained = ("--pretrained", folder / "pretrained")
    run(image_autoencoder, made.command("image_autoencoder", folder / "image_autoencoder", *pretrained))
    return made


def run(step, command: list[str]) -> None:
    """Run a step in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", command)
        step.main()


@pytest.fixture(scope="session")
def run_step() -> Callable[..., None]:
    """`run` for the tests."""
    return run


class Regression(Task):
    """Fits y = 2x to four points a step; counts its steps as state, and does `at[step]()` when it computes a step."""

    def __init__(self, at: dict[int, Callable[[], object]] | None = None, scale: float = 1.0):
        self.module = nn.Linear(1, 1)
        nn.init.constant_(self.module.weight, 0.5)
        nn.init.zeros_(self.module.bias)
        self.at, self.scale, self.seen = at or {}, scale, torch.zeros(1)

    def fetch(self, step):
        return 0.0

    def loss(self, module, step, rows):
        x = torch.randn(4, 1, generator=generator(1, "regression", step))[rows]
        factor = self.at.get(step, lambda: None)()
        losses = (module(x) - 2 * x).square().flatten(1).mean(1) * self.scale
        return {"loss": losses if factor is None else losses + factor[rows], "row": torch.arange(4.0)[rows]}

    def learn(self, figures):
        assert figures["row"].tolist() == [0, 1, 2, 3]
        self.seen += 1

    def validate(self, module):
        return {"validation_error": abs(module.weight.item() - 2)}

    def cases(self, step):
        return [f"amos/{step}_{row // 2}" for row in range(4)]

    def state(self):
        return {"seen": self.seen}

    def load_state(self, state):
        self.seen.copy_(state["seen"])


@pytest.fixture(scope="session")
def regression() -> type[Regression]:
    """`Regression` for the tests."""
    return Regression
