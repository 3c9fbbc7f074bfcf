"""The three trainings as their steps run them, on tiny volumes: whole bundles, equal bytes, exact resume."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from universal_diffusion.errors import InputError
from universal_diffusion.method.bundle import load_autoencoder, load_bundle
from universal_diffusion.method.pretrained import vgg16_features
from universal_diffusion.method.weights import load_tensors, save_tensors
from universal_diffusion.preparation.splits import SplitRow, write_splits
from universal_diffusion.settings import Weights
from universal_diffusion.targets import target
from universal_diffusion.training import denoiser, image_autoencoder, mask_autoencoder
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
NETWORK = {"channels": [8, 8, 8], "latent_channels": 2, "residual_blocks": 1, "training": TRAINING}
SECTIONS = {
    "mask_autoencoder": NETWORK,
    "image_autoencoder": NETWORK | {"perceptual_weight": 0.1, "kl_weight": 1e-6},
    "denoiser": {
        "channels": [8, 16],
        "residual_blocks": 1,
        "attention_scales": [1],
        "embedding_channels": 8,
        "training": TRAINING,
    },
}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """Volumes, splits, pretrained weights and both trained auto-encoders."""
    folder = tmp_path_factory.mktemp("study")
    generator = np.random.default_rng(0)
    grid = Grid((32, 32, 4), np.diag([5.0, 5.0, 6.0, 1.0]))
    for number, case in enumerate(CASES):
        labels = np.zeros(grid.shape, np.uint32)
        labels[4 + number : 16, 8:20] |= target("liver").bit
        image = np.where(labels, 0.7, 0.3) + generator.normal(0, 0.05, grid.shape)
        volume = Volume("amos", case, ("spleen", "liver"), case, image.astype(np.float32), labels, grid, labels, grid)
        write_volume(folder / "volumes" / f"{case}.h5", volume)
    write_splits(
        folder / "splits.csv", [SplitRow("amos", "amos", case, case, part, "") for case, part in CASES.items()]
    )
    vgg, note = vgg16_features(Weights("untrained"), 1, folder)
    save_tensors(folder / "pretrained/vgg16.safetensors", vgg.features.state_dict())
    clip = torch.randn(29, 512, generator=torch.Generator().manual_seed(0))
    save_tensors(folder / "pretrained/clip_text.safetensors", {"features": clip})
    (folder / "pretrained/card.json").write_text(json.dumps({"vgg16": note, "clip": "random"}))
    with pytest.MonkeyPatch.context() as patch:
        run(patch, mask_autoencoder, folder, folder / "mask_autoencoder")
        run(patch, image_autoencoder, folder, folder / "image_autoencoder", "--pretrained", folder / "pretrained")
    return folder


def run(patch, step, folder: Path, output: Path, *more: object) -> None:
    section = step.__name__.rsplit(".", 1)[1]
    flags = {
        "volumes": folder / "volumes",
        "splits": folder / "splits.csv",
        "settings": json.dumps(SECTIONS[section]),
        "preparation": json.dumps({"spacing_mm": [5, 5, 6], "hu_window": [-175, 250], "patch": 32}),
        "patches": json.dumps({"per_case": 2, "target_probability": 0.7}),
        "study-seed": 1,
        "threads": 1,
        "output": output,
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    patch.setattr("sys.argv", [section, *words, *map(str, more)])
    step.main()


def run_denoiser(patch, study: Path, output: Path, variant: str = "mask_clip") -> None:
    diffusion = {"timesteps": 4, "schedule": "cosine", "history": 1, "uniform_probability": 0.1}
    more = ["--variant", variant, "--study", "tiny", "--cohort", "two boxes", "--diffusion", json.dumps(diffusion)]
    for name in ("mask-autoencoder", "image-autoencoder", "pretrained"):
        more += [f"--{name}", study / name.replace("-", "_")]
    run(patch, denoiser, study, output, *more)


def test_latents_have_unit_scale(study):
    for kind in ("mask_autoencoder", "image_autoencoder"):
        trained = load_autoencoder(study / kind, kind)
        assert not torch.equal(trained.scale.std, torch.ones(2))
        assert not (study / kind / "last.safetensors").exists()


@pytest.mark.parametrize("variant", ["noise_learnt", "mask_clip"])
def test_bundle_is_whole_by_itself(study, tmp_path, monkeypatch, variant):
    run_denoiser(monkeypatch, study, tmp_path, variant)
    bundle = load_bundle(tmp_path)
    assert (bundle.prediction, bundle.card["targets"]) == (variant.split("_")[0], ["spleen", "liver"])
    alone = load_autoencoder(study / "mask_autoencoder", "mask_autoencoder")
    mask = torch.ones(1, 1, 32, 32)
    assert torch.equal(bundle.mask_autoencoder.encode(mask), alone.encode(mask))


def test_interrupted_denoiser_resumes_to_the_same_bytes(study, tmp_path, monkeypatch):
    run_denoiser(monkeypatch, study, tmp_path / "whole")
    loss = denoiser.LatentDiffusion.loss

    def interrupted(task, module, step):
        if step == 6:
            assert task.steps.warm, "the history should matter when the run is cut"
            raise KeyboardInterrupt
        return loss(task, module, step)

    with monkeypatch.context() as patch:
        patch.setattr(denoiser.LatentDiffusion, "loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_denoiser(patch, study, tmp_path / "cut")
    assert "task/counts" in load_tensors(tmp_path / "cut/last.safetensors")
    run_denoiser(monkeypatch, study, tmp_path / "cut")
    for name in ("weights.safetensors", "card.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_checkpoint_of_other_volumes_is_refused(study, tmp_path, monkeypatch):
    loss = denoiser.LatentDiffusion.loss

    def cut(task, module, step):
        if step == 2:
            raise KeyboardInterrupt
        return loss(task, module, step)

    with monkeypatch.context() as patch:
        patch.setattr(denoiser.LatentDiffusion, "loss", cut)
        with pytest.raises(KeyboardInterrupt):
            run_denoiser(patch, study, tmp_path)
    monkeypatch.setattr("universal_diffusion.training.patches._fingerprint", lambda paths: "others")
    with pytest.raises(SystemExit):
        run_denoiser(monkeypatch, study, tmp_path)


def test_autoencoders_of_different_factors_are_refused(study, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(SECTIONS, "mask_autoencoder", NETWORK | {"channels": [8, 8]})
        run(patch, mask_autoencoder, study, tmp_path / "mask_autoencoder")
    arguments = type("Arguments", (), {})()
    arguments.mask_autoencoder = tmp_path / "mask_autoencoder"
    arguments.image_autoencoder = study / "image_autoencoder"
    with pytest.raises(InputError, match=r"shrinks images 4 times, masks are shrunk 2 times"):
        denoiser.assemble(arguments, None, "learnt")
