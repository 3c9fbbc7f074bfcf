"""Auto-encoders, embeddings and denoiser: shapes, losses against closed forms, and what may depend on what."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceLoss
from torch.distributions import Normal, kl_divergence
from torch.nn import BCEWithLogitsLoss

from universal_diffusion.errors import InputError
from universal_diffusion.method import autoencoders
from universal_diffusion.method.autoencoders import ImageAutoencoder, MaskAutoencoder, mask_loss
from universal_diffusion.method.bundle import Networks, architecture_of, build_denoiser, load_autoencoder, load_bundle
from universal_diffusion.method.embeddings import ClipEmbedding, embedding
from universal_diffusion.method.latents import LatentScale
from universal_diffusion.method.weights import CARD, WEIGHTS, save_model
from universal_diffusion.settings import MaskAutoencoder as MaskSettings

CHANNELS, LATENT = (8, 8, 16), 3
DENOISER = {
    "channels": [8, 16],
    "residual_blocks": 1,
    "attention_scales": [1],
    "embedding": "learnt",
    "embedding_channels": 8,
}


@pytest.fixture(scope="module")
def networks() -> Networks:
    torch.manual_seed(0)
    denoiser = build_denoiser(DENOISER, LATENT, LATENT, None)
    torch.nn.init.normal_(denoiser.leave[-1].weight)  # the zero start hides what the output depends on
    modules = Networks(MaskAutoencoder(CHANNELS, LATENT, 1), ImageAutoencoder(CHANNELS, LATENT, 1), denoiser)
    return modules.eval().requires_grad_(False)


def card_of(networks: Networks) -> dict:
    shape = {"channels": CHANNELS, "latent_channels": LATENT, "residual_blocks": 1}
    return {
        "architecture": {
            "kind": "variant",
            "mask_autoencoder": {"kind": "mask_autoencoder", **shape},
            "image_autoencoder": {"kind": "image_autoencoder", **shape},
            "denoiser": DENOISER,
        },
        "prediction": "mask",
        "diffusion": {"schedule": "cosine", "timesteps": 10},
    }


def test_autoencoders_keep_the_grid(networks):
    mask = (torch.rand(2, 1, 16, 24) > 0.5).float()
    for module in (networks.mask_autoencoder, networks.image_autoencoder):
        latent = module.encode(mask)
        assert latent.shape == (2, LATENT, 4, 6)
        assert module.decode(latent).shape == mask.shape


def test_latent_scale_gives_unit_moments_and_inverts():
    scale = LatentScale(LATENT)
    batches = [torch.randn(4, LATENT, 5, 5) * 3 + 7 for _ in range(6)]
    scale.fit(batches)
    scaled = torch.cat([scale(batch) for batch in batches])
    torch.testing.assert_close(scaled.mean(dim=(0, 2, 3)), torch.zeros(LATENT), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.std(dim=(0, 2, 3)), torch.ones(LATENT), atol=1e-3, rtol=0)
    torch.testing.assert_close(scale.inverse(scaled), torch.cat(batches))


def test_mask_loss_of_known_vectors():
    mask = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2)
    half = torch.zeros(1, 1, 2, 2)  # probability 1/2 everywhere: BCE ln 2, Dice (2 * 1 + 1) / (2 + 2 + 1)
    torch.testing.assert_close(mask_loss(half, mask).mean(), torch.tensor(2.0).log() + 1 - 3 / 5)
    assert mask_loss(200 * mask - 100, mask) < 1e-6
    assert mask_loss(torch.full((1, 1, 2, 2), -100.0), torch.zeros(1, 1, 2, 2)) < 1e-6


@settings(max_examples=20)
@given(st.floats(-20, 20), st.floats(0, 1), st.integers(0, 99))
def test_mask_loss_is_binary_cross_entropy_and_dice_of_each_patch(scale, share, seed):
    """Against torch's BCE and MONAI's Dice loss, patch by patch."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(3, 1, 6, 5, generator=generator, dtype=torch.float64)
    mask = (torch.rand(3, 1, 6, 5, generator=generator) < share).double()
    dice = DiceLoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0, reduction="none")(logits, mask).flatten()
    entropy = torch.stack([BCEWithLogitsLoss()(a, b) for a, b in zip(logits, mask, strict=True)])
    torch.testing.assert_close(mask_loss(logits, mask), entropy + dice)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_kl_agrees_with_torch_distributions(mean, log_variance):
    shape = (2, 3, 2, 2)
    m, lv = torch.full(shape, mean, dtype=torch.float64), torch.full(shape, log_variance, dtype=torch.float64)
    expected = kl_divergence(Normal(m, (0.5 * lv).exp()), Normal(torch.zeros_like(m), torch.ones_like(m)))
    torch.testing.assert_close(autoencoders.kl_divergence(m, lv), expected.flatten(1).sum(1))


def test_features_serve_every_step(networks):
    denoiser = networks.denoiser
    image_latent, noisy = torch.randn(2, LATENT, 8, 8), torch.randn(2, LATENT, 8, 8)
    e = denoiser.embedding(torch.tensor([6, 6]))
    features = denoiser.features(image_latent, e)
    for t in (0, 7):
        step = torch.full((2,), t)
        again = denoiser(noisy, step, e, denoiser.features(image_latent, e))
        assert torch.equal(denoiser(noisy, step, e, features), again)


