"""Step: the networks of a configuration - parameters, grids and operations - beside denoisers of pixel space.

    python -m universal_diffusion.evaluation.beyond.networks --study JSON --cohort TEXT
        --output-csv F --output-md F --output-tex F

Nothing is trained or even filled: the networks are built without memory, so the paper's are counted anywhere in
seconds. Operations are of one forward pass for one patch (and one target), two per multiplication and addition.
"""

import argparse
from collections.abc import Iterator

import lpips
import pandas as pd
import torch
from monai.networks.nets import DiffusionModelUNet
from torch import nn

from universal_diffusion.baselines.segresnet import build as build_segresnet
from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.beyond.cost import flops, guided_flops
from universal_diffusion.method.autoencoders import ImageAutoencoder, MaskAutoencoder
from universal_diffusion.method.bundle import architecture_of, build_autoencoder, build_denoiser
from universal_diffusion.method.denoiser import Denoiser
from universal_diffusion.settings import Denoiser as DenoiserSettings
from universal_diffusion.settings import Study, read_json
from universal_diffusion.training.denoiser import architecture_of as denoiser_architecture

GUIDED_GRID = 256
GUIDED = {  # guided-diffusion's usual flags for this grid; Wolleb et al. and MedSegDiff copy them
    "channels": (128, 128, 256, 256, 512, 512),
    "attention_levels": (False, False, False, False, True, False),
    "num_res_blocks": 2,
    "num_head_channels": 64,
}
HEADINGS = {
    "network": "Network",
    "part": "Part",
    "runs": "Runs once per",
    "grid": "Grid",
    "parameters": "Parameters, M",
    "trained_share": "Trained %",
    "gflop": "GFLOP",
}
NOTES = (
    "Operations of one forward pass for one patch, two per multiplication and addition, as torch counts them; "
    "a training step costs about three times as many. Counted, not timed.",
    "Trained: the share of the parameters that a training of this study moves. e_k of the `clip` variants also holds "
    "29 frozen text features of width 512.",
    "In pixel space: the study's own denoiser on the patch's grid, guided by the image itself; and MONAI's "
    "DiffusionModelUNet with the flags that guided-diffusion, Wolleb et al. and MedSegDiff use at 256 x 256, image and "
    "noisy mask side by side. Neither is trained here.",
)


