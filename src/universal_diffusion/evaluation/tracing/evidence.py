"""The files behind score rows, each verified: predictions, volumes, archives, weights and their training."""

import hashlib
import json
from pathlib import Path
from posixpath import normpath

import pandas as pd

from universal_diffusion.csv_tables import read_csv
from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.tracing.behind import Rows
from universal_diffusion.evaluation.tracing.checks import CHANGED, NOT_HERE, VERIFIED, Study
from universal_diffusion.systems import System

INPUTS = ["source", "case", "target", "file", "sha256"]


def verify_inputs(study: Study, found: Rows) -> None:
    """Compare the predictions and volumes that the rows were scored from with the files now here."""
    name = f"{found.branch}scores/inputs/{found.system.key}.csv"
    path = study.folder / name
    if not path.is_file():
        study.note(name, NOT_HERE, "no hashes of predictions and volumes; `snakemake` makes it")
        return
    study.verify(name)
    inputs = _read_inputs(path)
    scored = set(found.rows[["source", "case", "target"]].itertuples(index=False, name=None))
    volumes = {(source, case, "") for source, case, _ in scored}
    known = inputs[[key in scored | volumes for key in inputs[INPUTS[:3]].itertuples(index=False, name=None)]]
    for row in known.itertuples():
        study.verify(normpath(found.branch + row.file), row.sha256)
    for source, case, target in sorted(scored - set(known[INPUTS[:3]].itertuples(index=False, name=None))):
        study.note(f"{source}/{case}/{target}", CHANGED, f"scored, but {name} names no prediction of it")


def _read_inputs(path: Path) -> pd.DataFrame:
    try:
        inputs = read_csv(path, str)
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no table ({error})", "run rule `score` again") from None
    if list(inputs.columns) != INPUTS:
        raise InputError(path, f"has columns {list(inputs.columns)}, expected {INPUTS}", "run rule `score` again")
    return inputs


def verify_model(study: Study, system: System, branch: str = "") -> list[str]:
    """Verify weights and card, one against the other too; lines on how the model was trained."""
    folder = f"{branch}models/{system.key}"
    weights = study.verify(f"{folder}/weights.safetensors")
    study.verify(f"{folder}/card.json")
    path, log = study.folder / folder / "card.json", study.folder / folder / "log.csv"
    if not path.is_file():
        return [f"{folder}/card.json is not here"]
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(path, f"is no card ({error})", f"train {system.key} again") from None
    stated = card.get("weights_sha256")
    if stated and weights.status != NOT_HERE:
        same = weights.told.split()[1].rstrip(",") == stated
        told = "is that of the weights" if same else f"{stated} is not that of the weights here"
        study.note(f"{folder}/card.json: weights_sha256", VERIFIED if same else CHANGED, told)
    steps = [f"steps: {_steps(log)}"] if log.is_file() else []
    named = ("variant", "prediction", "seed", "version", "splits", "volumes")
    return [*(f"{key}: {card[key]}" for key in named if key in card), *steps]


def archives(study: Study, sources: list[str]) -> list[str]:
    """Verify the archives of these sources; lines on where they are from."""
    lines = []
    for source in sources:
        origin = study.record["archives"].get(source)
        if origin is None:
            study.note(f"archives/{source}", CHANGED, "provenance.json records no such source")
            continue
        lines.append(f"{source}: {origin['origin']}; {origin['note']}")
        for file in origin["files"]:
            against = f", agrees with {file['checked']}" if file.get("checked") else ", own checksum"
            lines.append(f"  {file['name']}: {file['bytes']} bytes{against}")
            study.verify(f"archives/{source}/{file['name']}", file["sha256"])
    return lines


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def environment(study: Study) -> list[str]:
    """Lines on the commit, configuration, versions, seed and hardware."""
    record, code = study.record, study.record["source_code"]
    changed = {True: "files differed from it", False: "nothing differed from it"}.get(code["dirty"], "no repository")
    lines = [
        f"study: {record['study']}; cohort: {record['cohort']}; seed: {record['seed']}",
        f"configuration: sha256 {record['configuration_sha256']} (its content stands in provenance.json)",
        f"commit: {code['commit']} ({changed})",
        "versions: "
        + ", ".join(f"{name} {version}" for name, version in sorted(record["versions"].items()) if version),
    ]
    content = json.dumps(record["configuration"], sort_keys=True).encode()
    study.verify_value("provenance.json: configuration_sha256", record["configuration_sha256"], _sha256(content))
    machine = study.folder / "machine.json"
    if machine.is_file():
        lines.append("machine: " + ", ".join(f"{key} {value}" for key, value in sorted(_machine(machine).items())))
    return lines


def _machine(path: Path) -> dict:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(path, f"is no record of a machine ({error})", "run rule `provenance` again") from None
    if not isinstance(told, dict):
        raise InputError(path, "is no record of a machine", "run rule `provenance` again")
    return told


def _steps(log: Path) -> int:
    try:
        return int(read_csv(log)["step"].max()) + 1
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(log, f"is no training log ({error})", "restore it, or train again") from None
