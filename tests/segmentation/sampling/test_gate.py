"""The gate: what it sees is sampled, what it cannot see is missed, and nothing else plays a part."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import avg_pool2d

from universal_diffusion import settings
from universal_diffusion.errors import InputError
from universal_diffusion.method.diffusion import GaussianDiffusion
from universal_diffusion.segmentation.sampling.gate import gate, looked_at
from universal_diffusion.segmentation.sampling.image_latents import ImageLatents
from universal_diffusion.segmentation.sampling.kept import Kept, read_kept, write_kept
from universal_diffusion.segmentation.sampling.windows import Windows
from universal_diffusion.targets import target

PATCH, FACTOR, SHARPNESS = 8, 2, 8.0
SPACING = (2.0, 3.0, 5.0)
TARGETS = ("liver", "spleen", "stomach")
AIR, BODY, BRIGHT = 0.0, 0.4, 0.9
SAMPLING = settings.Segmentation(
    "ddim", 5, 1.0, 3, 0.25, gate=settings.Gate(every=3, threshold=0.5, margin_mm=0.0), warm_start=20
)


class SeeingModel:
    """Marks voxels brighter than 0.65, moved by noise and target: latents are block means of the image."""

    factor = FACTOR

    def __init__(self, noise: float):
        self.noise, self.asked = noise, []

    def encode(self, image: Tensor) -> Tensor:
        return avg_pool2d(image, FACTOR)

    def decode(self, latent: Tensor) -> Tensor:
        return SHARPNESS * latent.repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3)

    def features(self, image_latent: Tensor, embedding: Tensor) -> tuple[Tensor, ...]:
        return (image_latent + embedding[:, :, None, None],)

    def __call__(self, noisy: Tensor, step: Tensor, embedding: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        self.asked.append(step)
        return torch.cat([features[0] - 0.65 + self.noise * noisy, noisy], dim=1)


def seeing_bundle(noise: float = 0.0, prediction: str = "mask") -> SimpleNamespace:
    model = SeeingModel(noise)
    return SimpleNamespace(
        card={"patch": PATCH, "spacing_mm": SPACING},
        device=torch.device("cpu"),
        latent_channels=1,
        process=GaussianDiffusion.scheduled("cosine", 100),
        prediction=prediction,
        mask_autoencoder=model,
        image_autoencoder=model,
        denoiser=model,
        embedding=lambda ids: (ids[:, None] - target("liver").id) * 0.01,
    )


def looked(image, bundle=None, names=TARGETS, sampling=SAMPLING, seed=1, batch=7):
    bundle = bundle or seeing_bundle()
    latents = ImageLatents(bundle, image, sampling.overlap, 5)
    return gate(bundle, latents, names, replace(sampling, batch=batch), seed)


def with_gate(**changes) -> settings.Segmentation:
    return replace(SAMPLING, gate=replace(SAMPLING.gate, **changes))


def body(shape=(20, 14, 11)) -> np.ndarray:
    return np.full(shape, BODY, np.float32)


def random_image(seed: int, shape=(20, 14, 11)) -> np.ndarray:
    """Body with bright blocks, a corner of air and an empty slice."""
    random = np.random.default_rng(seed)
    image = body(shape)
    for x, y, z in random.integers(0, np.array(shape) - 2, (6, 3)):
        image[x : x + 3, y : y + 3, z] = 1.0
    image[:7, :7] = AIR
    image[..., random.integers(shape[2])] = AIR
    return image


@pytest.mark.parametrize("z", range(11))
def test_a_target_in_one_slice_is_kept_where_that_slice_is_looked_at_and_missed_elsewhere(z):
    image = body()
    image[2:6, 2:6, z] = BRIGHT
    kept = looked(image)
    footprint = np.stack([kept.footprint("liver", slice_) for slice_ in range(11)], axis=2)
    missed = ((image == BRIGHT) & ~footprint).sum()
    assert list(kept.looked) == [0, 3, 6, 9, 10]
    assert missed == (0 if z in kept.looked else 16)
    if z == 3:  # its neighbours looked at are 0 and 6; all between is kept too
        assert kept.pairs[0].any(1).tolist() == [True] * 7 + [False] * 4
        assert kept.share("liver") == pytest.approx(7 * kept.pairs[0, 3].sum() / kept.body.sum())


def brute_force(image, bundle, names, sampling, seed) -> np.ndarray:
    """Pairs kept, by loops over voxels; blending and the model's arithmetic written out again."""
    (width, height, depth), starts = image.shape, []
    for size in (width, height):
        begin = list(range(0, size - PATCH, int(PATCH * 0.75)))
        starts.append([*begin, size - PATCH])
    windows = [(x, y) for x in starts[0] for y in starts[1]]
    latents = ImageLatents(bundle, image, sampling.overlap, 1)
    assert latents.windows.starts.tolist() == [list(window) for window in windows]
    weight = latents.windows.importance.numpy()
    slices = sorted({*range(0, depth, sampling.gate.every), depth - 1})
    shown = {}
    for z in slices:
        for k, name in enumerate(names):
            total, weights = np.zeros((width, height)), np.zeros((width, height))
            for x, y in windows:
                cut = image[x : x + PATCH, y : y + PATCH, z]
                if not cut.any():
                    continue
                for i in range(PATCH):
                    for j in range(PATCH):
                        block = cut[i // 2 * 2 : i // 2 * 2 + 2, j // 2 * 2 : j // 2 * 2 + 2]
                        shift = 0.01 * (target(name).id - target("liver").id)
                        logit = SHARPNESS * (block.mean() + shift - 0.65)
                        total[x + i, y + j] += weight[i, j] / (1 + np.exp(-logit))
                        weights[x + i, y + j] += weight[i, j]
            found = np.argwhere((weights > 0) & (total >= sampling.gate.threshold * weights))
            for w, (x, y) in enumerate(windows):
                shown[z, k, w] = any(
                    ((i - np.clip(i, x, x + PATCH - 1)) * SPACING[0]) ** 2
                    + ((j - np.clip(j, y, y + PATCH - 1)) * SPACING[1]) ** 2
                    <= sampling.gate.margin_mm**2
                    for i, j in found
                )
    pairs = np.zeros((len(names), depth, len(windows)), bool)
    for k, z, w in np.ndindex(*pairs.shape):
        x, y = windows[w]
        if z in slices:
            at = slices.index(z)
            near = slices[max(at - 1, 0) : at + 2]
        else:
            near = [max(s for s in slices if s < z), min(s for s in slices if s > z)]
        pairs[k, z, w] = image[x : x + PATCH, y : y + PATCH, z].any() and any(shown[s, k, w] for s in near)
    return pairs


@pytest.mark.parametrize(("every", "threshold", "margin_mm"), [(3, 0.45, 0.0), (2, 0.3, 7.0), (4, 0.6, 4.5)])
def test_against_loops(every, threshold, margin_mm):
    image, sampling = random_image(every), with_gate(every=every, threshold=threshold, margin_mm=margin_mm)
    expected = brute_force(image, seeing_bundle(), TARGETS, sampling, 1)
    assert np.array_equal(looked(image, sampling=sampling).pairs, expected)
    assert 0 < expected.sum() < expected.size


@examples(max_examples=15)
@given(st.integers(0, 99), st.floats(0.05, 0.9), st.floats(0, 0.5), st.floats(0, 30), st.floats(0, 30))
def test_lower_thresholds_and_wider_margins_keep_more(seed, threshold, lower, margin_mm, wider):
    image, bundle = random_image(seed, (14, 12, 6)), seeing_bundle(noise=0.1)
    little = looked(image, bundle, sampling=with_gate(threshold=threshold, margin_mm=margin_mm))
    low = looked(image, bundle, sampling=with_gate(threshold=threshold * lower, margin_mm=margin_mm))
    wide = looked(image, bundle, sampling=with_gate(threshold=threshold, margin_mm=margin_mm + wider))
    for more in (low, wide):
        assert not (little.pairs & ~more.pairs).any()


def test_threshold_0_keeps_everything_but_air():
    image = random_image(0)
    kept = looked(image, sampling=with_gate(threshold=0.0))
    assert np.array_equal(kept.pairs, np.broadcast_to(kept.body, kept.pairs.shape))
    assert not kept.body.all()
    assert kept.share("spleen") == 1


def test_batch_other_targets_and_their_order_play_no_part():
    image = random_image(1)
    kept = looked(image, seeing_bundle(0.2))
    for names, batch in ((TARGETS, 1), (TARGETS, 64), (TARGETS[::-1], 5), (TARGETS[1:2], 7)):
        other = looked(image, seeing_bundle(0.2), names, batch=batch)
        for row, name in enumerate(names):
            assert np.array_equal(other.pairs[row], kept.pairs[TARGETS.index(name)])
            k, z, w = np.argwhere(other.pairs[row : row + 1]).T
            assert np.array_equal(other.estimates(k + row, z, w), kept.estimates(k + TARGETS.index(name), z, w))
    assert not np.array_equal(looked(image, seeing_bundle(0.2), seed=2).pairs, kept.pairs)


def test_a_trained_network_is_asked_alike_whatever_else_is_asked(conv_bundle):
    image = np.random.default_rng(0).random((24, 20, 5), np.float32)
    sampling = with_gate(threshold=0.0)
    kept, alone = (looked(image, conv_bundle, names, sampling) for names in (TARGETS, ("stomach",)))
    k, z, w = np.argwhere(alone.pairs).T
    assert np.array_equal(alone.estimates(k, z, w), kept.estimates(k + 2, z, w))
    assert np.ptp(alone.latents.astype(np.float32)) > 0.1


def test_estimates_are_those_of_the_nearest_slice_looked_at():
    image, bundle = random_image(2), seeing_bundle()
    image[..., 3] = AIR
    kept = looked(image, bundle)
    k, z, w = np.argwhere(kept.pairs).T
    nearest = np.array(
        [
            min((at for at in kept.looked if kept.pairs[target_row, at, window]), key=lambda at: (abs(at - slice_), at))
            for target_row, slice_, window in zip(k, z, w, strict=True)
        ]
    )
    assert np.abs(nearest - z).max() > 1  # a slice looked at without body is no help
    cuts = torch.from_numpy(kept.windows.cut(image, np.column_stack([nearest, w])))
    shift = np.array([0.01 * (target(name).id - target("liver").id) for name in TARGETS])[k, None, None]
    assert np.allclose(kept.estimates(k, z, w)[:, 0], avg_pool2d(cuts, FACTOR)[:, 0].numpy() + shift - 0.65, atol=1e-3)
    assert len(kept.latents) == kept.pairs[:, kept.looked].sum()
    assert looked(image, sampling=replace(SAMPLING, warm_start=None)).latents.size == 0


def test_a_pair_kept_between_two_looks_without_body_starts_from_nothing():
    windows = Windows((8, 8), 8, 0.0)
    body = np.array([[False], [True], [False]])
    kept = Kept(("liver",), windows, body, np.array([0, 2]), body[None], np.zeros((0, 1, 2, 2), np.float16))
    assert not kept.estimates(*np.argwhere(kept.pairs).T).any()


def test_only_the_last_step_is_asked():
    bundle = seeing_bundle()
    looked(random_image(3), bundle)
    assert {int(step) for steps in bundle.denoiser.asked for step in steps} == {99}


def test_the_footprint_is_the_union_of_the_windows_kept():
    kept = looked(random_image(4)[:20, :6])  # smaller than a window along y, so padded with air
    for z in range(11):
        union = np.zeros((20, 6), bool)
        for window in np.flatnonzero(kept.pairs[1, z]):
            union[kept.windows.starts[window, 0] :][:PATCH] = True
        assert np.array_equal(kept.footprint("spleen", z), union)


@pytest.mark.parametrize("warm_start", [None, 20])
def test_to_a_file_and_back(tmp_path, warm_start):
    kept = looked(random_image(5), sampling=replace(SAMPLING, warm_start=warm_start))
    for name in ("kept.npz", "again.npz"):
        write_kept(tmp_path / name, kept)
    back = read_kept(tmp_path / "kept.npz")
    assert (back.targets, back.windows) == (kept.targets, kept.windows)
    for name in ("body", "looked", "pairs", "latents"):
        assert np.array_equal(getattr(back, name), getattr(kept, name))
        assert getattr(back, name).dtype == getattr(kept, name).dtype
    assert (tmp_path / "kept.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    (tmp_path / "kept.npz").write_bytes((tmp_path / "kept.npz").read_bytes()[:-30])
    with pytest.raises(InputError, match="no whole record of the gate"):
        read_kept(tmp_path / "kept.npz")


def test_slices_looked_at_include_the_first_and_the_last():
    assert looked_at(7, 3).tolist() == [0, 3, 6]
    assert looked_at(8, 3).tolist() == [0, 3, 6, 7]
    assert looked_at(1, 5).tolist() == [0]


def test_an_empty_volume_has_nothing_to_keep():
    kept = looked(np.zeros((12, 12, 4), np.float32))
    assert not kept.pairs.any()
    assert kept.share("liver") == 0
    assert kept.latents.size == 0


def test_refusals():
    with pytest.raises(InputError, match="predicts noise"):
        looked(body(), seeing_bundle(prediction="noise"))
    with pytest.raises(InputError, match="nearest: liver"):
        looked(body(), names=["livver"])
    with pytest.raises(InputError, match="not finite"):
        looked(body(), seeing_bundle(noise=np.nan))
