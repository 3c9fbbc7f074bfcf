"""Table 2 compares four trainings; these tests hold that they differ in what their names say and in nothing else."""

import json
import re
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch.nn.modules.module import register_module_forward_pre_hook

from universal_diffusion.files import sha256
from universal_diffusion.method.bundle import build_autoencoder, load_bundle
from universal_diffusion.method.denoiser import ClassAwareImageEncoder
from universal_diffusion.method.diffusion import GaussianDiffusion
from universal_diffusion.method.embeddings import ClipEmbedding, LearntEmbedding
from universal_diffusion.method.steps import SecondMomentSteps
from universal_diffusion.method.weights import load_card, load_tensors, save_model, save_tensors, write_card
from universal_diffusion.preparation.splits import SplitRow, write_splits
from universal_diffusion.segmentation.sampling import window_sampler
from universal_diffusion.segmentation.sampling.engine import segment_slabs
from universal_diffusion.segmentation.sampling.image_latents import ImageLatents
from universal_diffusion.segmentation.sampling.noise import case_seed
from universal_diffusion.settings import Segmentation, read
from universal_diffusion.systems import VARIANTS
from universal_diffusion.targets import target
from universal_diffusion.training import denoiser
from universal_diffusion.volumes import Grid, Volume, write_volume

KEYS = [system.key for system in VARIANTS]
PAIRS = [(key, other) for index, key in enumerate(KEYS) for other in KEYS[index + 1 :]]
CONFIGURATION = yaml.safe_load((Path(__file__).parents[2] / "config/config.yaml").read_text())
NAMED = {"variant", "prediction", "weights_sha256"}  # of a card, besides the embedding in its architecture
STEPS = 6


def made(folder: Path) -> Path:
    """Three stored cases, two untrained auto-encoders and random text features, as files that a training reads."""
    grid = Grid((32, 32, 4), np.diag([5.0, 5.0, 6.0, 1.0]))
    rows = []
    for number, part in enumerate(("train", "train", "validation")):
        labels = np.zeros(grid.shape, np.uint32)
        labels[4 + number : 16, 8:20] |= target("liver").bit
        labels[20:24, 20 + number : 28] |= target("spleen").bit
        image = np.where(labels, np.float32(0.75), np.float32(0.25))
        case = f"case_{number}"
        volume = Volume("amos", case, ("spleen", "liver"), case, image, labels, grid, labels, grid)
        write_volume(folder / "volumes" / f"{case}.h5", volume)
        rows.append(SplitRow("amos", "amos", case, case, part, ""))
    write_splits(folder / "splits.csv", rows)
    torch.manual_seed(0)
    for kind in ("mask_autoencoder", "image_autoencoder"):
        architecture = {"kind": kind, "channels": [8, 8], "latent_channels": 2, "residual_blocks": 1}
        save_model(folder / kind, build_autoencoder(architecture), {"architecture": architecture})
    save_tensors(folder / "pretrained/clip_text.safetensors", {"features": torch.randn(29, 512)})
    write_card(folder / "pretrained", {"sha256": {"clip_text": sha256(folder / "pretrained/clip_text.safetensors")}})
    return folder


def trained(patch: pytest.MonkeyPatch, folder: Path, variant: str) -> Path:
    """The real training step at a learning rate of 0: it draws all that a training draws and leaves the weights."""
    few = {"steps": STEPS, "batch": 40, "learning_rate": 0.0, "warmup": 1, "validate_every": STEPS}
    small = {"channels": [8, 16], "attention_scales": [1], "embedding_channels": 8}
    sections = {
        "settings": CONFIGURATION["denoiser"] | small | {"training": CONFIGURATION["denoiser"]["training"] | few},
        "diffusion": CONFIGURATION["diffusion"] | {"timesteps": 21, "history": 1},
        "preparation": CONFIGURATION["preparation"] | {"patch": 32},
        "patches": CONFIGURATION["patches"] | {"per_case": 2},
    }
    words = ["--variant", variant, "--volumes", folder / "volumes", "--splits", folder / "splits.csv"]
    words += [word for name, section in sections.items() for word in (f"--{name}", json.dumps(section))]
    for name in ("mask-autoencoder", "image-autoencoder", "pretrained"):
        words += [f"--{name}", folder / name.replace("-", "_")]
    words += ["--study", "tiny", "--cohort", "boxes", "--study-seed", 3, "--threads", 1, "--output", folder / variant]
    patch.setattr("sys.argv", ["denoiser", *map(str, words)])
    denoiser.main()
    return folder / variant


def watched(patch: pytest.MonkeyPatch) -> dict[str, list]:
    """What a training draws, as it draws it: the real functions are called, their arguments noted."""
    seen = defaultdict(list)
    q_sample, draw = GaussianDiffusion.q_sample, SecondMomentSteps.draw

    def noting_q_sample(process, z0, t, noise):
        seen["mask latent"].append(z0.clone())
        seen["noise"].append(noise.clone())
        return q_sample(process, z0, t, noise)

    def noting_draw(steps, count, generator):
        seen["generator of t"].append(generator.get_state())
        seen["warm"].append(torch.tensor(steps.warm))
        drawn = draw(steps, count, generator)
        seen["t"].append(drawn[0])
        return drawn

    patch.setattr(GaussianDiffusion, "q_sample", noting_q_sample)
    patch.setattr(SecondMomentSteps, "draw", noting_draw)
    return seen


