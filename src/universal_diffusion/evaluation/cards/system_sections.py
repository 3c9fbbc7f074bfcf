"""What the card of a system that segments says beside the sections of every card."""

from dataclasses import dataclass

import pandas as pd

from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.cards import card_sections
from universal_diffusion.evaluation.cards.card_record import Record
from universal_diffusion.evaluation.cards.card_sections import SAFE, table
from universal_diffusion.evaluation.statistics import Summary
from universal_diffusion.settings import Segmentation
from universal_diffusion.systems import System

USE = """\
Research on segmentation, on CTs like those it was trained on: each of the targets that it was trained on, by its name.

**Not for** diagnosis, treatment or any other decision about a patient: this is no medical device. Not for other
targets, other parts of the body, MR or other modalities. A mask of a target that scores low below is no evidence of
anything, and neither is an empty one."""
EMBEDDINGS = {"clip": "text features of its prompt say", "learnt": "a learnt embedding says"}
VARIANT = (
    "A guided latent diffusion model that segments a CT slice by slice: {embedding} which of {targets} targets is "
    "meant, and the denoiser predicts the {prediction} (“{label}” in Table 2). The weights file holds the denoiser and "
    "both auto-encoders. Made with universal-diffusion {version}."
)
BASELINES = {
    "segresnet": "MONAI's SegResNet in 2-D with one output per target, trained on the same patches as the variants",
    "prior_mask": "The training set's mean mask of each target, placed by the body's outline, which looks at no organ",
}
LOADERS = {
    "segresnet": f"`universal_diffusion.baselines.segresnet.load_segmenter`, from `{{folder}}`. {SAFE}",
    "prior_mask": "`universal_diffusion.baselines.prior_mask.load_prior`, from `{folder}`. Nothing is unpickled.",
}
COMMAND = f"""\
```
universal-diffusion segment -i ct.nii.gz -o out --targets {{targets}} --model {{folder}}
```

or `universal_diffusion.method.bundle.load_bundle("{{folder}}")`. {SAFE}"""


@dataclass(frozen=True)
class Scores:
    """How good a system is.

    Attributes:
        rows: of `targets_table.target_rows`, of this system.
        mean: its Dice, mean over the targets' means.
        ceiling: Dice of the auto-encoded true mask by target, NaN where no case holds one; None for a baseline.
        sampling: how the scored masks were sampled; None for a baseline.
    """

    rows: pd.DataFrame
    mean: Summary
    ceiling: pd.Series | None
    sampling: Segmentation | None


def header(system: System) -> dict:
    """A segmenter's."""
    kind = ["latent-diffusion"] if system.variant else []
    return card_sections.header("image-segmentation", ["image-segmentation", *kind], "dice")


def what(record: Record, system: System) -> str:
    """One paragraph on the system."""
    card = record.card
    if system.variant:
        embedding = EMBEDDINGS[card["architecture"]["denoiser"]["embedding"]]
        facts = {"targets": len(card["targets"]), "prediction": card["prediction"], "version": card["version"]}
        return VARIANT.format(embedding=embedding, label=system.label, **facts)
    of = f"a baseline of Table 3 (“{system.label}”) for {len(card['targets'])} targets"
    return f"{BASELINES[system.key]}: {of}. Made with universal-diffusion {card['version']}."


def scores(record: Record, found: Scores) -> str:
    """Dice, surface Dice and false alarms per target, with n and intervals."""
    rows, targets = found.rows, record.card["targets"]
    absent = rows["n_false_positive"] + rows["n_both_empty"]
    alarms = zip(rows["n_false_positive"], absent, strict=True)
    columns = {
        "Target": rows["target"],
        "Trained on": ["yes" if name in targets else "no" for name in rows["target"]],
        "n": rows["n"].astype(str),
        "Dice": [_interval(row.dice, row.low, row.high) for row in rows.itertuples()],
        "Surface Dice": [tables.percent(value, 1) for value in rows["surface_dice"]],
        "False alarms": [f"{false} of {cases}" if cases else tables.NOTHING for false, cases in alarms],
    }
    measured, explained = "with 95 % bootstrap intervals over patients", ""
    if found.ceiling is not None:
        columns["Ceiling"] = [tables.percent(found.ceiling[name], 1) for name in rows["target"]]
        sampling = found.sampling
        measured += f"; sampled in {sampling.steps} steps ({sampling.sampler}), mean of {sampling.ensemble} samples"
        explained = " Ceiling: Dice of the auto-encoded true mask on the validation cases, on the harmonised grid."
    mean = _interval(found.mean.value, found.mean.low, found.mean.high)
    return table(
        pd.DataFrame(columns),
        f"Mean Dice over the targets: **{mean}**, n = {found.mean.n} cases. Cohort: {record.cohort}.",
        f"Per cent, on the CT's own grid, over validation and test cases, n of them, {measured}.",
        "Surface Dice at 2 mm. False alarms: of the cases without the target, those in which some is predicted."
        + explained,
        "Every case behind these figures is a row of the study's `scores/cases.csv`.",
    )


def reached(record: Record, system: System) -> list[str]:
    """What the training reached on patches, or what stood in for a training."""
    if record.log is None:
        return [f"averaged over {record.card['cases']} training cases, without any optimiser"]
    last = tables.percent(record.log["validation_dice"].iloc[-1], 1)
    sampled = ", of samples in a few deterministic steps" * bool(system.variant)
    return [f"validation Dice after the last step, on patches{sampled}: {last} %"]


def made_from(record: Record) -> tuple[dict[str, str], str] | tuple[dict[str, str]]:
    """Hashes of the parts of a variant, and a note on its pretrained weights; a baseline has none of either."""
    card = record.card
    if "autoencoders_sha256" not in card:
        return ({},)
    pretrained = card["pretrained"]
    hashes = {
        "mask auto-encoder": card["autoencoders_sha256"]["mask"],
        "image auto-encoder": card["autoencoders_sha256"]["image"],
        "CLIP text features": pretrained["sha256"]["clip_text"],
        "VGG-16 of LPIPS": pretrained["sha256"]["vgg16"],
    }
    return hashes, f"pretrained weights: {pretrained['clip']}; {pretrained['vgg16']}"


def loading(record: Record, system: System) -> str:
    """How to use the weights."""
    folder = record.folder.as_posix()
    if not system.variant:
        return LOADERS[system.key].format(folder=folder)
    targets = " ".join(f'"{name}"' if " " in name else name for name in record.card["targets"][:2])
    return COMMAND.format(targets=targets, folder=folder)


def _interval(value: float, low: float, high: float) -> str:
    spread = "" if pd.isna(low) else f" [{tables.percent(low, 1)}, {tables.percent(high, 1)}]"
    return tables.percent(value, 1) + spread
