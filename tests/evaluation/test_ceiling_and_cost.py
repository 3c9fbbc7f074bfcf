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
from universal_diffusion.evaluation import ceiling
from universal_diffusion.evaluation.ceiling import ceiling_cases, ceilings, reconstruct, trained_patch
from universal_diffusion.evaluation.cost import costs, flops
from universal_diffusion.method.autoencoders import MaskAutoencoder
from universal_diffusion.method.bundle import load_autoencoder, load_bundle
from universal_diffusion.settings import Segmentation, Study, read
from universal_diffusion.targets import all_targets, mask

CONFIG = Path(__file__).parents[2] / "config"


class Perfect(MaskAutoencoder):
    """Its latent is the mask itself, and its logits are right but for the pixels of `spots`, on in every slice."""

    spots = ()

    def encode(self, mask):
        return mask

    def decode(self, latent):
        logits = 20 * latent - 10
        for x, y in self.spots:
            logits[:, :, x, y] = 10
        return logits


def test_a_perfect_autoencoder_has_a_ceiling_of_one(study):
    perfect = Perfect((8, 8), 2, 1)
    rows = ceiling_cases([perfect], sorted(study["volumes"].glob("*.h5")), 16)
    table = ceilings(rows, [2]).set_index("target")
    assert len(table) == len(all_targets())
    assert table.loc["liver", ["n", "dice_mean", "dice_min"]].tolist() == [2, 1, 1]
    assert table.loc["liver", "truth_voxels"] == 10 * 8 * 4 + 10 * 7 * 4
    assert table.loc["spleen", "n"] == 0
    assert np.isnan(table.loc["spleen", "dice_mean"])


def test_pixels_decoded_from_empty_slices_count_against_the_ceiling(study):
    truth = mask(study["stored"][0].labels, "liver tumor")
    spotted = Perfect((8, 8), 2, 1)
    spotted.spots = ((15, 0),)
    found = reconstruct(spotted, truth, 16)
    wrong = found & ~truth
    assert (wrong.sum(axis=(0, 1)) == wrong[..., 0].sum()).all()
    assert wrong[..., 0].sum() >= 1
    assert (found & truth).sum() == truth.sum()


def test_ceiling_of_a_real_model_equals_decoding_every_slice(study, models):
    autoencoder = load_autoencoder(models / "mask_autoencoder", "mask_autoencoder")
    truth = mask(study["stored"][0].labels, "liver")[:16, :16]
    with torch.inference_mode():
        masks = torch.from_numpy(np.moveaxis(truth, 2, 0)[:, None].astype(np.float32))
        direct = autoencoder.decode(autoencoder.encode(masks))[:, 0].numpy() > 0
    assert (reconstruct(autoencoder, truth, 16) == np.moveaxis(direct, 0, 2)).all()


def test_ceilings_of_two_factors_stand_beside_each_other(study):
    """f = 8 must lie below f = 4 where it decodes worse, and case rows must give the table's means and minima."""
    fine, coarse = Perfect((8, 8), 2, 1), Perfect((8, 8, 8), 2, 1)
    coarse.spots = ((15, 0), (15, 1))
    rows = ceiling_cases([fine, coarse], sorted(study["volumes"].glob("*.h5")), 16)
    table = ceilings(rows, [4, 2]).set_index(["target", "factor"])
    assert len(table) == 2 * len(all_targets())
    for name in ("liver", "liver tumor"):
        assert table.loc[(name, 2), "dice_mean"] == 1 > table.loc[(name, 4), "dice_mean"]
        mine = rows[(rows["target"] == name) & (rows["factor"] == 4)]["dice"]
        assert table.loc[(name, 4), ["n", "dice_mean", "dice_min"]].tolist() == [2, mine.mean(), mine.min()]
    # Wrong pixels in every one of 6 slices: at least 2 per slice beside the 54 of the tumour.
    assert table.loc[("liver tumor", 4), "dice_mean"] <= 2 * 54 / (2 * 54 + 12)


def test_the_step_writes_rows_and_table_and_names_the_cohort(study, models, tmp_path, monkeypatch):
    flags = ["--models", models / "mask_autoencoder", models / "coarser", "--volumes", study["volumes"]]
    flags += ["--splits", study["splits"], "--threads", "1", "--cohort", "imagined"]
    for kind in ("cases", "csv", "md"):
        flags += [f"--output-{kind}", tmp_path / f"ceiling.{kind}"]
    monkeypatch.setattr(sys, "argv", ["ceiling", *map(str, flags)])
    ceiling.main()
    table = pd.read_csv(tmp_path / "ceiling.csv").set_index(["target", "factor"])
    assert table.loc["liver", "n"].tolist() == [1, 1]  # one validation case, at f = 2 and at f = 4
    assert len(pd.read_csv(tmp_path / "ceiling.cases")) == 4
    caption, _, header, *_ = (tmp_path / "ceiling.md").read_text().splitlines()
    assert "imagined" in caption
    assert header == "| Target | n | Voxels | mean, f = 2 | least, f = 2 | mean, f = 4 | least, f = 4 |"


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


def test_models_trained_in_other_windows_have_no_common_ceiling(models):
    with pytest.raises(InputError, match="one that all models share"):
        trained_patch([models / "mask_autoencoder", models / "mask_clip"])


def test_flops_of_a_known_convolution():
    layer = torch.nn.Conv2d(3, 5, 3, padding=1, bias=False)
    assert flops(lambda: layer(torch.zeros(1, 3, 8, 8))) == 2 * 3 * 5 * 9 * 8 * 8


def test_pixel_space_costs_factor_squared_per_convolution_and_needs_no_autoencoder(models):
    sampling = Segmentation("ddim", 10, 1.0, 5, 0.25, 8)
    table = costs(load_bundle(models / "mask_clip"), sampling).set_index("space")
    latent, pixel = table.loc["latent"], table.loc["pixel"]
    assert (latent["grid"], pixel["grid"]) == (8, 16)
    assert pixel["denoiser_step_gflop"] / latent["denoiser_step_gflop"] > 3.9
    assert pixel["decode_mask_gflop"] == pixel["encode_image_gflop"] == 0
    ensemble = 5 * (10 * latent["denoiser_step_gflop"] + latent["decode_mask_gflop"])
    assert latent["total_gflop"] == pytest.approx(
        latent["encode_image_gflop"] + latent["image_features_gflop"] + ensemble
    )