@pytest.fixture(scope="module")
def variants(tmp_path_factory) -> dict[str, SimpleNamespace]:
    """By variant: its `folder` after a training at learning rate 0, and what was `seen` on the way."""
    study, found = made(tmp_path_factory.mktemp("variants")), {}
    for variant in KEYS:
        with pytest.MonkeyPatch.context() as patch:
            seen = watched(patch)

            def note(module, inputs, seen=seen):
                if isinstance(module, ClassAwareImageEncoder):
                    seen["image latent"].append(inputs[0].clone())
                if isinstance(module, LearntEmbedding | ClipEmbedding):
                    seen["target ids"].append(inputs[0].clone())

            hook = register_module_forward_pre_hook(note)
            found[variant] = SimpleNamespace(folder=trained(patch, study, variant), seen=seen)
            hook.remove()
    return found


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) > 0 and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_cards_differ_in_the_prediction_and_the_embedding(variants, one, other):
    first, second = load_card(variants[one].folder), load_card(variants[other].folder)
    embeddings = [card["architecture"]["denoiser"].pop("embedding") for card in (first, second)]
    assert {key for key in first.keys() | second.keys() if first.get(key) != second.get(key)} <= NAMED
    assert [
        f"{card['prediction']}_{embedding}" for card, embedding in zip((first, second), embeddings, strict=True)
    ] == [
        one,
        other,
    ]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_initial_weights_differ_in_the_embedding_alone(variants, one, other):
    first, second = (load_tensors(variants[key].folder / "weights.safetensors") for key in (one, other))
    same_embedding = one.split("_")[1] == other.split("_")[1]
    compared = {name for name in first if same_embedding or not name.startswith("denoiser.embedding.")}
    assert compared == {name for name in second if same_embedding or not name.startswith("denoiser.embedding.")}
    assert sum(name.startswith("denoiser.") for name in compared) > 50
    assert [name for name in sorted(compared) if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize(("one", "other"), PAIRS)
@pytest.mark.parametrize("drawn", ["mask latent", "image latent", "target ids", "noise", "generator of t"])
def test_every_step_draws_the_same(variants, one, other, drawn):
    assert equal(variants[one].seen[drawn], variants[other].seen[drawn])
    if drawn != "target ids":
        first, *_, last = variants[one].seen[drawn]
        assert not torch.equal(first, last), "steps should differ, or equality says nothing"


def test_steps_are_the_same_until_the_losses_steer_them(variants):
    """Later t follow each variant's own losses (importance sampling), from the same uniform numbers."""
    warm = [bool(flag) for flag in variants[KEYS[0]].seen["warm"]]
    first = warm.index(True)
    assert 0 < first < len(warm), "both kinds of draw should occur"
    for variant in KEYS:
        assert [bool(flag) for flag in variants[variant].seen["warm"]] == warm
        assert equal(variants[variant].seen["t"][:first], variants[KEYS[0]].seen["t"][:first])


def test_samples_of_a_case_start_from_the_same_noise(variants, monkeypatch):
    drawn, window_noise = defaultdict(list), window_sampler.window_noise
    sampling = read(Segmentation, CONFIGURATION["segmentation"] | {"batch": 8})
    image = np.random.default_rng(0).random((32, 32, 2), np.float32)
    for variant in KEYS:
        bundle = load_bundle(variants[variant].folder)

        def noting(*arguments, variant=variant):
            drawn[variant].append(torch.from_numpy(window_noise(*arguments)))
            return drawn[variant][-1].numpy()

        monkeypatch.setattr(window_sampler, "window_noise", noting)
        latents = ImageLatents(bundle, image, sampling.overlap, 1)
        list(segment_slabs(bundle, latents, ["liver", "spleen"], sampling, case_seed(3, "amos", "case_2")))
    assert all(equal(drawn[variant], drawn[KEYS[0]]) for variant in KEYS)


def test_rules_give_all_variants_the_same_command_but_for_the_name(project_copy):
    """Volumes, splits, settings, optimiser, sampler and seed of training, segmenting and scoring, as planned."""
    run = project_copy().snakemake("-n", "-p", "--", "results/embedded/scores/cases.csv")
    assert run.returncode == 0, run.stderr
    planned = run.stdout + run.stderr
    needed = re.findall(r"^rule denoiser:\n +input: (.*)$", planned, re.MULTILINE)
    ceilings = [
        f"results/embedded/models/{model}/ceiling.csv" for model in ("mask_autoencoder", "coarser_mask_autoencoder")
    ]
    assert len(needed) == len(KEYS)
    assert all(set(ceilings) <= set(files.split(", ")) for files in needed), "reported before any denoiser trains"
    commands = re.findall(r"python -m universal_diffusion\.(\S+) (.*)", planned)
    for step in ("training.denoiser", "segmentation.study", "evaluation.scoring.score"):
        mine = {key: text for name, text in commands for key in KEYS if name == step and key in text}
        assert set(mine) == set(KEYS)
        assert len({text.replace(key, "VARIANT") for key, text in mine.items()}) == 1
