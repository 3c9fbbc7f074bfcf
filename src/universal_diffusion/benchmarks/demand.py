"""How many patches per second a GPU could take at most: derived from counted operations, not measured."""

from collections.abc import Callable

import torch
from torch import Tensor

from universal_diffusion.evaluation.beyond.cost import flops
from universal_diffusion.method.bundle import architecture_of, build_autoencoder, build_denoiser
from universal_diffusion.settings import Study
from universal_diffusion.training.denoiser import architecture_of as denoiser_architecture
from universal_diffusion.training.latent_diffusion import Denoising

# An assumed GPU, a Hopper of the H100 SXM5's and H200 SXM's kind: multiprocessors, tensor cores on each, dense bfloat16
# multiply-adds that each of these does in a clock, and the clock in Hz at low precision.
MULTIPROCESSORS, TENSOR_CORES, MULTIPLY_ADDS, CLOCK = 132, 4, 512, 1.83e9
PEAK_FLOPS = 2 * MULTIPROCESSORS * TENSOR_CORES * MULTIPLY_ADDS * CLOCK
PEAK = (
    f"{PEAK_FLOPS / 1e12:.0f} TFLOP/s, dense bfloat16 on an H100 SXM5 or H200 SXM: an assumption, {MULTIPROCESSORS} "
    f"multiprocessors x {TENSOR_CORES} tensor cores x {MULTIPLY_ADDS} multiply-adds x {CLOCK / 1e9} GHz, as others "
    "quote NVIDIA's whitepaper “NVIDIA H100 Tensor Core GPU Architecture”"
)


def step_flops(study: Study) -> dict[str, int]:
    """Operations that torch counts for one patch in a training step, forward and backward, by network.

    Counted on the study's own networks without their memory. Left out is what would only make a step longer: LPIPS, the
    losses, the optimiser.
    """
    with torch.device("meta"):
        masks = build_autoencoder(architecture_of("mask_autoencoder", study.mask_autoencoder))
        images = build_autoencoder(architecture_of("image_autoencoder", study.image_autoencoder))
        architecture = denoiser_architecture(study.denoiser, "learnt")
        denoising = Denoising(build_denoiser(architecture, masks.latent_channels, images.latent_channels, None))
        patch, one = (
            torch.zeros(1, 1, study.preparation.patch, study.preparation.patch),
            torch.ones(1, dtype=torch.int64),
        )
        with torch.no_grad():
            noise = images.posterior(patch)[0]

        def denoised() -> Tensor:
            with torch.no_grad():
                latents = masks.encode(patch), images.encode(patch)
            return denoising(latents[0], one, one, latents[1])

        return {
            "mask auto-encoder": _counted(lambda: masks(patch)),
            "image auto-encoder": _counted(lambda: images(patch, noise)[0]),
            "denoiser": _counted(denoised),
        }


def patches_per_second(study: Study) -> dict[str, float]:
    """Patches that each training takes in a second of a GPU's full peak, which none reaches."""
    return {network: PEAK_FLOPS / flops for network, flops in step_flops(study).items()}


def _counted(forward: Callable[[], Tensor]) -> int:
    return flops(lambda: forward().sum().backward())
