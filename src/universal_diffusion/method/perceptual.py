"""LPIPS (eq. 4) over VGG-16 features, through the `lpips` package with weights from a file."""

from pathlib import Path

import lpips
import torch
from torch import Tensor, nn

from universal_diffusion.method.weights import load_tensors


class PerceptualDistance(nn.Module):
    """LPIPS between grey patches; frozen.

    Args:
        vgg16: safetensors file of torchvision's VGG-16 `features` (`method.pretrained` writes it).
    """

    def __init__(self, vgg16: Path):
        super().__init__()
        self.distance = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
        tensors = load_tensors(vgg16)
        for name, parameter in self.distance.net.named_parameters():
            parameter.data.copy_(tensors[name.split(".", 1)[1]])  # "slice1.0.weight" is features.0.weight
        self.requires_grad_(False).eval().to(memory_format=torch.channels_last)

    def forward(self, image: Tensor, reconstruction: Tensor) -> Tensor:
        """(N, 1, H, W) pairs on the scale of [0, 1] -> (N,) distances."""
        as_colour = (2 * image - 1).expand(-1, 3, -1, -1), (2 * reconstruction - 1).expand(-1, 3, -1, -1)
        return self.distance(*as_colour).flatten()
