"""Step: the model card of an auto-encoder, to read: what it is, what for, and how well it reconstructs.

    python -m universal_diffusion.evaluation.cards.autoencoder_card --model DIR [--ceiling F] --splits F --provenance F
        --machine F --training JSON(Training) --output models/<auto-encoder>/README.md

A mask auto-encoder is scored by its ceiling, the image auto-encoder by its peak signal-to-noise ratio.
"""

from pathlib import Path

import pandas as pd

from universal_diffusion import __version__
from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.beyond.ceiling import ceilings, read_ceiling_cases
from universal_diffusion.evaluation.cards import card_sections as sections
from universal_diffusion.evaluation.cards.card_record import Record, card_arguments, read_record
from universal_diffusion.files import write_text

KINDS = {
    "mask_autoencoder": "The mask auto-encoder (eqs. 1-3): a vanilla auto-encoder of the binary masks of any target",
    "image_autoencoder": "The image auto-encoder (eqs. 4 and 5): a variational auto-encoder of CT patches",
}
PART = """\
A part of the study's segmentation models, whose weights files hold a copy of it. Research only: on patches of
harmonised CTs and their masks like those it was trained on.

**Not for** diagnosis, treatment or any other decision about a patient: this is no medical device. It segments nothing
by itself, and what it decodes may lack or add structures."""
COMPARED = """\
A comparison: how much more a factor of {factor} costs each target. No segmentation model holds it.

**Not for** diagnosis, treatment or any other decision about a patient: this is no medical device."""


def factor(record: Record) -> int:
    """How many times smaller the latent is along each axis."""
    return 2 ** (len(record.card["architecture"]["channels"]) - 1)


def is_part(record: Record) -> bool:
    """Whether the variants of the study hold this very auto-encoder."""
    return record.folder.name == record.card["architecture"]["kind"]


def what(record: Record) -> str:
    """One paragraph on the auto-encoder."""
    architecture = record.card["architecture"]
    latent = f"{architecture['latent_channels']} channels, {factor(record)} times smaller along each axis"
    return f"{KINDS[architecture['kind']]}. Its latent has {latent}. Made with universal-diffusion {__version__}."


def ceiling(record: Record, path: Path) -> str:
    """Dice of the reconstructed true masks per target."""
    rows = ceilings(read_ceiling_cases(path))
    texts = pd.DataFrame(
        {
            "Target": rows["target"],
            "n": rows["n"].astype(str),
            "Mean": [tables.percent(value, 1) for value in rows["dice_mean"]],
            "Least": [tables.percent(value, 1) for value in rows["dice_min"]],
        }
    )
    mean = tables.percent(rows["dice_mean"].mean(), 1)
    return sections.table(
        texts,
        f"Dice of decoded true masks, mean over the targets: **{mean}**. Cohort: {record.cohort}.",
        "Per cent, on the harmonised grid, over the validation cases that hold the target, n of them: what this "
        "auto-encoder alone allows any denoiser to reach.",
        "Every case behind these figures is a row of `ceiling.csv`.",
    )


def peak_ratio(record: Record) -> str:
    """The last validation of the image auto-encoder."""
    last = record.log["validation_psnr_db"].iloc[-1]
    told = f"Peak signal-to-noise ratio of reconstructed validation patches after the last step: **{last:.2f} dB**."
    return f"{told} Cohort: {record.cohort}."


def made_from(record: Record) -> tuple[dict[str, str], str] | tuple[dict[str, str]]:
    """The pretrained network of the image auto-encoder's loss."""
    pretrained = record.card.get("pretrained")
    if pretrained is None:
        return ({},)
    return {"VGG-16 of LPIPS": pretrained["sha256"]["vgg16"]}, f"pretrained weights: {pretrained['vgg16']}"


@one_line_errors
def main() -> None:
    """Write the card of one auto-encoder."""
    parser = card_arguments(__doc__)
    parser.add_argument("--ceiling", type=Path, help="ceiling.csv of a mask auto-encoder")
    arguments = parser.parse_args()
    record = read_record(arguments)
    kind, folder = record.card["architecture"]["kind"], record.folder.as_posix()
    metric = "dice" if arguments.ceiling else "psnr"
    last = [] if arguments.ceiling is None else [record.log["validation_dice"].iloc[-1]]
    chapters = {
        "Intended use": sections.use(record, PART if is_part(record) else COMPARED.format(factor=factor(record))),
        "Trained on": sections.sources(record),
        "Scores": ceiling(record, arguments.ceiling) if arguments.ceiling else peak_ratio(record),
        "Training": sections.training(
            record, *(f"validation Dice after the last step, on patches: {tables.percent(dice, 1)} %" for dice in last)
        ),
        "Configuration": sections.configuration(record),
        "Made from": sections.origins(record, *made_from(record)),
        "Loading": f'`universal_diffusion.method.bundle.load_autoencoder("{folder}", "{kind}")`. {sections.SAFE}',
    }
    header = sections.header("image-to-image", ["autoencoder"], metric)
    write_text(arguments.output, sections.page(record, header, what(record), chapters))


if __name__ == "__main__":
    main()
