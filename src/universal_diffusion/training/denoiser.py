"""Train the denoiser of one variant: {noise, mask} prediction x {learnt, clip} embedding (section 2.2, table 2).

    python -m universal_diffusion.training.denoiser --variant mask_clip --volumes DIR... --splits CSV ...

Writes a bundle that is whole by itself: the denoiser and both auto-encoders in one weights file, with their card.
"""

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from universal_diffusion import __version__
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.method.bundle import Networks, build_denoiser, load_autoencoder, process_of
from universal_diffusion.method.denoiser import Denoiser
from universal_diffusion.method.steps import SecondMomentSteps
from universal_diffusion.method.weights import load_card, load_tensors, save_model
from universal_diffusion.settings import Denoiser as Settings
from universal_diffusion.settings import Diffusion, read_json
from universal_diffusion.systems import VARIANTS
from universal_diffusion.training.loop import finish, train
from universal_diffusion.training.patches import Batches, generator, start, training_arguments

VALIDATION_BATCHES = 4


class Denoising(nn.Module):
    """The denoiser with its class-aware features in one call, as the loop's optimiser and DDP see it."""

    def __init__(self, denoiser: Denoiser):
        super().__init__()
        self.denoiser = denoiser

    def forward(self, noisy: Tensor, step: Tensor, target_ids: Tensor, image_latent: Tensor) -> Tensor:
        """(N, C, h, w), (N,), (N,), (N, C_y, h, w) -> (N, 2C, h, w)."""
        embedding = self.denoiser.embedding(target_ids)
        return self.denoiser(noisy, step, embedding, self.denoiser.features(image_latent, embedding))


