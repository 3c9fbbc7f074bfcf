"""Model cards say what the study's records say, and nothing else; what they describe loads without unpickling."""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation import model_card
from universal_diffusion.evaluation.cases import write_cases
from universal_diffusion.files import sha256
from universal_diffusion.method.bundle import load_autoencoder, load_bundle
from universal_diffusion.preparation.splits import SplitRow, write_splits
from universal_diffusion.targets import all_targets

COHORT = "imagined patients"
TRAINING = {"steps": 9, "batch": 4, "learning_rate": 0.01, "warmup": 2, "decay": "cosine", "weight_decay": 0.0}
TRAINING |= {"ema_decay": 0.5, "gradient_clip": 1.0, "validate_every": 4, "checkpoint_minutes": 1.0}
TRAINING |= {"precision": "32-true"}
HASHES = {name: 64 * digit for name, digit in zip(("mask", "image", "clip_text", "vgg16"), "1234", strict=True)}
CARD = {
    "autoencoders_sha256": {name: HASHES[name] for name in ("mask", "image")},
    "cohort": COHORT,
    "patches": {"per_case": 2, "target_probability": 0.7},
    "preparation": {"hu_window": [-175, 250], "patch": 16, "spacing_mm": [4, 4, 5]},
    "pretrained": {"clip": "random text tower", "vgg16": "random VGG", "sha256": HASHES},
    "seed": 3,
    "splits": 64 * "5",
    "study": "imagined",
    "targets": ["spleen", "liver", "liver tumor"],
    "variant": "mask_clip",
    "version": "9.9",
    "volumes": 64 * "6",
}
MACHINE = {"cores": 7, "processor": "an abacus", "memory_gib": 1.5, "gpus": ["a GPU, 1 MiB, 1.0"]}


@pytest.fixture
def study(models, cases, tmp_path) -> Path:
    """A folder with everything a card is written from; the model is the untrained one, with a full card."""
    model = tmp_path / "mask_clip"
    model.mkdir()
    (model / "weights.safetensors").write_bytes((models / "mask_clip/weights.safetensors").read_bytes())
    card = json.loads((models / "mask_clip/card.json").read_text()) | CARD
    (model / "card.json").write_text(json.dumps(card))
    steps = pd.DataFrame({"step": range(9), "loss": 1.0, "seconds": 500.0, "wait_seconds": 25.0})
    steps.assign(validation_dice=np.where(steps["step"] == 8, 0.123, np.nan)).to_csv(model / "log.csv", index=False)
    write_cases(tmp_path / "cases.csv", cases)
    parts = {"msd03": ("train", "train", "validation"), "ircadb": ("test",)}
    rows = [SplitRow(s, s, f"{n}", f"{s}{n}", part, "") for s, found in parts.items() for n, part in enumerate(found)]
    write_splits(tmp_path / "splits.csv", rows)
    ceiling = pd.DataFrame([(t.name, f, 0.9 + f / 100) for t in all_targets() for f in (2, 4)])
    ceiling.to_csv(tmp_path / "ceiling.csv", index=False, header=["target", "factor", "dice_mean"])
    code = {"commit": "c0ffee", "dirty": True}
    record = {"archives": {source: {"origin": "phantom"} for source in parts}, "source_code": code}
    record["configuration_sha256"] = 64 * "7"
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    (tmp_path / "machine.json").write_text(json.dumps(MACHINE))
    return tmp_path


def written(study: Path, monkeypatch) -> str:
    training = {"channels": [8, 8], "residual_blocks": 1, "attention_scales": [1], "embedding_channels": 8}
    training["training"] = TRAINING
    sampling = {"sampler": "ddim", "steps": 6, "eta": 1.0, "ensemble": 5, "overlap": 0.25, "batch": 4}
    flags = {name: study / f"{name}.{kind}" for name, kind in (("cases", "csv"), ("splits", "csv"), ("ceiling", "csv"))}
    flags |= {name: study / f"{name}.json" for name in ("provenance", "machine")}
    flags |= {"model": study / "mask_clip", "output": study / "mask_clip/README.md"}
    flags |= {"training": json.dumps(training), "sampling": json.dumps(sampling)}
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["model_card", *words])
    model_card.main()
    return (study / "mask_clip/README.md").read_text(encoding="utf-8")


