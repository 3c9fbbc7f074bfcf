"""The training benchmarks' parts on small networks: what is timed is what it is called."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from universal_diffusion.benchmarks import alone as module
from universal_diffusion.benchmarks import denoisers, space, store, training
from universal_diffusion.benchmarks.alone import alone, autocast, device_peak, rate, scaled
from universal_diffusion.benchmarks.demand import step_flops
from universal_diffusion.benchmarks.plain import PlainDiffusion, plain_flops, plain_training
from universal_diffusion.settings import Study, read
from universal_diffusion.targets import bits
from universal_diffusion.volumes import Grid, Volume

PATCH = 32


@pytest.fixture(scope="module")
def paper(project_root) -> Study:
    return read(Study, yaml.safe_load((project_root / "config/paper.yaml").read_text()))


@pytest.fixture(scope="module")
def small(paper) -> Study:
    """The paper's configuration with narrow networks on small patches, as a CPU measures it."""
    study = replace(
        paper,
        preparation=replace(paper.preparation, patch=PATCH),
        mask_autoencoder=replace(paper.mask_autoencoder, channels=(8, 8), residual_blocks=1),
        image_autoencoder=replace(paper.image_autoencoder, channels=(8, 8), residual_blocks=1),
        denoiser=replace(paper.denoiser, channels=(8, 16), attention_scales=(1,), embedding_channels=8),
    )
    return scaled(study, "cpu")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> training.Cohort:
    shape = (40, 40, 6)
    grid, labels = Grid(shape, np.diag([1.5, 1.5, 2, 1])), np.zeros(shape, np.uint32)
    labels[4:20, 6:24, 2:5] = bits(["liver"])
    image = np.random.default_rng(3).random(shape, np.float32)
    volume = Volume("amos", "case", ("liver",), "", image, labels, grid, labels, grid)
    return training.write_cohort(tmp_path_factory.mktemp("cohort"), volume)


def test_a_cpu_is_measured_with_few_small_steps_of_the_same_networks(paper):
    study = scaled(paper, "cpu")
    assert study.denoiser == replace(paper.denoiser, training=study.denoiser.training)
    assert (study.denoiser.training.batch, study.denoiser.training.precision) == (1, "32-true")
    assert scaled(paper, "cuda").denoiser.training.batch == paper.denoiser.training.batch


def test_large_products_and_convolutions_reach_a_plausible_speed(monkeypatch):
    monkeypatch.setattr(module, "MATRIX", {"cpu": 256})
    monkeypatch.setattr(module, "CONVOLUTION", {"cpu": (1, 32, 32)})
    assert 1e-4 < device_peak("cpu", torch.float32, 1)["peak TFLOP/s"] < 10


def test_the_peak_is_the_faster_of_products_and_convolutions(monkeypatch):
    monkeypatch.setattr(module, "MATRIX", {"cpu": 64})
    monkeypatch.setattr(module, "CONVOLUTION", {"cpu": (2, 8, 16)})
    works = list(module._works("cpu", torch.float32))
    for work, operations in works:
        with FlopCounterMode(display=False) as counter:
            work()
        assert counter.get_total_flops() == operations
    rates = iter([3e12, 5e12])
    monkeypatch.setattr(module, "rate", lambda *_: next(rates))
    assert device_peak("cpu", torch.float32, 1) == {"peak TFLOP/s": 5}


def test_a_rate_is_that_of_the_fastest_run(monkeypatch):
    clock = np.cumsum([[0, 4], [1, 2], *[[1, 8]] * 40]).tolist()  # each run starts and ends: 4, 2, 8, 8, ... seconds
    monkeypatch.setattr(module.time, "perf_counter", iter(clock).__next__)
    assert rate(lambda: None, 10, "cpu") == 5


def test_work_alone_has_its_own_peak():
    ballast = np.ones(2**28, np.uint8)  # of this process, not of the other
    figures = alone(dict, {"figure": 1})
    assert figures["figure"] == 1
    assert 0 < figures["peak GiB"] < 4
    assert ballast.any()


def test_a_training_is_run_as_its_rule_runs_it_and_read_from_its_log(small, cohort):
    step, name, _ = training.TRAININGS["mask auto-encoder"]
    training.run_step(step, training.flags_of("mask auto-encoder", small, cohort.folder, threads=1))
    figures = training.logged(cohort.folder / name / "log.csv", batch=1, warm=1)
    assert figures["patches/s"] > 0
    assert 0 <= figures["waiting %"] <= 100


def test_the_log_is_read_as_patches_per_second(tmp_path):
    pd.DataFrame({"seconds": [9.0, 2.0, 2.0], "wait_seconds": [9.0, 1.0, 0.0]}).to_csv(tmp_path / "log.csv")
    assert training.logged(tmp_path / "log.csv", 8, 1) == {"patches/s": 4.0, "waiting %": 25.0}


def test_lpips_goes_forward_twice_and_back_once():
    one_image = 2 * 15.35e9 * (256 / 224) ** 2  # VGG-16's convolutions at 224 x 224: 15.35 GMAC
    assert training.perceptual_flops(256) == pytest.approx(3 * one_image, rel=0.02)


def test_the_plain_way_trains(small, cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PATCH", PATCH)
    figures = plain_training(small, cohort.pairs, tmp_path, "cpu", 1, 1)
    assert figures["patches/s"] > 0
    assert 0 < figures["waiting %"] < 100
    model = PlainDiffusion(small)
    loss = model.loss(torch.rand(2, 1, PATCH, PATCH), torch.ones(2, 1, PATCH, PATCH))
    loss.backward()
    assert all(parameter.grad is None for parameter in model.masks.parameters())
    assert model.network.conv_in.conv.weight.grad is not None


def test_the_plain_way_is_of_the_paper_s_size(paper):
    """60.7 GFLOP forward for the U-Net, thrice for a step; both encoders forward: 14.1 and 56.3."""
    assert plain_flops(paper) / 1e9 == pytest.approx(3 * 60.7 + 14.1 + 56.3, rel=0.02)


@pytest.mark.parametrize("name", [denoisers.LATENT, denoisers.WHOLE, denoisers.SAME, denoisers.GUIDED_DIFFUSION])
def test_every_denoiser_takes_both_kinds_of_step(small, monkeypatch, name):
    flags = {"channels": (8, 8), "attention_levels": (False, True), "num_res_blocks": 1, "norm_num_groups": 8}
    monkeypatch.setattr(denoisers, "GUIDED", flags | {"num_head_channels": 8})
    for of_training in (False, True):
        assert space.measured(name, small, 2, of_training, "cpu", 1)["ms per patch"] > 0
    forward, step = (space.counted(name, small, of_training) for of_training in (False, True))
    assert 2 < step / forward < 3.2 or name == denoisers.WHOLE


def test_training_in_latent_space_is_counted_as_the_study_counts_it(paper):
    assert space.counted(denoisers.WHOLE, paper, training=True) == step_flops(paper)["denoiser"]


def test_a_forward_pass_encodes_once_and_decodes_in_latent_space(small):
    subject = denoisers.subject(denoisers.WHOLE, small)
    output = space.step_of(subject, 2, False, autocast("cpu", "32-true"))()
    assert output.shape == (2, 1, PATCH, PATCH)
    trained = space.step_of(denoisers.subject(denoisers.LATENT, small), 2, False, autocast("cpu", "bf16-mixed"))()
    assert trained.shape == (2, 2 * small.mask_autoencoder.latent_channels, PATCH // 2, PATCH // 2)
