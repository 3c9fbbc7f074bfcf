"""The trainings as their steps run them, on tiny volumes: whole bundles, equal bytes, exact resume."""

import random

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from universal_diffusion.errors import InputError
from universal_diffusion.method.autoencoders import ImageAutoencoder
from universal_diffusion.method.bundle import load_autoencoder, load_bundle
from universal_diffusion.method.weights import load_tensors
from universal_diffusion.training import denoiser, image_autoencoder, latent_diffusion, mask_autoencoder


def test_latents_have_unit_scale(study):
    for kind in ("mask_autoencoder", "image_autoencoder"):
        trained = load_autoencoder(study.folder / kind, kind)
        assert not torch.equal(trained.scale.std, torch.ones(2))
        assert not (study.folder / kind / "last.safetensors").exists()
        pictures = {path.name for path in (study.folder / kind / "pictures").iterdir()}
        assert pictures == {"step_3.png", "step_7.png"}


@pytest.mark.parametrize("variant", ["noise_learnt", "mask_clip"])
def test_bundle_is_whole_by_itself(study, tmp_path, run_step, variant):
    run_step(denoiser, study.denoiser(tmp_path, variant))
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"step_3.png", "step_7.png"}
    bundle = load_bundle(tmp_path)
    assert (bundle.prediction, bundle.card["targets"]) == (variant.split("_")[0], ["spleen", "liver"])
    alone = load_autoencoder(study.folder / "mask_autoencoder", "mask_autoencoder")
    mask = torch.ones(1, 1, 32, 32)
    assert torch.equal(bundle.mask_autoencoder.encode(mask), alone.encode(mask))


@pytest.fixture
def cut_at(monkeypatch, run_step):
    """Runs a denoiser's command until the loss of a step is asked for."""
    loss = latent_diffusion.LatentDiffusion.loss

    def run(command, at):
        def interrupted(task, module, step, rows):
            if step == at:
                assert task.steps.warm, "the history should matter when the run is cut"
                raise KeyboardInterrupt
            return loss(task, module, step, rows)

        with monkeypatch.context() as patch:
            patch.setattr(latent_diffusion.LatentDiffusion, "loss", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run_step(denoiser, command)

    return run


def test_interrupted_denoiser_resumes_to_the_same_bytes(study, tmp_path, run_step, cut_at):
    run_step(denoiser, study.denoiser(tmp_path / "whole"))
    cut_at(study.denoiser(tmp_path / "cut"), 6)
    assert "task/counts" in load_tensors(tmp_path / "cut/last.safetensors")
    run_step(denoiser, study.denoiser(tmp_path / "cut"))
    for name in ("weights.safetensors", "card.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_checkpoint_of_other_volumes_is_refused(study, tmp_path, monkeypatch, run_step, cut_at, capsys):
    cut_at(study.denoiser(tmp_path), 6)
    monkeypatch.setattr("universal_diffusion.training.patches._fingerprint", lambda paths: "others")
    with pytest.raises(SystemExit):
        run_step(denoiser, study.denoiser(tmp_path))
    assert 'volumes: "' in capsys.readouterr().err


def test_global_random_state_serves_the_initial_weights_alone(study, tmp_path, run_step):
    """So a checkpoint need not hold it: it is the same after any number of steps."""
    states = []
    for steps in (1, 5):
        run_step(denoiser, study.denoiser(tmp_path / str(steps), steps=steps))
        states.append((torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()))  # noqa: NPY002
    assert states[0] == states[1]


def test_parts_of_a_batch_add_up_to_it(study, tmp_path, run_step):
    """Told by their losses: Adam makes full steps of the rounding of gradients that vanish, before a normalisation."""
    logs = []
    for size in (4, 3):
        run_step(denoiser, study.denoiser(tmp_path / str(size), micro_batch=size))
        logs.append(pd.read_csv(tmp_path / str(size) / "log.csv").drop(columns=["seconds", "wait_seconds"]))
    pd.testing.assert_frame_equal(*logs, rtol=1e-3)


def test_bfloat16_follows_float32_and_leaves_its_inputs_whole(study, tmp_path, run_step):
    """Rounded to bfloat16, nearly all grey values of a CT would differ from those of the loss."""
    given, logs = [], []

    def note(module, inputs):
        if isinstance(module, ImageAutoencoder):
            given.append(inputs[0])

    for precision in ("32-true", "bf16-mixed"):
        training = {"precision": precision, "steps": 3, "validate_every": 3}
        pretrained = ("--pretrained", study.folder / "pretrained")
        hook = register_module_forward_pre_hook(note)
        run_step(image_autoencoder, study.command("image_autoencoder", tmp_path / precision, *pretrained, **training))
        hook.remove()
        run_step(denoiser, study.denoiser(tmp_path / precision, **training))
        logs.append(pd.read_csv(tmp_path / precision / "log.csv"))
    assert given[-1].dtype == torch.float32
    half = len(given) // 2
    assert all(torch.equal(one, other) for one, other in zip(given[:half], given[half:], strict=True))
    np.testing.assert_allclose(logs[1]["loss"], logs[0]["loss"], rtol=0.02)
    assert (logs[1]["loss"] != logs[0]["loss"]).any(), "the precision should matter, or this says nothing"


def test_autoencoders_of_different_factors_are_refused(study, tmp_path, run_step):
    command = study.command("mask_autoencoder", tmp_path / "mask_autoencoder", network={"channels": [8, 8]}, steps=1)
    run_step(mask_autoencoder, command)
    arguments = type("Arguments", (), {})()
    arguments.mask_autoencoder = tmp_path / "mask_autoencoder"
    arguments.image_autoencoder = study.folder / "image_autoencoder"
    with pytest.raises(InputError, match=r"shrinks images 4 times, masks are shrunk 2 times"):
        denoiser.assemble(arguments, None, "learnt")
