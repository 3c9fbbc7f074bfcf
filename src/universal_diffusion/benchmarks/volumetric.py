"""Discriminative 3-D networks that people would pick instead, in a sliding window over the same CT; random weights."""

import torch
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import DynUNet, SegResNet
from torch import Tensor, nn

from universal_diffusion.benchmarks.budget import Budgeted
from universal_diffusion.targets import all_targets

WINDOW, OVERLAP = 128, 0.5  # nnU-Net's 3d_fullres patch for an abdomen, and its step of half a patch
OUTPUTS = len(all_targets()) + 1
SEGRESNET, NNUNET = "SegResNet, 3-D", "nnU-Net's U-Net, 3-D"


def segresnet() -> nn.Module:
    """MONAI's SegResNet with the channels of its whole-body CT model: 32 filters, blocks 1, 2, 2, 4."""
    return SegResNet(
        3, init_filters=32, in_channels=1, out_channels=OUTPUTS, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1)
    )


def nnunet() -> nn.Module:
    """nnU-Net's plain U-Net in its 3d_fullres plan, as MONAI builds it: 6 stages of two convolutions."""
    return DynUNet(
        3,
        in_channels=1,
        out_channels=OUTPUTS,
        kernel_size=[3] * 6,
        strides=[1, *[2] * 5],
        upsample_kernel_size=[2] * 5,
        filters=[32, 64, 128, 256, 320, 320],
        norm_name=("INSTANCE", {"affine": True}),
        res_block=False,
    )


NETWORKS = {SEGRESNET: segresnet, NNUNET: nnunet}


def one_pass(network: Budgeted, image: Tensor) -> Tensor:
    """Class indices (X, Y, Z) uint8 of an image (1, 1, X, Y, Z), logits blended with Gaussian weights."""
    inferer = SlidingWindowInferer((WINDOW,) * 3, 1, OVERLAP, mode="gaussian")
    return inferer(image, network)[0].argmax(0).to(torch.uint8)
