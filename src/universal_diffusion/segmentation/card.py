"""What the card of a model says that segmenting a CT needs, or one line on what is missing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, TypeVar

from universal_diffusion.errors import InputError
from universal_diffusion.method.weights import CARD, load_card
from universal_diffusion.settings import Preparation, read
from universal_diffusion.targets import all_targets, target

T = TypeVar("T")
COPY = "copy the model's directory again, or give one trained by this version of the study"


@dataclass(frozen=True)
class Variant:
    """What a card says of a variant, besides its grid and networks."""

    targets: tuple[str, ...]
    cohort: str
    prediction: Literal["mask", "noise"]


def variant_card(model: Path) -> dict:
    """The card of a trained variant. Raises InputError for anything else, and for a card that is damaged."""
    card = load_card(model)
    if not card.get("targets") or "cohort" not in card:
        raise InputError(model, "holds no segmentation model", "give the directory of a variant, e.g. models/mask_clip")
    strange = set(_read(Variant, card, model).targets) - {known.name for known in all_targets()}
    if strange:
        raise InputError(Path(model) / CARD, f"names {min(strange)!r}, which is none of the 29 targets", COPY)
    preparation_of(card, model)
    return card


def preparation_of(card: dict, model: Path) -> Preparation:
    """The model's own grid, window and patch: a CT must be harmonised as the training scans were.

    Raises InputError for a card that does not say them, or says what no grid can be.
    """
    found = _read(Preparation, card, model)
    low, high = found.hu_window
    if not (all(0 < edge < math.inf for edge in found.spacing_mm) and -math.inf < low < high < math.inf):
        said = f"spacing_mm {list(found.spacing_mm)} and hu_window {[low, high]}"
        raise InputError(Path(model) / CARD, f"says {said}, expected edges above 0 and a window that ascends", COPY)
    if found.patch < 1:
        raise InputError(Path(model) / CARD, f"says patch {found.patch}, expected at least 1", COPY)
    return found


def _read(kind: type[T], card: dict, model: Path) -> T:
    """The entries of a card that a dataclass names."""
    named = {field.name: card[field.name] for field in fields(kind) if field.name in card}
    try:
        return read(kind, named, Path(model) / CARD)
    except InputError as error:
        raise InputError(error.where, f"{error.problem}, {error.remedy}", COPY) from None


def wanted_targets(names: Sequence[str] | None, card: dict, model: Path) -> list[str]:
    """The names as the study spells them, each once; all that the model was trained on when there are none.

    Raises InputError for a target that is none of the 29, or that the model was not trained on.
    """
    trained = card["targets"]
    wanted = list(dict.fromkeys(target(name).name for name in names or ())) or trained
    strange = [name for name in wanted if name not in trained]
    if strange:
        raise InputError(
            f"target {strange[0]!r}",
            f"was not annotated in what the model {model} was trained on",
            f"choose from: {', '.join(trained)}",
        )
    return wanted
