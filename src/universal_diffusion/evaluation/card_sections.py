"""The text of a model card: its sections, each written from the `Facts` of a variant."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import pandas as pd
import yaml

from universal_diffusion.datasets import catalogue
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.logs import waiting_share
from universal_diffusion.evaluation.statistics import Summary
from universal_diffusion.preparation.splits import SplitRow
from universal_diffusion.settings import Segmentation, Training
from universal_diffusion.systems import System

HEADER = """\
---
pipeline_tag: image-segmentation
tags: [medical, computed-tomography, image-segmentation, latent-diffusion]
metrics: [dice]
---
"""
USE = """\
Research on segmentation, on CTs like those it was trained on: each of the targets that it was trained on, by its name.

**Not for** diagnosis, treatment or any other decision about a patient: this is no medical device. Not for other
targets, other parts of the body, MR or other modalities. A mask of a target that scores low below is no evidence of
anything, and neither is an empty one."""
SYNTHETIC = "\n\n**This model has never seen a patient**: every scan it was trained on is synthetic."
LOADING = """\
```
universal-diffusion segment -i ct.nii.gz -o out --targets {targets} --model {folder}
```

or `universal_diffusion.method.bundle.load_bundle("{folder}")`. Only `weights.safetensors` and `card.json` are needed;
nothing is unpickled, and weights whose hash is not the one in `card.json` are refused."""
EMBEDDINGS = {"clip": "text features of its prompt say", "learnt": "a learnt embedding says"}


@dataclass(frozen=True)
class Facts:
    """What a card is written from.

    Attributes:
        folder: of the model, as the page names it.
        card: `card.json`; `provenance` and `machine`: the study's records of those names.
        training, sampling: how the denoiser was trained, and how it was sampled for the scores.
        scores: rows of `targets_table.target_rows` of this variant.
        mean: its Dice, mean over the targets' means.
        ceiling: Dice of the auto-encoded true mask by target, NaN where no case holds one.
        log: of the training, a row per step.
    """

    system: System
    folder: Path
    card: Mapping
    provenance: Mapping
    machine: Mapping
    training: Training
    sampling: Segmentation
    splits: Sequence[SplitRow]
    scores: pd.DataFrame
    mean: Summary
    ceiling: pd.Series
    log: pd.DataFrame


def page(facts: Facts) -> str:
    """The whole card as Markdown, opened by the YAML header that Hugging Face reads."""
    sections = {
        "Intended use": _use(facts),
        "Trained on": _sources(facts),
        "Scores": _scores(facts),
        "Training": _training(facts),
        "Configuration": _configuration(facts),
        "Made from": _origins(facts),
        "Loading": _loading(facts),
    }
    body = "\n".join(f"## {heading}\n\n{text.rstrip()}\n" for heading, text in sections.items())
    return f"{HEADER}\n# {facts.card['study']}/{facts.card['variant']}\n\n{_what(facts)}\n\n{body}"


def _what(facts: Facts) -> str:
    card = facts.card
    embedding = EMBEDDINGS[card["architecture"]["denoiser"]["embedding"]]
    return (
        f"A guided latent diffusion model that segments a CT slice by slice: {embedding} which of "
        f"{len(card['targets'])} targets is meant, and the denoiser predicts the {card['prediction']} "
        f"(“{facts.system.label}” in Table 2). The weights file holds the denoiser and both auto-encoders. Made with "
        f"universal-diffusion {card['version']}."
    )


def _use(facts: Facts) -> str:
    origins = {facts.provenance["archives"][row.source]["origin"] for row in facts.splits if row.part == "train"}
    return USE + SYNTHETIC * (origins == {"phantom"})


def _sources(facts: Facts) -> str:
    rows = []
    for source, archive in sorted(facts.provenance["archives"].items()):
        parts = [row.part for row in facts.splits if row.source == source]
        entry = catalogue.entry(source) if source in catalogue.sources() else None
        licence = "synthetic scans" if archive["origin"] == "phantom" else entry.licence if entry else "its owner's"
        counts = [str(parts.count(part)) for part in ("train", "validation", "test")]
        rows.append([source, entry.dataset_title if entry else source, *counts, licence])
    texts = pd.DataFrame(rows, columns=["Source", "Dataset", "Trained on", "Validation", "Test", "Licence"])
    terms = "No licence is given for the weights; those of the data they were trained on may bind them."
    return _table(texts, f"Cases by source. Cohort: {facts.card['cohort']}.", terms)


def _scores(facts: Facts) -> str:
    rows, sampling = facts.scores, facts.sampling
    absent = rows["n_false_positive"] + rows["n_both_empty"]
    alarms = zip(rows["n_false_positive"], absent, strict=True)
    texts = pd.DataFrame(
        {
            "Target": rows["target"],
            "Trained on": ["yes" if name in facts.card["targets"] else "no" for name in rows["target"]],
            "n": rows["n"].astype(str),
            "Dice": [_interval(row.dice, row.low, row.high) for row in rows.itertuples()],
            "Surface Dice": [tables.percent(value, 1) for value in rows["surface_dice"]],
            "False alarms": [f"{false} of {cases}" if cases else tables.NOTHING for false, cases in alarms],
            "Ceiling": [tables.percent(facts.ceiling[name], 1) for name in rows["target"]],
        }
    )
    mean = _interval(facts.mean.value, facts.mean.low, facts.mean.high)
    return _table(
        texts,
        f"Mean Dice over the targets: **{mean}**, n = {facts.mean.n} cases. Cohort: {facts.card['cohort']}.",
        "Per cent, on the CT's own grid, over validation and test cases, n of them, with 95 % bootstrap intervals over "
        f"cases; sampled in {sampling.steps} steps ({sampling.sampler}), mean of {sampling.ensemble} samples.",
        "Surface Dice at 2 mm. False alarms: of the cases without the target, those in which some is predicted. "
        "Ceiling: Dice of the auto-encoded true mask on the validation cases, on the harmonised grid.",
        "Every case behind these figures is a row of the study's `scores/cases.csv`.",
    )


def _training(facts: Facts) -> str:
    log, machine, patch = facts.log, facts.machine, facts.card["patch"]
    took, last = timedelta(seconds=round(log["seconds"].sum())), tables.percent(log["validation_dice"].iloc[-1], 1)
    return _list(
        f"{len(log)} steps of {facts.training.batch} patches of {patch} x {patch} voxels in {took} (h:mm:ss) without "
        f"validation, {100 * waiting_share(log):.1f} % of it waiting for data (`log.csv`)",
        f"validation Dice after the last step, on patches, of samples in a few deterministic steps: {last} %",
        f"machine of the study's record: {machine['cores']} cores of {machine['processor']}, "
        f"{machine['memory_gib']} GiB, {', '.join(machine['gpus']) or 'no GPU'} (a cluster may have trained elsewhere)",
    )


def _configuration(facts: Facts) -> str:
    content = {key: facts.card[key] for key in ("architecture", "diffusion", "preparation", "patches")}
    content["training"] = asdict(facts.training)
    return f"```yaml\n{yaml.safe_dump(content, default_flow_style=None, width=110)}```"


def _origins(facts: Facts) -> str:
    card, code = facts.card, facts.provenance["source_code"]
    commit = (code["commit"] or "not known") + " with uncommitted changes" * bool(code["dirty"])
    hashes = {
        "`weights.safetensors`": card["weights_sha256"],
        "mask auto-encoder": card["autoencoders_sha256"]["mask"],
        "image auto-encoder": card["autoencoders_sha256"]["image"],
        "`splits.csv`": card["splits"],
        "training and validation volumes": card["volumes"],
        "CLIP text features": card["pretrained"]["sha256"]["clip_text"],
        "VGG-16 of LPIPS": card["pretrained"]["sha256"]["vgg16"],
        "configuration of the study": facts.provenance["configuration_sha256"],
    }
    return _table(
        pd.DataFrame({"What": hashes.keys(), "SHA-256": [f"`{digest}`" for digest in hashes.values()]}),
        _list(
            f"commit when the study's record was written: {commit}",
            f"seed {card['seed']}",
            f"pretrained weights: {card['pretrained']['clip']}; {card['pretrained']['vgg16']}",
        ),
        "Hashes of the archives behind the volumes, and versions of all packages: the study's `provenance.json`.",
    )


def _loading(facts: Facts) -> str:
    targets = " ".join(f'"{name}"' if " " in name else name for name in facts.card["targets"][:2])
    return LOADING.format(targets=targets, folder=facts.folder.as_posix())


def _table(texts: pd.DataFrame, caption: str, *notes: str) -> str:
    return tables.markdown(tables.Printed(texts, tables.unmarked(texts), caption, notes, label=""))


def _list(*items: str) -> str:
    return "\n".join(f"- {item}" for item in items)


def _interval(value: float, low: float, high: float) -> str:
    spread = "" if pd.isna(low) else f" [{tables.percent(low, 1)}, {tables.percent(high, 1)}]"
    return tables.percent(value, 1) + spread
