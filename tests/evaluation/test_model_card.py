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
from universal_diffusion.evaluation.beyond.ceiling import COLUMNS
from universal_diffusion.evaluation.cards import autoencoder_card, model_card
from universal_diffusion.evaluation.scoring.cases import write_cases
from universal_diffusion.files import sha256
from universal_diffusion.method.bundle import load_autoencoder, load_bundle
from universal_diffusion.method.weights import load_card, write_card
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
    write_card(model, load_card(models / "mask_clip") | CARD)
    steps = pd.DataFrame({"step": range(9), "loss": 1.0, "seconds": 500.0, "wait_seconds": 25.0})
    steps.assign(validation_dice=np.where(steps["step"] == 8, 0.123, np.nan)).to_csv(model / "log.csv", index=False)
    write_cases(tmp_path / "cases.csv", cases)
    trained = [SplitRow("msd03", "msd", f"{n}", f"{n}", "train", "") for n in range(2)]
    scored = cases.drop_duplicates(["source", "case"]).itertuples()
    rows = [SplitRow(row.source, row.dataset, row.case, row.source + row.case, row.part, "") for row in scored]
    write_splits(tmp_path / "splits.csv", [*trained, *rows])
    ceiling = pd.DataFrame([(t.name, f, 0.9 + f / 100) for t in all_targets() for f in (2, 4)])
    ceiling.to_csv(tmp_path / "ceiling.csv", index=False, header=["target", "factor", "dice_mean"])
    code = {"commit": "c0ffee", "dirty": True}
    record = {"archives": {source: {"origin": "phantom"} for source in ("msd03", "ircadb")}, "source_code": code}
    record |= {"configuration_sha256": 64 * "7", "study": "imagined", "cohort": COHORT, "seed": 3}
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    (tmp_path / "machine.json").write_text(json.dumps(MACHINE))
    return tmp_path


def run(step, study: Path, model: str, monkeypatch, **flags: object) -> str:
    """The page that a step writes for a model."""
    flags |= {name: study / f"{name}.json" for name in ("provenance", "machine")} | {"splits": study / "splits.csv"}
    flags |= {"model": study / model, "output": study / model / "README.md"}
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", [step.__name__, *words])
    step.main()
    return (study / model / "README.md").read_text(encoding="utf-8")


def written(study: Path, monkeypatch, model: str = "mask_clip", trained: bool = True) -> str:
    sampling = {"sampler": "ddim", "steps": 6, "eta": 1.0, "ensemble": 5, "overlap": 0.25, "batch": 4}
    flags = {"training": json.dumps(TRAINING)} if trained else {}
    flags |= {"sampling": json.dumps(sampling), "cases": study / "cases.csv", "ceiling": study / "ceiling.csv"}
    return run(model_card, study, model, monkeypatch, **flags)


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
    assert table_row(text, "msd03") == ["msd03", "MSD (CT)", "2", "8", "0", "synthetic scans"]
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


def made(study: Path, model: str, card: dict, **log: float) -> None:
    """A model's directory with a card and, where figures of its last step are given, a log."""
    (study / model).mkdir()
    common = {"weights_sha256": 64 * "8", "splits": 64 * "5"}
    write_card(study / model, common | card)
    if log:
        steps = pd.DataFrame({"step": range(9), "loss": 1.0, "seconds": 500.0, "wait_seconds": 25.0})
        last = {name: np.where(steps["step"] == 8, value, np.nan) for name, value in log.items()}
        steps.assign(**last).to_csv(study / model / "log.csv", index=False)


AUTOENCODER = {name: CARD[name] for name in ("patches", "preparation", "volumes", "seed")}


def architecture(kind: str, scales: int) -> dict:
    return {"architecture": {"kind": kind, "channels": [8] * scales, "latent_channels": 3, "residual_blocks": 1}}


def test_card_of_a_mask_autoencoder_is_scored_by_its_ceiling(study, monkeypatch):
    rows = [(8, "btcv", f"b{n}", "liver", dice, 9) for n, dice in enumerate((0.5, 0.7))]
    rows.append((8, "btcv", "b0", "spleen", 0.8, 9))
    pd.DataFrame(rows, columns=COLUMNS).to_csv(study / "own.csv", index=False)
    flags = {"training": json.dumps(TRAINING), "ceiling": study / "own.csv"}
    for model, purpose in (
        ("mask_autoencoder", "A part of the"),
        ("coarser_mask_autoencoder", "A comparison: how much"),
    ):
        made(study, model, AUTOENCODER | architecture("mask_autoencoder", 4), validation_dice=0.456)
        text = run(autoencoder_card, study, model, monkeypatch, **flags)
        facts = [f"# imagined/{model}", purpose, COHORT, "c0ffee with uncommitted changes", "seed 3", "8 times smaller"]
        facts += [f"`{64 * digit}`" for digit in "5678"] + [
            "9 steps of 4 patches",
            "patches: 45.6 %",
            "never seen a pat",
        ]
        assert [fact for fact in facts if fact not in text] == []
        assert table_row(text, "liver") == ["liver", "2", "60.0", "50.0"]
        assert table_row(text, "pancreas") == ["pancreas", "0", "–", "–"]
        assert "mean over the targets: **70.0**" in text


def test_card_of_the_image_autoencoder_is_scored_by_its_signal_to_noise_ratio(study, monkeypatch):
    card = AUTOENCODER | architecture("image_autoencoder", 3) | {"pretrained": CARD["pretrained"], "kl_weight": 0.25}
    made(study, "image_autoencoder", card, validation_psnr_db=31.416)
    text = run(autoencoder_card, study, "image_autoencoder", monkeypatch, training=json.dumps(TRAINING))
    facts = ["**31.42 dB**", "random VGG", "kl_weight: 0.25", "4 times smaller", "c0ffee", COHORT]
    facts += [f"`{digest}`" for digest in (HASHES["vgg16"], *(64 * digit for digit in "5678"))]
    assert [fact for fact in facts if fact not in text] == []
    assert HASHES["clip_text"] not in text


@pytest.mark.parametrize("model", ["segresnet", "prior_mask"])
def test_card_of_a_baseline_has_scores_and_no_ceiling(study, cases, monkeypatch, model):
    card = {"kind": model, "targets": ["spleen", "liver"], "version": "9.9"}
    if model == "segresnet":
        made(study, model, AUTOENCODER | card, validation_dice=0.456)
        text, told = written(study, monkeypatch, model), ["9 steps of 4 patches", "on patches: 45.6 %"]
    else:
        made(study, model, card | {"cases": 11})
        text, told = written(study, monkeypatch, model, trained=False), ["averaged over 11 training cases"]
    assert [fact for fact in [*told, "c0ffee", f"# imagined/{model}", f"`{64 * '8'}`"] if fact not in text] == []
    mine = cases[cases["system"] == model].groupby("target")["dice"].mean()
    row = table_row(text, "liver")
    assert (row[1], row[3].split()[0], len(row)) == ("yes", f"{100 * mine['liver']:.1f}", 6)
    assert "Ceiling" not in text


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
    write_card(tmp_path, load_card(models / "mask_clip") | {"weights_sha256": sha256(weights)})
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        load_bundle(tmp_path)
    assert not UNPICKLED
    assert not trap.exists()
    pickle.loads(weights.read_bytes())
    assert trap.exists(), "the trap should be one"
