"""The engine: sliding windows, ensembles, and masks that depend on nothing but what they should."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from monai.data.utils import compute_importance_map
from monai.inferers import sliding_window_inference
from torch import Tensor

from universal_diffusion import settings
from universal_diffusion.errors import InputError
from universal_diffusion.method.diffusion import GaussianDiffusion
from universal_diffusion.segmentation.sampling import engine
from universal_diffusion.segmentation.sampling.image_latents import ImageLatents
from universal_diffusion.segmentation.sampling.kept import Kept
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


@dataclass(frozen=True)
class Maps:
    """One target of a whole volume."""

    mean: np.ndarray
    variance: np.ndarray
    voxels: np.ndarray


def slabs(bundle, image, targets=TARGETS, sampling=SAMPLING, seed=1, **more):
    latents = ImageLatents(bundle, image, sampling.overlap, 4)
    return list(engine.segment_slabs(bundle, latents, targets, sampling, seed, **more))


def maps(bundle, image, targets=TARGETS, sampling=SAMPLING, seed=1, **more) -> dict[str, Maps]:
    found = slabs(bundle, image, targets, sampling, seed, **more)
    mean, variance = (np.concatenate([getattr(slab, kind) for slab in found], 3) for kind in ("mean", "variance"))
    voxels = sum(slab.voxels for slab in found)
    return {name: Maps(mean[k], variance[k], voxels[k]) for k, name in enumerate(targets)}


def assert_equal(first, second, tolerance=0.0):
    assert np.abs(first.mean - second.mean).max() <= tolerance
    assert np.abs(first.variance - second.variance).max() <= tolerance


def direct(patches: Tensor) -> Tensor:
    """What the deterministic toy says of the liver, straight."""
    latent = torch.nn.functional.avg_pool2d(patches, FACTOR) + shift(target("liver").id)
    return torch.sigmoid(GAIN * latent.repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3))


@examples(max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 45), st.integers(1, 45), st.integers(1, 3)),
    overlap=st.floats(0, 0.9),
    ensemble=st.integers(1, 3),
    batch=st.integers(1, 20),
    seed=st.integers(0, 9),
)
def test_a_deterministic_model_gives_what_monai_gives(shape, overlap, ensemble, batch, seed):
    image = np.random.default_rng(seed).uniform(0.1, 1, shape).astype(np.float32)
    sampling = replace(SAMPLING, overlap=overlap, ensemble=ensemble, batch=batch)
    found = maps(toy_bundle(std=0.0), image, ["liver"], sampling)["liver"]
    stack = torch.from_numpy(np.moveaxis(image, 2, 0)[:, None].copy())
    expected = sliding_window_inference(stack, (PATCH, PATCH), 1, direct, overlap, mode="gaussian")
    assert np.allclose(found.mean, expected[:, 0].movedim(0, 2).numpy(), atol=1e-5)
    assert found.variance.max() < 1e-10
    assert found.mean.dtype == found.variance.dtype == np.float32


def test_windows_of_air_are_not_sampled_and_their_neighbours_decide_alone(image):
    """Along x windows start at 0, 12 and 14, along y at 0 and 5."""
    image = image.copy()
    image[:16, :, 1] = 0  # the two windows at x = 0
    image[..., 2] = 0
    found = maps(toy_bundle(std=0.0), image, ["liver"])["liver"]
    assert not found.mean[..., 2].any()
    weight = compute_importance_map((PATCH, PATCH), mode="gaussian").numpy()
    total, weights = np.zeros((2, *image.shape[:2]))
    for place in [(slice(x, x + PATCH), slice(y, y + PATCH)) for x in (12, 14) for y in (0, 5)]:
        total[place] += weight * direct(torch.from_numpy(image[..., 1][place].copy())[None, None])[0, 0].numpy()
        weights[place] += weight
    assert np.allclose(found.mean[..., 1], np.divide(total, weights, where=weights > 0, out=total), atol=1e-5)
    assert not found.mean[:12, :, 1].any()
    assert (found.mean[12:, :, 1] > 0).all()


def test_only_kept_pairs_are_sampled(image):
    bundle = toy_bundle()
    whole = maps(bundle, image)
    latents = ImageLatents(bundle, image, SAMPLING.overlap, 4)
    pairs = np.zeros((3, *latents.body.shape), bool)
    pairs[0, 1:3], pairs[2, 4, 0] = True, True
    kept = Kept(TARGETS, latents.windows, latents.body, np.arange(5), pairs, np.zeros((0, 0, 0, 0), np.float16))
    rows = []
    found = maps(toy_bundle(), image, kept=kept, advance=rows.append)
    assert sum(rows) == pairs.sum() * SAMPLING.ensemble
    assert np.array_equal(found["liver"].mean[..., 1:3], whole["liver"].mean[..., 1:3])
    assert not found["liver"].mean[..., [0, 3, 4]].any()
    assert not found["spleen"].mean.any()
    footprint = kept.footprint("left kidney", 4)
    assert np.array_equal(found["left kidney"].mean[..., 4] > 0, footprint)


@pytest.mark.parametrize("sampler", ["ddim", "ancestral"])
def test_the_ensemble_has_the_moments_of_the_model(sampler):
    """Samples follow N(image latent + shift, PRIOR_STD^2); logits are GAIN times that."""
    flat = np.full((PATCH, PATCH, 4), 0.5, np.float32)
    sampling = replace(SAMPLING, sampler=sampler, steps=100, ensemble=100, batch=50)
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


def test_slabs_change_nothing_and_finished_ones_are_left_out(image, monkeypatch):
    whole = maps(toy_bundle(), image)
    monkeypatch.setattr(engine, "SLAB_BYTES", 2 * 8 * 3 * 30 * 21 + 7)
    pieces = slabs(toy_bundle(), image)
    assert [(slab.first, slab.mean.shape[3]) for slab in pieces] == [(0, 2), (2, 2), (4, 1)]
    for k, name in enumerate(TARGETS):
        joined = [np.concatenate([getattr(slab, kind)[k] for slab in pieces], 2) for kind in ("mean", "variance")]
        assert_equal(whole[name], Maps(*joined, sum(slab.voxels[k] for slab in pieces)))
    (middle,) = slabs(toy_bundle(), image, done=(0, 4))
    assert middle.first == 2
    assert np.array_equal(middle.mean, pieces[1].mean)


def test_one_sample_has_no_variance_and_its_voxels_are_the_masks(image):
    found = maps(toy_bundle(), image, sampling=replace(SAMPLING, ensemble=1))
    for of_target in found.values():
        assert not of_target.variance.any()
        assert of_target.voxels.tolist() == [(of_target.mean >= 0.5).sum()]


def test_a_warm_start_samples_from_the_gates_estimate(image):
    """From the mean itself, noised to `t`, the exact denoiser leads back to it, with less variance than from noise."""
    latents = ImageLatents(toy_bundle(), image, SAMPLING.overlap, 4)
    pairs, looked = np.repeat(latents.body[None], 3, axis=0), np.arange(5)
    places = [(z, k, w) for z in range(5) for k in range(3) for w in range(6)]
    estimates = latents.of(np.array([(z, w) for z, _, w in places])).numpy()
    estimates += np.array([shift(target(TARGETS[k]).id) for _, k, _ in places])[:, None, None, None]
    kept = Kept(TARGETS, latents.windows, latents.body, looked, pairs, estimates.astype(np.float16))
    sampling = replace(SAMPLING, eta=0.0)
    certain = maps(toy_bundle(std=0.0), image, sampling=sampling)
    cold = maps(toy_bundle(), image, sampling=sampling)
    warm = maps(toy_bundle(), image, sampling=replace(sampling, warm_start=20), kept=kept)
    barely = maps(toy_bundle(), image, sampling=replace(sampling, warm_start=0, steps=1), kept=kept)
    for name in TARGETS:
        assert_equal(barely[name], certain[name], tolerance=0.03)
        assert 0 < barely[name].variance.mean() < 0.1 * warm[name].variance.mean() < 0.1 * cold[name].variance.mean()
    with pytest.raises(InputError, match="without a gate"):
        maps(toy_bundle(), image, sampling=replace(sampling, warm_start=20))


def test_seeds_and_targets_differ(image):
    first, second = maps(toy_bundle(), image), maps(toy_bundle(), image, seed=2)
    assert not np.allclose(first["liver"].mean, second["liver"].mean, atol=1e-3)
    assert first["liver"].variance.min() > 0
    assert not np.allclose(first["liver"].variance, first["spleen"].variance, atol=1e-3)


def test_each_window_is_encoded_once_and_featured_once_per_target(image):
    bundle = toy_bundle()
    maps(bundle, image, sampling=replace(SAMPLING, batch=6))
    windows = 3 * 2 * image.shape[2]  # starts 0, 12, 14 along x and 0, 5 along y
    assert bundle.image_autoencoder.encoded == windows + 2  # that fill up the last batch of 4
    assert bundle.denoiser.featured == windows * len(TARGETS)


def test_a_volume_smaller_than_the_window_is_padded_for_the_model_only(image):
    found = maps(toy_bundle(), image[:10, :9], ["liver"])["liver"]
    assert found.mean.shape == (10, 9, 5)


def test_work_is_done_slab_by_slab(image, monkeypatch):
    monkeypatch.setattr(engine, "SLAB_BYTES", 1)
    bundle = toy_bundle()
    stream = engine.segment_slabs(bundle, ImageLatents(bundle, image, 0.25, 6), TARGETS, SAMPLING, 1)
    assert next(stream).mean.shape == (3, *image.shape[:2], 1)
    assert bundle.denoiser.featured == 6 * 3  # of the first slice only
    assert not torch.is_inference_mode_enabled()


def test_wrong_targets_and_broken_models_are_told(image):
    with pytest.raises(InputError, match="nearest: liver"):
        maps(toy_bundle(), image, ["livver"])
    with pytest.raises(InputError, match="not finite for liver"):
        maps(toy_bundle(), np.full_like(image, np.nan), ["liver"])
