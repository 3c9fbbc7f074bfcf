"""What the mask auto-encoder can reach at most, and what latent sampling saves."""

import numpy as np
import pytest
import torch

from universal_diffusion.evaluation.ceiling import ceilings, reconstruct
from universal_diffusion.evaluation.cost import costs, flops
from universal_diffusion.method.autoencoders import MaskAutoencoder
from universal_diffusion.method.bundle import load_autoencoder, load_bundle
from universal_diffusion.settings import Segmentation
from universal_diffusion.targets import all_targets, mask


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
    table = ceilings(perfect, sorted(study["volumes"].glob("*.h5")), 16).set_index("target")
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
