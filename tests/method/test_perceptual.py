"""LPIPS against eq. 4 written out over torchvision's VGG-16."""

import hashlib
from pathlib import Path

import lpips
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import vgg16

from universal_diffusion.method.perceptual import PerceptualDistance
from universal_diffusion.method.weights import save_tensors

HEADS = Path(lpips.__file__).with_name("weights") / "v0.1" / "vgg.pth"
AFTER = (3, 8, 15, 22, 29)  # relu1_2, relu2_2, relu3_3, relu4_3, relu5_3 of `features`
# ImageNet's mean and deviation per channel, for colours from -1 to 1
SHIFT, SCALE = (torch.tensor(x).view(1, 3, 1, 1) for x in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))


@pytest.fixture(scope="module")
def features() -> nn.Sequential:
    torch.manual_seed(5)
    return vgg16(weights=None).features.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def distance(features, tmp_path_factory) -> PerceptualDistance:
    path = tmp_path_factory.mktemp("pretrained") / "vgg16.safetensors"
    save_tensors(path, features.state_dict())
    return PerceptualDistance(path)


@pytest.fixture(scope="module")
def pair() -> Tensor:
    return torch.rand(2, 3, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def eq_4(features: nn.Sequential, image: Tensor, reconstruction: Tensor) -> Tensor:
    """Sum over layers of the spatial mean of sum_c w_c (F_c(y) - F_c(y^))^2, F of unit length over the channels."""
    heads = torch.load(HEADS, map_location="cpu", weights_only=True)
    y, other = ((2 * x.repeat(1, 3, 1, 1) - 1 - SHIFT) / SCALE for x in (image, reconstruction))
    total = torch.zeros(len(image))
    for i, layer in enumerate(features):
        y, other = layer(y), layer(other)
        if i in AFTER:
            w = heads[f"lin{AFTER.index(i)}.model.1.weight"]
            difference = nn.functional.normalize(y, dim=1) - nn.functional.normalize(other, dim=1)
            total += (w * difference**2).sum(1).mean((1, 2))
    return total


def test_distance_is_eq_4_over_torchvisions_vgg(features, distance, pair):
    found = distance(*pair)
    assert found.shape == (3,)
    assert torch.allclose(found, eq_4(features, *pair), rtol=1e-4)
    assert (found > 0.01).all()


def test_heads_are_the_trained_ones_of_the_package(distance):
    """LPIPS 0.1 for VGG; trained under w >= 0, which no random start gives."""
    assert hashlib.sha256(HEADS.read_bytes()).hexdigest() == (
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"
    )
    heads = torch.load(HEADS, map_location="cpu", weights_only=True)
    for i, head in enumerate(distance.distance.lins):
        assert torch.equal(head.model[1].weight, heads[f"lin{i}.model.1.weight"])
        assert (head.model[1].weight >= 0).all()


def test_a_distance_is_none_from_a_patch_to_itself_and_the_same_both_ways(distance, pair):
    assert (distance(pair[0], pair[0]) == 0).all()
    assert torch.allclose(distance(*pair), distance(*pair.flip(0)))


def test_only_the_images_get_gradients_and_nothing_is_drawn(distance, pair):
    """The package's heads have dropout, which evaluation mode leaves out."""
    reconstruction = pair[1].clone().requires_grad_()
    first, second = (distance(pair[0], reconstruction).sum() for _ in range(2))
    assert first == second
    assert torch.autograd.grad(first, reconstruction)[0].abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in distance.parameters())
