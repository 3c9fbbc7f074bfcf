"""The class-aware features on the engine: cached they serve every step bit for bit, and e_k alone changes the mask."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from universal_diffusion import settings
from universal_diffusion.method.bundle import Bundle
from universal_diffusion.segmentation.sampling.engine import SlabMaps, segment_slabs
from universal_diffusion.segmentation.sampling.image_latents import ImageLatents
from universal_diffusion.targets import target

SAMPLING = settings.Segmentation(sampler="ddim", steps=5, eta=1.0, ensemble=3, overlap=0.25, batch=12)


class Recomputing:
    """A denoiser that caches nothing: it reads image latent and e_k again at every step."""

    def __init__(self, denoiser: torch.nn.Module, ensemble: int):
        self.denoiser, self.ensemble, self.encoded = denoiser, ensemble, 0

    def features(self, image_latent: Tensor, embedding: Tensor) -> tuple[Tensor, ...]:
        return (image_latent,)

    def __call__(self, noisy: Tensor, step: Tensor, embedding: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        first = slice(None, None, self.ensemble)  # one row of each window: sums depend on the size of a batch
        again = self.denoiser.features(features[0][first], embedding[first])
        self.encoded += 1
        repeated = tuple(feature.repeat_interleave(self.ensemble, dim=0) for feature in again)
        return self.denoiser(noisy, step, embedding, repeated)


class Counting:
    """A denoiser that counts how often it is asked for features and for a step."""

    def __init__(self, denoiser: torch.nn.Module):
        self.denoiser, self.featured, self.stepped = denoiser, 0, 0

    def features(self, image_latent: Tensor, embedding: Tensor) -> tuple[Tensor, ...]:
        self.featured += len(image_latent)
        return self.denoiser.features(image_latent, embedding)

    def __call__(self, *arguments) -> Tensor:
        self.stepped += 1
        return self.denoiser(*arguments)


def with_parts(bundle: Bundle, **parts) -> SimpleNamespace:
    """The bundle as the engine sees it, with some of its parts replaced."""
    seen = ("card", "device", "latent_channels", "process", "prediction", "mask_autoencoder", "image_autoencoder")
    kept = {name: getattr(bundle, name) for name in (*seen, "denoiser", "embedding")}
    return SimpleNamespace(**kept | parts)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).random((20, 16, 3), np.float32)  # two windows a slice


def liver(bundle, image, sampling=SAMPLING) -> SlabMaps:
    (slab,) = segment_slabs(bundle, ImageLatents(bundle, image, sampling.overlap, 6), ["liver"], sampling, seed=1)
    return slab


@pytest.mark.parametrize("prediction", ["mask", "noise"])
@pytest.mark.parametrize(("sampler", "eta"), [("ddim", 0.0), ("ddim", 1.0), ("ancestral", 0.0)])
@pytest.mark.parametrize("ensemble", [1, 3])
def test_cached_and_uncached_sampling_agree_bit_for_bit(conv_bundle, image, prediction, sampler, eta, ensemble):
    sampling = replace(SAMPLING, sampler=sampler, eta=eta, ensemble=ensemble)
    recomputing = Recomputing(conv_bundle.denoiser, ensemble)
    cached = liver(with_parts(conv_bundle, prediction=prediction), image, sampling)
    uncached = liver(with_parts(conv_bundle, prediction=prediction, denoiser=recomputing), image, sampling)
    assert recomputing.encoded >= sampling.steps
    assert np.array_equal(cached.mean, uncached.mean)
    assert np.array_equal(cached.variance, uncached.variance)
    assert np.ptp(cached.mean) > 1e-3  # the network does say something


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_features_are_computed_once_for_any_number_of_steps_and_samples(conv_bundle, image, steps):
    for ensemble in (1, 3):
        counting = Counting(conv_bundle.denoiser)
        liver(with_parts(conv_bundle, denoiser=counting), image, replace(SAMPLING, steps=steps, ensemble=ensemble))
        at_once = SAMPLING.batch // ensemble
        assert counting.featured == -(-2 * 3 // at_once) * at_once  # windows a slice, slices; in whole batches
        assert counting.stepped % steps == 0


def test_changing_the_target_changes_the_mask_through_its_embedding_alone(conv_bundle, image):
    """The same image, the same noise (which belongs to the target's name), another e_k."""

    def embedding_of(name: str):
        return lambda ids: conv_bundle.embedding(torch.full_like(ids, target(name).id))

    own = liver(conv_bundle, image)
    same = liver(with_parts(conv_bundle, embedding=embedding_of("liver")), image)
    other = liver(with_parts(conv_bundle, embedding=embedding_of("spleen")), image)
    assert np.array_equal(own.mean, same.mean)
    assert np.abs(own.mean - other.mean).max() > 0.01
    assert ((own.mean > 0.5) != (other.mean > 0.5)).any()


def test_changing_the_target_for_the_image_encoder_alone_changes_the_mask(conv_bundle, image):
    """e_k reaches the mask through the class-aware features, not only through the U-Net's own conditioning."""
    spleen = conv_bundle.embedding(torch.tensor([target("spleen").id]))

    class OtherFeatures(Counting):
        def features(self, image_latent: Tensor, embedding: Tensor) -> tuple[Tensor, ...]:
            return self.denoiser.features(image_latent, spleen.expand_as(embedding))

    own, other = (
        liver(conv_bundle, image),
        liver(with_parts(conv_bundle, denoiser=OtherFeatures(conv_bundle.denoiser)), image),
    )
    assert np.abs(own.mean - other.mean).max() > 0.001
    assert ((own.mean > 0.5) != (other.mean > 0.5)).any()
