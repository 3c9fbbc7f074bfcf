"""The table of networks: figures that others measured, and the same counts as the trained modules'."""

import json
from dataclasses import asdict

import pytest
import torch
import yaml

from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.beyond import networks
from universal_diffusion.evaluation.beyond.cost import guided_flops
from universal_diffusion.method.bundle import build_denoiser
from universal_diffusion.settings import Study, read
from universal_diffusion.training.denoiser import architecture_of


@pytest.fixture(scope="module")
def paper(project_root) -> Study:
    return read(Study, yaml.safe_load((project_root / "config/paper.yaml").read_text()))


@pytest.fixture(scope="module")
def rows(paper):
    return networks.network_rows(paper).set_index(["network", "part"])


def test_counts_agree_with_those_measured_elsewhere(rows):
    """Field survey, section 6.2: parameters in millions and GFLOP forward, two per multiplication and addition."""
    for factor, name, parameters, encoder, decoder in ((4, "mask", 1.8, 14.1, 27.2), (4, "image", 7.0, 56.2, 108.6)):
        coder = rows.loc[f"{name} auto-encoder, f = {factor}"]
        assert coder["parameters"].sum() / 1e6 == pytest.approx(parameters, rel=0.02)
        assert coder["gflop"].to_dict() == pytest.approx({"encoder": encoder, "decoder": decoder}, rel=0.005)
    assert rows.loc[("guided-diffusion, pixel space", "whole"), "gflop"] == pytest.approx(496.7, rel=1e-3)


def test_the_f8_mask_autoencoder_has_one_scale_more(rows):
    finer, coarser = (rows.loc[f"mask auto-encoder, f = {factor}"] for factor in (4, 8))
    assert (coarser["parameters"] > finer["parameters"]).all()
    assert (coarser["gflop"] / finer["gflop"]).between(1, 1.2).all()


def test_the_denoiser_is_counted_whole(paper, rows):
    built = build_denoiser(architecture_of(paper.denoiser, "clip"), 4, 3, None)
    parts = rows.loc["denoiser, latent space"].drop("e_k, learnt")
    assert parts["parameters"].sum() == sum(parameter.numel() for parameter in built.parameters())
    features, step = guided_flops(built, 64)
    expected = {"class-aware image encoder": features / 1e9, "U-Net": step / 1e9}
    assert parts.drop("e_k, clip")["gflop"].to_dict() == pytest.approx(expected)


def test_only_what_the_study_trains_has_a_share(rows):
    assert rows.loc["LPIPS", "trained_share"].item() == 0
    assert rows.filter(like="pixel", axis=0)["trained_share"].isna().all()
    assert (rows.loc["denoiser, latent space", "trained_share"] == 1).all()


def test_pixel_space_costs_more_in_the_same_network(rows):
    latent, pixel = (rows.loc[f"denoiser, {space} space", "gflop"] for space in ("latent", "pixel"))
    assert (pixel / latent.reindex(pixel.index) > 15).all()  # 16 times the pixels; attention grows faster


def test_the_step_writes_both_tables(paper, tmp_path, monkeypatch):
    flags = ["--study", json.dumps(asdict(paper)), "--cohort", "no case"]
    flags += [word for kind in tables.KINDS for word in (f"--output-{kind}", tmp_path / f"n.{kind}")]
    monkeypatch.setattr("sys.argv", ["networks", *map(str, flags)])
    networks.main()
    assert "| mask auto-encoder, f = 4 | encoder | training patch | 256 x 256 | 0.75 | 100 | 14.1 |" in (
        (tmp_path / "n.md").read_text()
    )
    assert torch.get_default_device() == torch.device("cpu")