def table_row(text: str, first: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_card_says_what_the_records_say(study, cases, monkeypatch):
    before = (study / "mask_clip/card.json").read_bytes()
    text = written(study, monkeypatch)
    assert (study / "mask_clip/card.json").read_bytes() == before
    facts = [COHORT, "c0ffee with uncommitted changes", "9.9", "seed 3", "random text tower", "random VGG"]
    facts += ["7 cores of an abacus", "a GPU, 1 MiB, 1.0", "9 steps of 4 patches of 16 x 16", "1:15:00", "5.0 % of it"]
    assert [fact for fact in [*facts, ": 12.3 %"] if fact not in text] == []
    for digest in (*HASHES.values(), 64 * "5", 64 * "6", 64 * "7", sha256(study / "mask_clip/weights.safetensors")):
        assert f"`{digest}`" in text
    assert table_row(text, "msd03") == ["msd03", "MSD (CT)", "2", "1", "0", "synthetic scans"]
    assert written(study, monkeypatch) == text


def test_header_is_yaml_and_claims_no_licence(study, monkeypatch):
    header = yaml.safe_load(written(study, monkeypatch).split("---\n")[1])
    assert header["pipeline_tag"] == "image-segmentation"
    assert set(header) == {"pipeline_tag", "tags", "metrics"}


def test_scores_are_means_over_the_cases_of_this_variant(study, cases, monkeypatch):
    text = written(study, monkeypatch)
    mine = cases[cases["variant"] == "mask_clip"].groupby("target")["dice"]
    for target, trained in (("liver", "yes"), ("pancreas tumor", "no")):
        row = table_row(text, target)
        assert row[:3] == [target, trained, str(mine.count()[target])]
        assert row[3].split()[0] == f"{100 * mine.mean()[target]:.1f}"
        assert row[-1] == "92.0", "of the factor of the model's own auto-encoder"
    low, high = map(float, table_row(text, "liver")[3].partition("[")[2].strip("]").split(","))
    assert low < 100 * mine.mean()["liver"] < high
    assert f"Mean Dice over the targets: **{100 * mine.mean().mean():.1f} [" in text
    assert "6 steps (ddim), mean of 5 samples" in text
    assert table_row(text, "prostate")[2:4] == ["0", "–"]


@pytest.mark.parametrize(("source", "said"), [("msd03", False), ("ircadb", True)])
def test_only_a_model_of_synthetic_scans_has_never_seen_a_patient(study, monkeypatch, source, said):
    record = json.loads((study / "provenance.json").read_text())
    record["archives"][source]["origin"] = "download"
    (study / "provenance.json").write_text(json.dumps(record))
    text = written(study, monkeypatch)
    assert ("has never seen a patient" in text) is said
    assert table_row(text, source)[-1] in ("CC BY-SA 4.0", "CC BY-NC-ND 3.0")


UNPICKLED: list[str] = []
sys.addaudithook(lambda event, arguments: UNPICKLED.append(event) if event.startswith("pickle.") else None)


class Trap:
    """Its pickle, once opened, leaves a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_loading_never_unpickles(models, tmp_path):
    """No class is looked up for a pickle while a model is loaded, and a pickle in the place of weights is refused."""
    pickle.loads(pickle.dumps(Path("a")))
    assert UNPICKLED, "the audit hook should see a pickle that is opened"
    UNPICKLED.clear()
    load_bundle(models / "mask_clip")
    load_autoencoder(models / "mask_autoencoder", "mask_autoencoder")
    trap, weights = tmp_path / "sprung", tmp_path / "weights.safetensors"
    weights.write_bytes(pickle.dumps({"weight": Trap(trap)}))
    card = json.loads((models / "mask_clip/card.json").read_text()) | {"weights_sha256": sha256(weights)}
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        load_bundle(tmp_path)
    assert not UNPICKLED
    assert not trap.exists()
    pickle.loads(weights.read_bytes())
    assert trap.exists(), "the trap should be one"
