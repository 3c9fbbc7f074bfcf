"""Train the denoiser of one variant: {noise, mask} prediction x {learnt, clip} embedding (section 2.2, table 2).

    python -m universal_diffusion.training.denoiser --variant mask_clip --volumes DIR... --splits CSV ...

Writes a bundle that is whole by itself: the denoiser and both auto-encoders in one weights file, with their card.
"""

from dataclasses import asdict
from pathlib import Path

from universal_diffusion import __version__
from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.method.bundle import Networks, build_denoiser, load_autoencoder
from universal_diffusion.method.weights import load_card, load_tensors, pretrained_file, save_model
from universal_diffusion.settings import Denoiser as Settings
from universal_diffusion.settings import Diffusion, read_json
from universal_diffusion.systems import VARIANTS
from universal_diffusion.training.latent_diffusion import LatentDiffusion
from universal_diffusion.training.loop import finish, train
from universal_diffusion.training.patches import Batches, start, training_arguments


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
    start(arguments, "denoiser")  # not by variant: all four start from the same weights
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
    clip_features = load_tensors(pretrained_file(arguments.pretrained, "clip_text"))["features"]
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
