"""The weight decay of eq. 3, as the optimiser of the paper's configuration applies it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning_fabric import Fabric

from universal_diffusion.method.autoencoders import MaskAutoencoder
from universal_diffusion.settings import Study, Training, read
from universal_diffusion.training.run import set_up

LAMBDA = 1e-5  # of the paper, section 2.1
CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture(scope="module")
def training() -> Training:
    study = read(Study, yaml.safe_load((CONFIG / "paper.yaml").read_text()))
    return replace(study.mask_autoencoder.training, compile=False, learning_rate=1e-2)


def autoencoder_and_optimiser(training: Training) -> tuple[MaskAutoencoder, torch.optim.Optimizer]:
    """As the training loop sets them up."""
    torch.manual_seed(0)
    module = MaskAutoencoder((8, 8), 2, 1)
    task = SimpleNamespace(module=module, place=lambda device: None)
    return module, set_up(Fabric(accelerator="cpu", devices=1), task, training).optimiser


@pytest.mark.parametrize("config", ["config", "sample", "paper"])
def test_every_configuration_decays_the_mask_autoencoder_alone_of_the_papers_networks(config):
    study = read(Study, yaml.safe_load((CONFIG / f"{config}.yaml").read_text()))
    assert study.mask_autoencoder.training.weight_decay == LAMBDA
    assert study.image_autoencoder.training.weight_decay == study.denoiser.training.weight_decay == 0


def test_a_step_without_a_gradient_shrinks_every_weight_by_rate_times_lambda(training):
    """Norms and biases too: eq. 3 exempts none. The latent's measured scale is no weight."""
    module, optimiser = autoencoder_and_optimiser(training)
    before = {name: tensor.double().clone() for name, tensor in module.state_dict().items()}
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    rate = training.learning_rate * LAMBDA
    for name, parameter in module.named_parameters():
        assert torch.allclose(parameter.double(), before[name] * (1 - rate), rtol=1e-7, atol=0)
    assert {name for name, _ in module.named_buffers()} == {"scale.mean", "scale.std"}


def test_that_is_half_a_gradient_step_on_the_printed_term(training):
    """The gradient of lambda |w|^2 is 2 lambda w."""
    w = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    decayed = torch.nn.Parameter(w.detach().clone())
    decayed.grad = torch.zeros_like(decayed)
    torch.optim.AdamW([decayed], lr=training.learning_rate, weight_decay=training.weight_decay).step()
    (LAMBDA * w.square().sum()).backward()
    assert torch.allclose((w - decayed).detach(), 0.5 * training.learning_rate * w.grad, rtol=1e-6)


def test_the_decay_is_decoupled_because_adam_would_undo_its_lambda():
    """Adam divides a gradient by its size: an L2 term decays weights by the rate itself, whatever lambda."""
    for decay in (LAMBDA, 100 * LAMBDA):
        w = torch.nn.Parameter(torch.full((4,), 3.0, dtype=torch.float64))
        coupled = torch.optim.Adam([w], lr=1e-2, weight_decay=decay, eps=1e-12)
        w.grad = torch.zeros_like(w)
        coupled.step()
        assert 3 - w[0].item() == pytest.approx(1e-2, rel=1e-6)
