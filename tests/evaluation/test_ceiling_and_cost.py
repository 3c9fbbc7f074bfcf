"""What the mask auto-encoder can reach at most, and what latent sampling saves."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from universal_diffusion.consistency import check
from universal_diffusion.errors import InputError
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.beyond import ceiling
from universal_diffusion.evaluation.beyond.ceiling import ceilings
from universal_diffusion.evaluation.beyond.cost import costs, flops, printed_table
from universal_diffusion.method.autoencoders import MaskAutoencoder
from universal_diffusion.method.bundle import load_bundle
from universal_diffusion.settings import Segmentation, Study, read
from universal_diffusion.targets import all_targets

CONFIG = Path(__file__).parents[2] / "config"


ROWS = [
    (2, "msd03", "l1", "liver", 0.9, 100),
    (2, "btcv", "b1", "liver", 0.7, 40),
    (2, "msd03", "l1", "liver tumor", 1.0, 9),
    (4, "msd03", "l1", "liver", 0.8, 100),
    (4, "btcv", "b1", "liver", 0.6, 40),
    (4, "msd03", "l1", "liver tumor", 0.25, 9),
]


def test_ceilings_of_two_factors_stand_beside_each_other():
    """Case rows give the table's means and minima; a target that no case holds has a row and no figure."""
    table = ceilings(pd.DataFrame(ROWS, columns=ceiling.COLUMNS)).set_index(["target", "factor"])
    assert len(table) == 2 * len(all_targets())
    assert table.loc[("liver", 2)].tolist() == pytest.approx([2, 0.8, 0.7, 140])
    assert table.loc[("liver", 4)].tolist() == pytest.approx([2, 0.7, 0.6, 140])
    assert table.loc[("liver tumor", 4)].tolist() == [1, 0.25, 0.25, 9]
    assert table.loc[("spleen", 2), "n"] == 0
    assert np.isnan(table.loc[("spleen", 2), "dice_mean"])


def test_the_step_writes_the_table_and_names_the_cohort(tmp_path, monkeypatch):
    rows = pd.DataFrame(ROWS, columns=ceiling.COLUMNS)
    for factor, mine in rows.groupby("factor"):
        mine.to_csv(tmp_path / f"{factor}.csv", index=False)
    flags = ["--cases", tmp_path / "4.csv", tmp_path / "2.csv", "--cohort", "imagined"]
    flags += [word for kind in tables.KINDS for word in (f"--output-{kind}", tmp_path / f"ceiling.{kind}")]
    monkeypatch.setattr(sys, "argv", ["ceiling", *map(str, flags)])
    ceiling.main()
    assert pd.read_csv(tmp_path / "ceiling.csv").set_index(["target", "factor"]).loc["liver", "n"].tolist() == [2, 2]
    caption, _, header, *_ = lines = (tmp_path / "ceiling.md").read_text().splitlines()
    assert "imagined" in caption
    assert header == "| Target | n | Voxels | mean, f = 2 | least, f = 2 | mean, f = 4 | least, f = 4 |"
    assert "| liver | 2 | 70 | 80.0 | 70.0 | 70.0 | 60.0 |" in lines


@pytest.mark.parametrize("text", ["factor,source,case,target,dice,truth_voxels\n", "target,dice\nliver,1\n", ""])
def test_a_file_that_holds_no_ceiling_is_told(tmp_path, text):
    (tmp_path / "ceiling.csv").write_text(text)
    with pytest.raises(InputError, match=r"ceiling.csv: .*; train the mask auto-encoder again"):
        ceiling.read_ceiling_cases(tmp_path / "ceiling.csv")


@pytest.mark.parametrize("name", ["config", "sample", "paper"])
def test_every_study_compares_f_4_with_f_8(name):
    study = read(Study, yaml.safe_load((CONFIG / f"{name}.yaml").read_text()))
    latents = []
    for settings in (study.mask_autoencoder, study.mask_autoencoder.coarser()):
        with torch.device("meta"):
            model = MaskAutoencoder(settings.channels, settings.latent_channels, settings.residual_blocks)
            latents.append(model.encode(torch.zeros(1, 1, study.preparation.patch, study.preparation.patch)).shape)
        assert settings.training == study.mask_autoencoder.training
    sizes = [study.preparation.patch // factor for factor in (4, 8)]
    assert latents == [(1, study.mask_autoencoder.latent_channels, size, size) for size in sizes]


def test_patch_that_the_coarser_auto_encoder_cannot_halve_is_told():
    study = read(Study, yaml.safe_load((CONFIG / "config.yaml").read_text()))
    flat = replace(study.denoiser, channels=(32,), attention_scales=())
    with pytest.raises(InputError, match=r"patch: is 84, .* cannot halve 3 times"):
        check(replace(study, denoiser=flat, preparation=replace(study.preparation, patch=84)))


def test_flops_of_a_known_convolution():
    layer = torch.nn.Conv2d(3, 5, 3, padding=1, bias=False)
    assert flops(lambda: layer(torch.zeros(1, 3, 8, 8))) == 2 * 3 * 5 * 9 * 8 * 8


def test_pixel_space_costs_factor_squared_per_convolution_and_needs_no_autoencoder(models):
    sampling = Segmentation("ddim", 10, 1.0, 5, 0.25, 8)
    table = costs(load_bundle(models / "mask_clip"), sampling).set_index("space")
    latent, pixel = table.loc["latent"], table.loc["pixel"]
    texts = printed_table(table.reset_index(), "a toy").texts
    assert texts["Grid"].tolist() == ["8 x 8", "16 x 16"]
    assert texts["Times latent"].tolist() == ["1.0", f"{pixel['total_gflop'] / latent['total_gflop']:.1f}"]
    assert (latent["grid"], pixel["grid"]) == (8, 16)
    assert pixel["denoiser_step_gflop"] / latent["denoiser_step_gflop"] > 3.9
    assert pixel["decode_mask_gflop"] == pixel["encode_image_gflop"] == 0
    ensemble = 5 * (10 * latent["denoiser_step_gflop"] + latent["decode_mask_gflop"])
    assert latent["total_gflop"] == pytest.approx(
        latent["encode_image_gflop"] + latent["image_features_gflop"] + ensemble
    )
