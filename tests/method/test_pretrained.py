"""Pretrained weights: what a CLIP archive gives, and what becomes of a wrong one."""

import pytest
import torch

from universal_diffusion.errors import InputError
from universal_diffusion.method import pretrained
from universal_diffusion.settings import Weights


class Archive(torch.nn.Module):
    """Two entries of OpenAI's archive: a half-precision weight and a constant."""

    def __init__(self):
        super().__init__()
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.5).half())
        self.register_buffer("context_length", torch.tensor(77))

    def forward(self):
        return self.logit_scale


def test_weights_of_a_torchscript_archive_come_without_its_constants(tmp_path):
    torch.jit.script(Archive()).save(tmp_path / "ViT-B-32.pt")
    state = pretrained._clip_state(tmp_path / "ViT-B-32.pt")
    assert state.keys() == {"logit_scale"}
    assert state["logit_scale"].dtype == torch.float32
    assert state["logit_scale"] == 2.5


def test_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "ViT-B-32.pt").write_bytes(b"<html>")
    with pytest.raises(InputError, match="is no TorchScript archive of CLIP"):
        pretrained._clip_state(tmp_path / "ViT-B-32.pt")


def test_missing_local_file_is_named_with_its_origin(tmp_path):
    settings = Weights(origin="local", vgg16=str(tmp_path / "vgg16.pth"), clip=None)
    with pytest.raises(InputError, match=r"vgg16.*\.pth.*give the path of a copy of https://download\.pytorch\.org"):
        pretrained.vgg16_features(settings, 1, tmp_path)


def test_failed_download_ends_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "VGG16_URL", "http://127.0.0.1:9/vgg16-397923af.pth")
    with pytest.raises(InputError, match="cannot be downloaded"):
        pretrained.vgg16_features(Weights(origin="download"), 1, tmp_path)
