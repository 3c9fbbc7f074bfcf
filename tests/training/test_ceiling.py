"""What a mask auto-encoder can reach at most, measured where its training ends and before any denoiser's begins."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

from universal_diffusion.evaluation.scoring.scores import dice
from universal_diffusion.method.autoencoders import MaskAutoencoder
from universal_diffusion.method.bundle import load_autoencoder
from universal_diffusion.targets import mask
from universal_diffusion.training.ceiling import ceiling_cases, reconstruct, report_ceiling
from universal_diffusion.volumes import VolumeFile

PATCH = 32


class Perfect(MaskAutoencoder):
    """Its latent is the mask itself, and its logits are right but for the pixels of `spots`, on in every slice."""

    def __init__(self, *spots: tuple[int, int]):
        super().__init__((8, 8), 2, 1)
        self.spots = spots

    def encode(self, mask):
        return mask

    def decode(self, latent):
        logits = 20 * latent - 10
        for x, y in self.spots:
            logits[:, :, x, y] = 10
        return logits


@pytest.fixture(scope="module")
def volumes(study):
    return sorted((study.folder / "volumes").glob("*.h5"))


@pytest.fixture(scope="module")
def truth(volumes) -> np.ndarray:
    """The liver of the last case, in slices 0 to 2 of 4."""
    with VolumeFile(volumes[-1]) as file:
        found = mask(file.read().labels, "liver").copy()
    found[..., 3] = False
    return found


def test_a_perfect_autoencoder_has_a_ceiling_of_one(volumes):
    """Of the targets that a case holds: the spleen is annotated, and empty."""
    rows = ceiling_cases(Perfect(), volumes, PATCH)
    assert rows["target"].tolist() == ["liver"] * 3
    assert rows["dice"].tolist() == [1, 1, 1]
    assert rows["factor"].tolist() == [2, 2, 2]
    assert rows["truth_voxels"].tolist() == [12 * 12 * 4, 11 * 12 * 4, 10 * 12 * 4]


def test_pixels_decoded_from_empty_slices_count_against_the_ceiling(truth):
    found = reconstruct(Perfect((31, 0)), truth, PATCH)
    assert (found & ~truth).sum(axis=(0, 1)).tolist() == [1, 1, 1, 1]
    assert (found & truth).sum() == truth.sum()


def test_ceiling_of_a_trained_model_equals_decoding_every_slice(study, truth):
    autoencoder = load_autoencoder(study.folder / "mask_autoencoder", "mask_autoencoder")
    with torch.inference_mode():
        masks = torch.from_numpy(np.moveaxis(truth, 2, 0)[:, None].astype(np.float32))
        direct = autoencoder.decode(autoencoder.encode(masks))[:, 0].numpy() > 0
    assert (reconstruct(autoencoder, truth, PATCH) == np.moveaxis(direct, 0, 2)).all()


def test_training_ends_with_the_ceiling_of_its_validation_cases(study, volumes):
    autoencoder = load_autoencoder(study.folder / "mask_autoencoder", "mask_autoencoder")
    with VolumeFile(volumes[-1]) as file:
        whole = mask(file.read().labels, "liver")
    (row,) = pd.read_csv(study.folder / "mask_autoencoder/ceiling.csv").itertuples()
    assert (row.factor, row.source, row.case, row.target) == (4, "amos", "amos_0003", "liver")
    assert row.dice == pytest.approx(dice(whole, reconstruct(autoencoder, whole, PATCH)), rel=1e-5)


def test_the_ceiling_is_told_target_by_target(volumes, tmp_path, capsys):
    report_ceiling(tmp_path, Perfect((31, 0)), volumes, PATCH)
    expected = np.mean([2 * size / (2 * size + 4) for size in (12 * 12 * 4, 11 * 12 * 4, 10 * 12 * 4)])
    told = re.search(r"^ceiling at f = 2, mean Dice: liver (\S+) \(n=3\)$", capsys.readouterr().err, re.MULTILINE)
    assert told[1] == f"{expected:.3f}"
