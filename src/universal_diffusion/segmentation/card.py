"""What the card of a model says that segmenting a CT needs, or one line on what is missing."""

from collections.abc import Sequence
from pathlib import Path

from universal_diffusion.errors import InputError
from universal_diffusion.method.weights import CARD, load_card
from universal_diffusion.settings import Preparation
from universal_diffusion.targets import target


def variant_card(model: Path) -> dict:
    """The card of a trained variant. Raises InputError for anything else."""
    card = load_card(model)
    if not card.get("targets") or "cohort" not in card:
        raise InputError(model, "holds no segmentation model", "give the directory of a variant, e.g. models/mask_clip")
    preparation_of(card, model)
    return card


def preparation_of(card: dict, model: Path) -> Preparation:
    """The model's own grid, window and patch: a CT must be harmonised as the training scans were."""
    try:
        return Preparation(tuple(card["spacing_mm"]), tuple(card["hu_window"]), card["patch"])
    except KeyError as missing:
        raise InputError(
            Path(model) / CARD, f"does not say {missing}", "give a model trained by this version of the study"
        ) from None


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
