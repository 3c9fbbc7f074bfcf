"""The latent denoiser's training step written the plain way: MONAI's networks, scheduler, transforms and loader.

No channels-last memory, no compilation, no learned variance, no class-aware encoder: the image latent is concatenated
to the noisy mask latent, and the target is a class embedding.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from monai.data import DataLoader, PersistentDataset
from monai.networks.nets import AutoencoderKL, DiffusionModelUNet
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor, nn
from torch.nn import functional

from universal_diffusion.benchmarks.alone import autocast
from universal_diffusion.benchmarks.store import KEYS, PER_CASE, crops
from universal_diffusion.evaluation.beyond.cost import flops
from universal_diffusion.method.denoiser import GROUPS
from universal_diffusion.settings import ImageAutoencoder, MaskAutoencoder, Study
from universal_diffusion.targets import all_targets, target

TARGET = target("liver").id  # the one whose mask the files hold


class PlainDiffusion(nn.Module):
    """MONAI's `DiffusionModelUNet` of the denoiser's channel plan on the latents of MONAI's `AutoencoderKL`s."""

    def __init__(self, study: Study):
        super().__init__()
        self.masks, self.images = (_autoencoder(part) for part in (study.mask_autoencoder, study.image_autoencoder))
        plan, latent = study.denoiser, study.mask_autoencoder.latent_channels
        self.network = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=latent + study.image_autoencoder.latent_channels,
            out_channels=latent,
            channels=plan.channels,
            num_res_blocks=plan.residual_blocks,
            attention_levels=tuple(scale in plan.attention_scales for scale in range(len(plan.channels))),
            num_head_channels=plan.channels,
            norm_num_groups=GROUPS,
            num_class_embeds=len(all_targets()) + 1,
        )
        self.scheduler = DDPMScheduler(num_train_timesteps=study.diffusion.timesteps)

    def loss(self, image: Tensor, mask: Tensor) -> Tensor:
        """The squared error of the predicted noise, for images and masks (N, 1, P, P)."""
        with torch.no_grad():
            latent, condition = (coder.encode(x)[0] for coder, x in ((self.masks, mask), (self.images, image)))
        noise = torch.randn_like(latent)
        step = torch.randint(self.scheduler.num_train_timesteps, (len(image),), device=image.device)
        noisy = self.scheduler.add_noise(latent, noise, step)
        classes = torch.full_like(step, TARGET)
        predicted = self.network(torch.cat([noisy, condition], dim=1), step, class_labels=classes)
        return functional.mse_loss(predicted.float(), noise.float())


def _autoencoder(settings: MaskAutoencoder | ImageAutoencoder) -> AutoencoderKL:
    scales = len(settings.channels)
    return AutoencoderKL(
        spatial_dims=2,
        in_channels=1,
        out_channels=1,
        channels=settings.channels,
        latent_channels=settings.latent_channels,
        num_res_blocks=(settings.residual_blocks,) * scales,
        norm_num_groups=GROUPS,
        attention_levels=(False,) * scales,
        with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
    ).requires_grad_(False)


def plain_flops(study: Study) -> int:
    """Operations of a training step for one patch, forward and backward."""
    with torch.device("meta"):
        model = PlainDiffusion(study)
        patch = torch.zeros(1, 1, study.preparation.patch, study.preparation.patch)
        return flops(lambda: model.loss(patch, patch).backward())


def plain_training(
    study: Study, pairs: Sequence[tuple[Path, ...]], folder: Path, device: str, threads: int, warm: int
) -> dict[str, float]:
    """Train for `study.denoiser.training.steps`; patches/s and share of waiting of the steps after the `warm` first.

    Args:
        pairs: NIfTI files of image and mask of each case.
        folder: for the cache of `PersistentDataset`.
    """
    torch.set_num_threads(threads)
    training = study.denoiser.training
    model = PlainDiffusion(study).to(device)
    optimiser = torch.optim.AdamW(model.network.parameters(), lr=training.learning_rate)
    batches, rows = _batches(pairs, folder, training.batch, training.steps, threads - 1), []
    for _ in range(training.steps):
        started = time.monotonic()
        batch = next(batches)
        waited = time.monotonic()
        image, mask = (batch[key][..., 0].to(device).float() for key in KEYS)
        optimiser.zero_grad()
        with autocast(device, training.precision):
            loss = model.loss(image, mask)
        loss.backward()
        optimiser.step()
        loss.item()  # as a loop that shows its loss does
        rows.append((waited - started, time.monotonic() - started))
    waited, took = (sum(values) for values in zip(*rows[warm:], strict=True))
    return {"patches/s": training.batch * len(rows[warm:]) / took, "waiting %": 100 * waited / took}


def _batches(
    pairs: Sequence[tuple[Path, ...]], folder: Path, batch: int, steps: int, workers: int
) -> Iterator[dict[str, Tensor]]:
    per_case = min(PER_CASE, batch)
    visits = batch // per_case
    cases = [dict(zip(KEYS, map(str, pair), strict=True)) for pair in pairs]
    visited = [cases[visit % len(cases)] for visit in range(steps * visits)]
    dataset = PersistentDataset(visited, crops(per_case, indexed=True), cache_dir=folder)
    return iter(DataLoader(dataset, batch_size=visits, num_workers=workers))