def network_rows(study: Study) -> pd.DataFrame:
    """One row per network or part of one, with the columns of `HEADINGS`; a share of NaN where nothing trains it."""
    with torch.device("meta"):
        masks = build_autoencoder(architecture_of("mask_autoencoder", study.mask_autoencoder))
        coarser = build_autoencoder(architecture_of("mask_autoencoder", study.mask_autoencoder.coarser()))
        images = build_autoencoder(architecture_of("image_autoencoder", study.image_autoencoder))
        patch = study.preparation.patch
        denoiser = _denoiser(study.denoiser, masks.latent_channels, images.latent_channels)
        rows = [
            *_autoencoder(f"mask auto-encoder, f = {masks.factor}", masks, patch, "training patch", "sample"),
            *_autoencoder(f"mask auto-encoder, f = {coarser.factor}", coarser, patch, "training patch", "sample"),
            *_autoencoder(f"image auto-encoder, f = {images.factor}", images, patch, "window", "training patch"),
            _perceptual(patch),
            *_guided("denoiser, latent space", denoiser, patch // masks.factor),
            *_embeddings(study.denoiser),
            _whole("segresnet", build_segresnet(study.baseline.segresnet_filters), 1, patch, "window"),
            *_guided("denoiser, pixel space", _denoiser(study.denoiser, 1, 1), patch, trained=False),
            _guided_diffusion(),
        ]
    return pd.DataFrame(rows, columns=list(HEADINGS))


def printed_table(rows: pd.DataFrame, cohort: str) -> tables.Printed:
    """The rows as texts."""
    texts = rows.astype({"grid": str}).assign(
        grid=[f"{size} x {size}" if size else tables.NOTHING for size in rows["grid"]],
        parameters=[f"{count / 1e6:.2f}" for count in rows["parameters"]],
        trained_share=[tables.percent(share, 0) for share in rows["trained_share"]],
        gflop=[f"{count:.3g}" if count < 100 else f"{count:.0f}" for count in rows["gflop"]],
    )
    texts = texts.rename(columns=HEADINGS)
    caption = f"The networks, their parameters and their counted operations. Cohort: {cohort}."
    return tables.Printed(texts, tables.unmarked(texts), caption, NOTES, "tab:networks")


def _denoiser(settings: DenoiserSettings, mask_channels: int, image_channels: int) -> Denoiser:
    return build_denoiser(denoiser_architecture(settings, "learnt"), mask_channels, image_channels, None)


def _row(network: str, part: str, runs: str, grid: int, modules: list[nn.Module], count: int, trained=True) -> tuple:
    parameters = [parameter for module in modules for parameter in module.parameters()]
    total = sum(parameter.numel() for parameter in parameters)
    moved = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return network, part, runs, grid, total, moved / total if trained else float("nan"), count / 1e9


def _autoencoder(
    network: str, module: MaskAutoencoder | ImageAutoencoder, patch: int, encoded: str, decoded: str
) -> Iterator[tuple]:
    size = patch // module.factor
    given, latent = torch.zeros(1, 1, patch, patch), torch.zeros(1, module.latent_channels, size, size)
    yield _row(network, "encoder", encoded, patch, [module.encoder], flops(lambda: module.encoder(given)))
    yield _row(network, "decoder", decoded, patch, [module.decoder], flops(lambda: module.decoder(latent)))


def perceptual() -> lpips.LPIPS:
    """LPIPS over VGG-16 without its memory, for counting."""
    distance = lpips.LPIPS(net="vgg", pretrained=False, pnet_rand=True, verbose=False)
    return distance.requires_grad_(False).to("meta")


def _perceptual(patch: int) -> tuple:
    distance, colours = perceptual(), torch.zeros(1, 3, patch, patch)
    count = flops(lambda: distance(colours, colours))
    return _row("LPIPS", "VGG-16, two images", "training patch", patch, [distance], count)


def _guided(network: str, denoiser: Denoiser, size: int, trained: bool = True) -> Iterator[tuple]:
    features, step = guided_flops(denoiser, size)
    parts = dict(denoiser.named_children())
    encoder, _ = parts.pop("image_encoder"), parts.pop("embedding")
    yield _row(network, "class-aware image encoder", "window and target", size, [encoder], features, trained)
    yield _row(network, "U-Net", "step of a sample", size, list(parts.values()), step, trained)


def _embeddings(settings: DenoiserSettings) -> Iterator[tuple]:
    one = torch.ones(1, dtype=torch.int64)
    for kind in ("learnt", "clip"):
        module = build_denoiser(denoiser_architecture(settings, kind), 1, 1, None).embedding
        count = flops(lambda module=module: module(one))
        yield _row("denoiser, latent space", f"e_k, {kind}", "target", 0, [module], count)


def _whole(network: str, module: nn.Module, channels: int, patch: int, runs: str) -> tuple:
    return _row(network, "whole", runs, patch, [module], flops(lambda: module(torch.zeros(1, channels, patch, patch))))


def _guided_diffusion() -> tuple:
    module = DiffusionModelUNet(spatial_dims=2, in_channels=2, out_channels=2, **GUIDED)
    noisy, step = torch.zeros(1, 2, GUIDED_GRID, GUIDED_GRID), torch.ones(1, dtype=torch.int64)
    count = flops(lambda: module(noisy, step))
    return _row(
        "guided-diffusion, pixel space", "whole", "step of a sample", GUIDED_GRID, [module], count, trained=False
    )


@one_line_errors
def main() -> None:
    """Write the table of networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", required=True, help="JSON of the whole configuration")
    tables.add_outputs(parser)
    arguments = parser.parse_args()
    rows = network_rows(read_json(Study, arguments.study, "configuration"))
    tables.write_outputs(arguments, rows, printed_table(rows, arguments.cohort))


if __name__ == "__main__":
    main()
