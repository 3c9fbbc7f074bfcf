"""Weights on disk: safetensors beside a JSON card. Nothing is unpickled."""

import json
import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from universal_diffusion.errors import InputError
from universal_diffusion.files import sha256, whole_file, write_json

WEIGHTS, CARD = "weights.safetensors", "card.json"


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors whole or not at all, and through to the disk; equal tensors give equal bytes.

    In memory first: `safetensors.torch.save_file` leaves a file of its own where it is killed, and shuts others out.
    """
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata)
    with whole_file(path) as partial, open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file onto the CPU. Raises InputError when it is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            path, f"cannot be read as safetensors ({error})", "train the model again or copy it again"
        ) from None


def save_model(directory: Path, module: nn.Module, card: dict) -> None:
    """Write a module's weights and, last, the card that tells how to rebuild it and what it was made from."""
    save_tensors(Path(directory) / WEIGHTS, module.state_dict())
    write_json(Path(directory) / CARD, card | {"weights_sha256": sha256(Path(directory) / WEIGHTS)})


def load_card(directory: Path) -> dict:
    """The card of a model's directory. Raises InputError when there is none."""
    path = Path(directory) / CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(path, f"is no model card ({error})", "give the directory of a trained model") from None
    if not isinstance(card, dict) or not isinstance(card.get("architecture", {}), dict):
        raise InputError(path, "is no model card (no JSON object)", "give the directory of a trained model")
    return card


def load_weights(directory: Path, module: nn.Module, card: dict) -> None:
    """Fill `module` from a model's directory. Raises InputError when file, card and architecture do not agree."""
    path = Path(directory) / WEIGHTS
    tensors = load_tensors(path)
    if sha256(path) != card.get("weights_sha256"):
        raise InputError(path, "is not the file its card.json describes", "copy the whole model directory again")
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise InputError(
            path,
            f"belongs to another architecture than its card.json says ({reason})",
            "use a card and weights that were written together",
        ) from None
