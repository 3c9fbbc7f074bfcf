"""From a user's CT to masks and a report."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from universal_diffusion.errors import InputError
from universal_diffusion.files import sha256, write_json
from universal_diffusion.segmentation.new_ct import Result, segment_ct
from universal_diffusion.settings import Segmentation

SAMPLING = Segmentation(sampler="ddim", steps=2, eta=1.0, ensemble=2, overlap=0.25, batch=16)
AFFINE = np.array([[0, 0, -4.0, 90], [-5, 0, 0, 120], [0, 8, 0, 300], [0, 0, 0, 1]])  # an ASL scan, axes permuted


@pytest.fixture(scope="module")
def ct(tmp_path_factory) -> Path:
    shape = (44, 8, 40)
    y, _, x = np.indices(shape)
    body = ((y - 22) / 18) ** 2 + ((x - 20) / 17) ** 2 < 1
    image = np.where(body, 40, -1000).astype(np.int16)
    path = tmp_path_factory.mktemp("ct") / "ct.nii.gz"
    file = nibabel.Nifti1Image(image, None)
    file.set_sform(AFFINE, 1)
    nibabel.save(file, path)
    return path


def segment(ct: Path, model: Path, output: Path, *targets: str) -> Result:
    return segment_ct(ct, model, output, targets, SAMPLING, seed=5, device="cpu", threads=1)


def test_masks_maps_and_report(ct, model, tmp_path):
    result = segment(ct, model, tmp_path, "Liver", "left_kidney", "liver")
    assert list(result.volumes_ml) == ["liver", "left kidney"]
    names = [f"{slug}{end}.nii.gz" for slug in ("left_kidney", "liver") for end in ("", "_mean", "_variance")]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names, "segmentation.json"]
    mask = nibabel.load(tmp_path / "liver.nii.gz")
    assert mask.shape == nibabel.load(ct).shape
    assert np.allclose(mask.affine, AFFINE)
    assert result.volumes_ml["liver"] == pytest.approx(mask.get_fdata().sum() * 0.16)
    report = json.loads((tmp_path / "segmentation.json").read_text())
    assert report["targets"]["liver"]["volume_ml"] == result.volumes_ml["liver"]
    assert report["model"]["weights_sha256"] == sha256(model / "weights.safetensors")
    assert report["ct"]["spacing_mm"] == [5, 8, 4]
    assert report["harmonised"]["spacing_mm"] == [6, 6, 6]
    assert report["seed"] == 5
    assert {"read", "harmonise", "load model", "liver", "left kidney"} == report["seconds"].keys()


def test_bytes_repeat_whatever_else_is_asked_for(ct, model, tmp_path):
    segment(ct, model, tmp_path / "two", "spleen", "liver")
    segment(ct, model, tmp_path / "one", "liver")
    for end in ("", "_mean", "_variance"):
        assert sha256(tmp_path / "two" / f"liver{end}.nii.gz") == sha256(tmp_path / "one" / f"liver{end}.nii.gz")


def test_unknown_and_untrained_targets_are_refused_before_anything_is_read(model, tmp_path):
    with pytest.raises(InputError, match="nearest: spleen"):
        segment(tmp_path / "no.nii", model, tmp_path, "spleeen")
    with pytest.raises(InputError, match=r"'prostate'.*not annotated.*choose from: spleen"):
        segment(tmp_path / "no.nii", model, tmp_path, "prostate")


def test_an_output_that_is_a_file_is_refused(ct, model):
    with pytest.raises(InputError, match="expected a folder"):
        segment(ct, model, ct, "liver")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda card: card["architecture"]["denoiser"].update(channels=[8, 16]), "another architecture"),
        (lambda card: card.pop("targets"), "no segmentation model"),
        (lambda card: card.pop("spacing_mm"), "does not say 'spacing_mm'"),
        (lambda card: card.update(weights_sha256="0"), "not the file its card"),
    ],
)
def test_models_that_do_not_fit(ct, model, tmp_path, damage, problem):
    copied = shutil.copytree(model, tmp_path / "model")
    card = json.loads((copied / "card.json").read_text())
    damage(card)
    write_json(copied / "card.json", card)
    with pytest.raises(InputError, match=problem):
        segment(ct, copied, tmp_path / "out", "liver")
