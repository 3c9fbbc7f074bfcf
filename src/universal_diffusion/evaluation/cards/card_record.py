"""What every model card is written from: the model's own files, and the records of its study."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.logs import read_log
from universal_diffusion.preparation.splits import SplitRow, read_splits
from universal_diffusion.settings import Training, read_json


@dataclass(frozen=True)
class Record:
    """One model.

    Attributes:
        folder: of the model, as the page names it.
        card: `card.json`; `provenance` and `machine`: the study's records of those names.
        training, log: how it was trained, and what happened, a row per step; None for a model that is not trained.
    """

    folder: Path
    card: Mapping
    provenance: Mapping
    machine: Mapping
    splits: Sequence[SplitRow]
    training: Training | None
    log: pd.DataFrame | None

    @property
    def study(self) -> str:
        """Its name."""
        return self.provenance["study"]

    @property
    def cohort(self) -> str:
        """What the model was trained on, in words."""
        return self.provenance["cohort"]


def card_arguments(description: str) -> argparse.ArgumentParser:
    """The arguments that every card's step takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the model's directory")
    for flag in ("--splits", "--provenance", "--machine"):
        parser.add_argument(flag, type=Path, required=True)
    parser.add_argument("--training", help="JSON of the section `training` of a model that has one")
    parser.add_argument("--output", type=Path, required=True, help="page to write")
    return parser


def read_record(arguments: argparse.Namespace) -> Record:
    """The record that `card_arguments` name. Raises InputError for a file that is none."""
    training = log = None
    if arguments.training is not None:
        training = read_json(Training, arguments.training, "configuration.training")
        log = read_log(arguments.model / "log.csv")
    return Record(
        arguments.model,
        _content(arguments.model / "card.json"),
        _content(arguments.provenance),
        _content(arguments.machine),
        read_splits(arguments.splits),
        training,
        log,
    )


def _content(path: Path) -> dict:
    """Of a JSON file that another step of the study wrote."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no record of the study ({error})", "run the rule that writes it again") from None