def test_features_of_every_scale_depend_on_image_and_target(networks):
    denoiser, image_latent = networks.denoiser, torch.randn(1, LATENT, 8, 8)

    def features(target_id=6, image=image_latent):
        return denoiser.features(image, denoiser.embedding(torch.tensor([target_id])))

    for other in (features(target_id=7), features(image=image_latent + 1)):
        assert not any(torch.allclose(*maps) for maps in zip(features(), other, strict=True))


def test_output_depends_on_target_step_and_image(networks):
    denoiser = networks.denoiser
    image_latent, noisy = torch.randn(1, LATENT, 8, 8), torch.randn(1, LATENT, 8, 8)

    def output(target_id=6, t=3, image=image_latent):
        e = denoiser.embedding(torch.tensor([target_id]))
        return denoiser(noisy, torch.tensor([t]), e, denoiser.features(image, e))

    assert output().shape == (1, 2 * LATENT, 8, 8)
    for other in (output(target_id=7), output(t=4), output(image=image_latent + 1)):
        assert not torch.allclose(output(), other)


def test_every_denoiser_weight_is_used():
    denoiser = build_denoiser(DENOISER, LATENT, LATENT, None)
    torch.nn.init.normal_(denoiser.leave[-1].weight)
    e = denoiser.embedding(torch.arange(1, 30))
    latents = torch.randn(29, LATENT, 8, 8)
    denoiser(latents, torch.arange(29), e, denoiser.features(latents, e)).square().sum().backward()
    unused = [name for name, parameter in denoiser.named_parameters() if parameter.grad is None]
    assert unused == []


def test_clip_embedding_tells_nearly_parallel_prompts_apart():
    features = torch.ones(29, 512) + 1e-3 * torch.randn(29, 512)
    module = ClipEmbedding(features, 8)
    assert module.features.square().mean().sqrt() == pytest.approx(1, abs=1e-5)
    assert module.features.mean(dim=0).abs().max() < 1e-3
    assert not module.features.requires_grad
    assert embedding("learnt", 8, None)(torch.tensor([1, 29])).shape == (2, 8)


def test_each_target_has_its_own_row_of_features_or_of_the_learnt_table():
    features = torch.randn(29, 512, generator=torch.Generator().manual_seed(0))
    clip, learnt, ids = embedding("clip", 8, features), embedding("learnt", 8, None), torch.tensor([29, 1, 7])
    centred = features - features.mean(dim=0)
    rows = centred[[28, 0, 6]] / centred.square().mean().sqrt()
    expected = rows @ clip.projection.weight.T + clip.projection.bias
    torch.testing.assert_close(clip(ids), expected)
    torch.testing.assert_close(learnt(ids), learnt.table.weight[[28, 0, 6]])
    assert [name for name, _ in clip.named_parameters()] == ["projection.weight", "projection.bias"]  # CLIP is frozen


def test_bundle_comes_back_as_it_was_saved(networks, tmp_path):
    save_model(tmp_path, networks, card_of(networks))
    bundle = load_bundle(tmp_path)
    for name, tensor in networks.state_dict().items():
        assert torch.equal(tensor, bundle.networks.state_dict()[name])
    assert bundle.process.timesteps == 10
    assert bundle.latent_channels == LATENT


def test_equal_weights_give_equal_bytes(networks, tmp_path):
    for name in ("a", "b"):
        save_model(tmp_path / name, networks, card_of(networks))
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()
    assert (tmp_path / "a" / CARD).read_bytes() == (tmp_path / "b" / CARD).read_bytes()


def test_checkpoint_of_another_architecture_is_refused(networks, tmp_path):
    card = card_of(networks)
    card["architecture"]["denoiser"] = DENOISER | {"channels": [8, 24]}
    save_model(tmp_path, networks, card)
    with pytest.raises(InputError, match="another architecture"):
        load_bundle(tmp_path)


def test_damaged_and_foreign_directories_are_refused(networks, tmp_path):
    with pytest.raises(InputError, match="is no model card"):
        load_bundle(tmp_path)
    save_model(tmp_path, networks, card_of(networks))
    with pytest.raises(InputError, match="holds no mask autoencoder"):
        load_autoencoder(tmp_path, "mask_autoencoder")
    content = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(content[:-100])
    with pytest.raises(InputError, match=r"is not the file its card\.json describes"):
        load_bundle(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=r"is not the file its card\.json describes"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[]", b'{"architecture": 1}', b"{", b"[" * 200_000])
def test_card_that_is_none_is_refused(content, tmp_path):
    (tmp_path / CARD).write_bytes(content)
    with pytest.raises(InputError, match="is no model card"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("missing", ["diffusion", "prediction", "architecture.denoiser"])
def test_card_with_a_part_missing_is_refused(networks, tmp_path, missing):
    card = card_of(networks)
    *path, key = missing.split(".")
    del (card[path[0]] if path else card)[key]
    save_model(tmp_path, networks, card)
    with pytest.raises(InputError, match="does not describe a whole model"):
        load_bundle(tmp_path)


def test_autoencoder_comes_back_from_its_settings(networks, tmp_path):
    settings = MaskSettings(CHANNELS, LATENT, 1, training=None)
    save_model(tmp_path, networks.mask_autoencoder, {"architecture": architecture_of("mask_autoencoder", settings)})
    mask = torch.ones(1, 1, 16, 16)
    again = load_autoencoder(tmp_path, "mask_autoencoder")
    assert torch.equal(again.encode(mask), networks.mask_autoencoder.encode(mask))
