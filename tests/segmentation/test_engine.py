"""The engine: sliding windows, ensembles, and masks that depend on nothing but what they should."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor

from universal_diffusion import settings
from universal_diffusion.errors import InputError
from universal_diffusion.method.diffusion import GaussianDiffusion
from universal_diffusion.segmentation import engine
from universal_diffusion.targets import target

PATCH, FACTOR, GAIN = 16, 4, 2.0
PRIOR_STD = 0.5  # of z0 around its mean


class ToyAutoencoder:
    """Latents are block means; decoding repeats them, times a gain."""

    factor = FACTOR

    def __init__(self):
        self.encoded = 0

    def encode(self, image: Tensor) -> Tensor:
        self.encoded += len(image)
        return torch.nn.functional.avg_pool2d(image, FACTOR)

    def decode(self, latent: Tensor) -> Tensor:
        return GAIN * latent.repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3)


class ToyDenoiser:
    """E[z0 | zt] where z0 ~ N(image latent + shift of the target, std^2): exact, so that samples follow that normal."""

    def __init__(self, process: GaussianDiffusion, std: float):
        self.process, self.std, self.featured = process, std, 0

    def features(self, image_latent: Tensor, embedding: Tensor) -> tuple[Tensor, ...]:
        self.featured += len(image_latent)
        return (image_latent + embedding[:, :, None, None],)

    def __call__(self, noisy: Tensor, step: Tensor, embedding: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        mean, signal = features[0], self.process.alphas_cumprod[step].float()[:, None, None, None]
        gain = self.std**2 * signal.sqrt() / (self.std**2 * signal + 1 - signal)
        return torch.cat([mean + gain * (noisy - signal.sqrt() * mean), torch.full_like(mean, -1)], dim=1)


def shift(target_id: int) -> float:
    """What the toy adds to the image latent for a target."""
    return target_id / 29 - 0.5


def toy_bundle(std: float = PRIOR_STD, timesteps: int = 100) -> SimpleNamespace:
    process = GaussianDiffusion.scheduled("cosine", timesteps)
    autoencoder = ToyAutoencoder()
    return SimpleNamespace(
        card={"patch": PATCH},
        device=torch.device("cpu"),
        latent_channels=1,
        process=process,
        prediction="mask",
        mask_autoencoder=autoencoder,
        image_autoencoder=autoencoder,
        denoiser=ToyDenoiser(process, std),
        embedding=lambda ids: (ids[:, None] / 29 - 0.5).float(),
    )


SAMPLING = settings.Segmentation(sampler="ddim", steps=5, eta=1.0, ensemble=3, overlap=0.25, batch=8)
TARGETS = ("liver", "spleen", "left kidney")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).random((30, 21, 5), np.float32)  # more than a window in x and y, not a multiple


def maps(bundle, image, targets=TARGETS, sampling=SAMPLING, seed=1):
    return {found.target: found for found in engine.segment(bundle, image, targets, sampling, seed)}


def assert_equal(first, second, tolerance=0.0):
    assert np.abs(first.mean - second.mean).max() <= tolerance
    assert np.abs(first.variance - second.variance).max() <= tolerance


def test_a_deterministic_model_gives_what_monai_gives(image):
    found = maps(toy_bundle(std=0.0), image)["liver"]

    def direct(patches):
        latent = torch.nn.functional.avg_pool2d(patches, FACTOR) + shift(target("liver").id)
        return torch.sigmoid(GAIN * latent.repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3))

    slices = torch.from_numpy(np.moveaxis(image, 2, 0)[:, None].copy())
    expected = sliding_window_inference(slices, (PATCH, PATCH), 1, direct, 0.25, mode="gaussian")
    assert np.allclose(found.mean, expected[:, 0].movedim(0, 2).numpy(), atol=1e-5)
    assert found.variance.max() < 1e-10
    assert found.mean.dtype == found.variance.dtype == np.float32


@pytest.mark.parametrize("sampler", ["ddim", "ancestral"])
def test_the_ensemble_has_the_moments_of_the_model(sampler):
    """Samples follow N(image latent + shift, PRIOR_STD^2); logits are GAIN times that."""
    flat = np.full((PATCH, PATCH, 4), 0.5, np.float32)
    sampling = replace(SAMPLING, sampler=sampler, steps=100, ensemble=200, batch=100)
    found = maps(toy_bundle(), flat, ["liver"], sampling)["liver"]
    latent = np.random.default_rng(0).normal(0.5 + shift(target("liver").id), PRIOR_STD, 10**6)
    probability = 1 / (1 + np.exp(-GAIN * latent))
    assert found.mean.mean() == pytest.approx(probability.mean(), abs=0.01)
    assert found.variance.mean() == pytest.approx(probability.var(), rel=0.1)


@pytest.mark.parametrize("sampler", ["ddim", "ancestral"])
def test_batch_size_changes_nothing(image, sampler):
    sampling = replace(SAMPLING, sampler=sampler)
    whole = maps(toy_bundle(), image, sampling=sampling)
    for batch in (1, 2, 7, 64):  # also less than one window's ensemble
        other = maps(toy_bundle(), image, sampling=replace(sampling, batch=batch))
        for name in TARGETS:
            assert_equal(whole[name], other[name])


def test_batch_size_changes_convolutions_by_rounding_only(conv_bundle, image):
    small = image[..., :2]
    whole = maps(conv_bundle, small, ["liver"])["liver"]
    other = maps(conv_bundle, small, ["liver"], replace(SAMPLING, batch=1))["liver"]
    assert_equal(whole, other, tolerance=1e-5)
    assert np.ptp(whole.mean) > 1e-3  # the network does say something


def test_the_set_and_order_of_targets_change_nothing(conv_bundle, image):
    small = image[..., :2]
    all_three = maps(conv_bundle, small, TARGETS)
    reverse = maps(conv_bundle, small, TARGETS[::-1])
    alone = maps(conv_bundle, small, ["spleen"])
    for name in TARGETS:
        assert_equal(all_three[name], reverse[name])
    assert_equal(all_three["spleen"], alone["spleen"])


def test_slabs_change_nothing(image, monkeypatch):
    whole = maps(toy_bundle(), image)
    monkeypatch.setattr(engine, "SLAB", 2)
    slabs = maps(toy_bundle(), image)
    for name in TARGETS:
        assert_equal(whole[name], slabs[name])


def test_seeds_and_targets_differ(image):
    first, second = maps(toy_bundle(), image), maps(toy_bundle(), image, seed=2)
    assert not np.allclose(first["liver"].mean, second["liver"].mean, atol=1e-3)
    assert first["liver"].variance.min() > 0
    assert not np.allclose(first["liver"].variance, first["spleen"].variance, atol=1e-3)


def test_each_window_is_encoded_once_and_featured_once_per_target(image):
    bundle = toy_bundle()
    maps(bundle, image, sampling=replace(SAMPLING, batch=2))
    windows = 3 * 2 * image.shape[2]  # starts 0, 12, 14 along x and 0, 5 along y
    assert bundle.image_autoencoder.encoded == windows
    assert bundle.denoiser.featured == windows * len(TARGETS)


def test_a_volume_smaller_than_the_window_is_padded_for_the_model_only(image):
    found = maps(toy_bundle(), image[:10, :9], ["liver"])["liver"]
    assert found.mean.shape == (10, 9, 5)


def test_one_target_at_a_time(image):
    bundle = toy_bundle()
    stream = engine.segment(bundle, image, TARGETS, SAMPLING, 1)
    assert next(stream).target == "liver"
    assert bundle.denoiser.featured == bundle.image_autoencoder.encoded  # spleen not begun
    assert not torch.is_inference_mode_enabled()


def test_wrong_targets_and_broken_models_are_told(image):
    with pytest.raises(InputError, match="nearest: liver"):
        next(engine.segment(toy_bundle(), image, ["livver"], SAMPLING, 1))
    with pytest.raises(InputError, match="not finite for liver"):
        maps(toy_bundle(), np.full_like(image, np.nan), ["liver"])
