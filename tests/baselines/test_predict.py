"""Predictions of a baseline: the validation and test cases' annotated targets, on the CT's own grid."""

import nibabel
import numpy as np
import pytest
import torch

from universal_diffusion.baselines import predict, prior_mask
from universal_diffusion.baselines.predict import load_baseline
from universal_diffusion.errors import InputError
from universal_diffusion.method.weights import write_card
from universal_diffusion.volumes import VolumeFile


def run(module, monkeypatch, **flags):
    arguments = [part for key, value in flags.items() for part in (f"--{key}", str(value))]
    monkeypatch.setattr("sys.argv", [module.__name__, *arguments])
    module.main()


def test_shards_hold_the_annotated_targets_of_their_cases(cohort, tmp_path, monkeypatch):
    folder, splits = cohort
    run(prior_mask, monkeypatch, volumes=folder, splits=splits, output=tmp_path / "model")
    shared = {"model": tmp_path / "model", "volumes": folder, "splits": splits, "threads": torch.get_num_threads()}
    for shard in ("1-of-2", "2-of-2"):
        run(predict, monkeypatch, **shared, shard=shard, output=tmp_path / shard)
    written = {str(p.relative_to(tmp_path)) for shard in "12" for p in (tmp_path / f"{shard}-of-2").rglob("*.nii.gz")}
    assert written == {
        "1-of-2/msd03/v/liver.nii.gz",
        "1-of-2/msd03/v/liver_tumor.nii.gz",
        "2-of-2/msd03/t/liver.nii.gz",
        "2-of-2/msd03/t/spleen.nii.gz",
    }
    image = nibabel.load(tmp_path / "2-of-2/msd03/t/liver.nii.gz")
    with VolumeFile(folder / "t.h5") as volume:
        assert image.shape == tuple(volume.native_grid.shape)
        assert np.allclose(image.affine, volume.native_grid.affine)
    assert image.get_data_dtype() == np.uint8
    assert set(np.unique(image.dataobj)) == {0, 1}


def test_a_model_of_another_kind_is_refused(tmp_path):
    write_card(tmp_path, {"kind": "variant"})
    with pytest.raises(InputError, match="no baseline"):
        load_baseline(tmp_path, torch.device("cpu"))
