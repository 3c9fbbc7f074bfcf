"""A model card as Markdown, and the sections that every one has, each written from a `Record`.

The frame is that of Mitchell et al. 2019 and of Hugging Face. The page names no licence of the weights: no record of
the study says one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta

import pandas as pd
import yaml

from universal_diffusion.datasets import catalogue
from universal_diffusion.evaluation import tables
from universal_diffusion.evaluation.cards.card_record import Record
from universal_diffusion.evaluation.logs import waiting_share

SYNTHETIC = "\n\n**This model has never seen a patient**: every scan it was trained on is synthetic."
CONFIGURED = ("architecture", "diffusion", "perceptual_weight", "kl_weight", "thresholds", "preparation", "patches")
SAFE = (
    "Only `weights.safetensors` and `card.json` are needed; nothing is unpickled, and weights whose hash is not the "
    "one in `card.json` are refused."
)


def page(record: Record, header: Mapping, what: str, sections: Mapping[str, str]) -> str:
    """The whole card: the YAML header that Hugging Face reads, what the model is, and sections by their headings."""
    front = yaml.safe_dump(dict(header), default_flow_style=None, sort_keys=False)
    body = "\n".join(f"## {heading}\n\n{text.rstrip()}\n" for heading, text in sections.items())
    return f"---\n{front}---\n\n# {record.study}/{record.folder.name}\n\n{what}\n\n{body}"


def use(record: Record, purpose: str) -> str:
    """`purpose`, and a warning where nothing but synthetic scans was trained on."""
    origins = {record.provenance["archives"][row.source]["origin"] for row in record.splits if row.part == "train"}
    return purpose + SYNTHETIC * (origins == {"phantom"})


def sources(record: Record) -> str:
    """Cases by source, and their licences."""
    rows = []
    for source, archive in sorted(record.provenance["archives"].items()):
        parts = [row.part for row in record.splits if row.source == source]
        entry = catalogue.entry(source) if source in catalogue.sources() else None
        licence = "synthetic scans" if archive["origin"] == "phantom" else entry.licence if entry else "its owner's"
        counts = [str(parts.count(part)) for part in ("train", "validation", "test")]
        rows.append([source, entry.dataset_title if entry else source, *counts, licence])
    texts = pd.DataFrame(rows, columns=["Source", "Dataset", "Trained on", "Validation", "Test", "Licence"])
    terms = "No licence is given for the weights; those of the data they were trained on may bind them."
    return table(texts, f"Cases by source. Cohort: {record.cohort}.", terms)


def training(record: Record, *reached: str) -> str:
    """How long it was trained, what it reached on patches, and where; of a model without a training, where alone."""
    machine, log, items = record.machine, record.log, list(reached)
    if log is not None:
        took, patch = timedelta(seconds=round(log["seconds"].sum())), record.card["preparation"]["patch"]
        items.insert(
            0,
            f"{len(log)} steps of {record.training.batch} patches of {patch} x {patch} voxels in {took} (h:mm:ss) "
            f"without validation, {100 * waiting_share(log):.1f} % of it waiting for data (`log.csv`)",
        )
    place = f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB"
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    return listing(*items, f"machine of the study's record: {place}, {gpus} (a cluster may have trained elsewhere)")


def configuration(record: Record) -> str:
    """What of the configuration made the weights."""
    content = {key: record.card[key] for key in CONFIGURED if key in record.card}
    if record.training is not None:
        content["training"] = asdict(record.training)
    return f"```yaml\n{yaml.safe_dump(content, default_flow_style=None, width=110)}```"


def origins(record: Record, hashes: Mapping[str, str], *notes: str) -> str:
    """Commit, seed and hashes: those of every model's files, and `hashes` of what else this one was made from."""
    card, code = record.card, record.provenance["source_code"]
    commit = (code["commit"] or "not known") + " with uncommitted changes" * bool(code["dirty"])
    every = {"`weights.safetensors`": card["weights_sha256"], **hashes, "`splits.csv`": card["splits"]}
    if "volumes" in card:
        every["training and validation volumes"] = card["volumes"]
    every["configuration of the study"] = record.provenance["configuration_sha256"]
    return table(
        pd.DataFrame({"What": every.keys(), "SHA-256": [f"`{digest}`" for digest in every.values()]}),
        listing(f"commit when the study's record was written: {commit}", f"seed {record.provenance['seed']}", *notes),
        "Hashes of the archives behind the volumes, and versions of all packages: the study's `provenance.json`.",
    )


def table(texts: pd.DataFrame, caption: str, *notes: str) -> str:
    """A table of texts as Markdown, with what stands above and below it."""
    return tables.markdown(tables.Printed(texts, tables.unmarked(texts), caption, notes, label=""))


def listing(*items: str) -> str:
    """Items, each on its line."""
    return "\n".join(f"- {item}" for item in items)


def header(task: str, tags: Sequence[str], metric: str) -> dict:
    """What a model hub files a model under."""
    return {"pipeline_tag": task, "tags": ["medical", "computed-tomography", *tags], "metrics": [metric]}