class LatentDiffusion:
    """L_MSE + L_VLB at importance-sampled steps (eqs. 6, 9, 10; Nichol & Dhariwal 2021)."""

    def __init__(self, networks: Networks, prediction: str, diffusion: Diffusion, batches: Batches):
        self.networks, self.prediction, self.batches = networks, prediction, batches
        self.module = Denoising(networks.denoiser)
        self.process = process_of(asdict(diffusion))
        self.steps = SecondMomentSteps(diffusion.timesteps, diffusion.history, diffusion.uniform_probability)

    def loss(self, module: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """The importance-weighted hybrid loss on batch `step`."""
        source = generator(self.batches.seed, "denoiser", step)
        z0, image_latent, target_ids = self._latents("train", step, next(module.parameters()).device)
        t, weights = self.steps.draw(len(z0), source)
        t, noise = t.to(z0.device), torch.randn(z0.shape, generator=source).to(z0.device)
        zt = self.process.q_sample(z0, t, noise)
        losses = self.process.losses(self.prediction, module(zt, t, target_ids, image_latent), z0, zt, t, noise)
        self.steps.record(t.cpu(), losses.mse.detach().cpu())
        figures = {"mse": losses.mse.mean().item(), "vlb_bits": losses.vlb.mean().item()}
        return (weights.to(z0) * losses.hybrid).mean(), figures

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Dice of the decoded one-step estimates from pure noise, pooled over the validation patches.

        One step suffices to judge a predicted mask; a predicted noise is near useless after one.
        """
        overlap = total = 0.0
        for index in range(VALIDATION_BATCHES):
            device = next(module.parameters()).device
            image, mask, target_ids = self.batches.draw("validation", index, device)
            image_latent = self.networks.image_autoencoder.encode(image)
            shape = self.networks.mask_autoencoder.encode(mask).shape
            noise = torch.randn(shape, generator=generator(self.batches.seed, "denoiser", "validation", index)).to(
                device
            )
            last = torch.full((len(mask),), self.process.timesteps - 1, device=device)
            output = module(noise, last, target_ids, image_latent).chunk(2, dim=1)[0]
            estimate = self.process.to_mask(self.prediction, output, noise, last)
            predicted = (self.networks.mask_autoencoder.decode(estimate) > 0).float()
            overlap += 2 * (predicted * mask).sum().item()
            total += (predicted + mask).sum().item()
        return {"validation_dice": overlap / total if total else float("nan")}

    @torch.no_grad()
    def _latents(self, part: str, index: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        image, mask, target_ids = self.batches.draw(part, index, device)
        networks = self.networks.to(device)
        return networks.mask_autoencoder.encode(mask), networks.image_autoencoder.encode(image), target_ids

    def state(self) -> dict[str, Tensor]:
        """The step sampler's history of losses."""
        return self.steps.state_dict()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take a history back."""
        self.steps.load_state_dict(state)


def architecture_of(settings: Settings, embedding: str) -> dict:
    """The `denoiser` entry of a card's architecture."""
    return {
        "channels": settings.channels,
        "residual_blocks": settings.residual_blocks,
        "attention_scales": settings.attention_scales,
        "embedding": embedding,
        "embedding_channels": settings.embedding_channels,
    }


@one_line_errors
def main() -> None:
    """Train one variant and write its bundle."""
    parser = training_arguments(__doc__)
    parser.add_argument(
        "--variant",
        choices=[system.key for system in VARIANTS],
        required=True,
        help="what is predicted, and which embedding",
    )
    parser.add_argument("--mask-autoencoder", type=Path, required=True, help="its trained model's directory")
    parser.add_argument("--image-autoencoder", type=Path, required=True, help="its trained model's directory")
    parser.add_argument("--pretrained", type=Path, required=True, help="directory that method.pretrained wrote")
    parser.add_argument("--diffusion", required=True, help="JSON of the section `diffusion`")
    parser.add_argument("--study", required=True, help="name of the study, for the card")
    parser.add_argument("--cohort", required=True, help="what the model was trained on, for the card")
    arguments = parser.parse_args()
    settings = read_json(Settings, arguments.settings, "configuration.denoiser")
    diffusion = read_json(Diffusion, arguments.diffusion, "configuration.diffusion")
    prediction, embedding = arguments.variant.split("_")
    start(arguments, f"denoiser_{arguments.variant}")
    batches = Batches(arguments, settings.training.batch)
    networks, identity = assemble(arguments, settings, embedding)
    identity |= {"prediction": prediction, "diffusion": asdict(diffusion)} | batches.identity
    identity["pretrained"] = load_card(arguments.pretrained)
    task = LatentDiffusion(networks, prediction, diffusion, batches)
    train(task, settings.training, arguments.output, identity)
    card = identity | {
        "variant": arguments.variant,
        "study": arguments.study,
        "cohort": arguments.cohort,
        "patch": batches.preparation.patch,
        "spacing_mm": batches.preparation.spacing_mm,
        "hu_window": batches.preparation.hu_window,
        "targets": batches.annotated("train"),
        "version": __version__,
    }
    save_model(arguments.output, networks.cpu(), card)
    finish(arguments.output)


def assemble(arguments, settings: Settings, embedding: str) -> tuple[Networks, dict]:
    """Trained auto-encoders and an untrained denoiser, and what identifies them in card and checkpoint."""
    mask_card, image_card = load_card(arguments.mask_autoencoder), load_card(arguments.image_autoencoder)
    mask_autoencoder = load_autoencoder(arguments.mask_autoencoder, "mask_autoencoder")
    image_autoencoder = load_autoencoder(arguments.image_autoencoder, "image_autoencoder")
    if mask_autoencoder.factor != image_autoencoder.factor:
        raise InputError(
            "configuration.image_autoencoder.channels",
            f"shrinks images {image_autoencoder.factor} times, masks are shrunk {mask_autoencoder.factor} times",
            "give both auto-encoders as many scales",
        )
    architecture = {
        "kind": "variant",
        "mask_autoencoder": mask_card["architecture"],
        "image_autoencoder": image_card["architecture"],
        "denoiser": architecture_of(settings, embedding),
    }
    clip_features = load_tensors(arguments.pretrained / "clip_text.safetensors")["features"]
    denoiser = build_denoiser(
        architecture["denoiser"], mask_autoencoder.latent_channels, image_autoencoder.latent_channels, clip_features
    )
    autoencoders = {"mask": mask_card["weights_sha256"], "image": image_card["weights_sha256"]}
    return Networks(mask_autoencoder, image_autoencoder, denoiser), {
        "architecture": architecture,
        "autoencoders_sha256": autoencoders,
    }


if __name__ == "__main__":
    main()
