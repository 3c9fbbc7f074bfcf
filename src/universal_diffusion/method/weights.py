"""Weights on disk: safetensors beside a JSON card. Nothing is unpickled.

The card holds the SHA-256 of every file of weights beside it, and one of its own content; both are compared when read.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from universal_diffusion.errors import InputError
from universal_diffusion.files import sha256, whole_file, write_json

WEIGHTS, CARD = "weights.safetensors", "card.json"
SEAL = "card_sha256"
RULES = {"mask_autoencoder", "coarser_mask_autoencoder", "image_autoencoder", "segresnet", "prior_mask", "pretrained"}


def rule_of(directory: Path) -> str:
    """The rule that makes a model's folder of a study: one of the same name, or `denoiser` for the variants."""
    name = Path(directory).resolve().name
    return f"rule `{name if name in RULES else 'denoiser'}`"


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors whole or not at all, and through to the disk; equal tensors give equal bytes.

    In memory first: `safetensors.torch.save_file` leaves a file of its own where it is killed, and shuts others out.
    """
    write_through(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def write_through(path: Path, *parts: bytes | memoryview) -> None:
    """Write bytes whole or not at all, and through to the disk."""
    with whole_file(path) as partial, open(partial, "wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())


def load_tensors(path: Path, remedy: str = "give another file") -> dict[str, Tensor]:
    """Read a safetensors file onto the CPU. Raises InputError, with the remedy, when it is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(path, f"cannot be read as safetensors ({error})", remedy) from None


def save_model(directory: Path, module: nn.Module, card: dict) -> None:
    """Write a module's weights and, last, the card that tells how to rebuild it and what it was made from."""
    save_weights(directory, module.state_dict(), card)


def save_weights(directory: Path, tensors: Mapping[str, Tensor], card: dict) -> None:
    """`save_model` of what is no module."""
    path = Path(directory) / WEIGHTS
    save_tensors(path, tensors)
    write_card(directory, card | {"weights_sha256": sha256(path)})


def write_card(directory: Path, card: dict) -> None:
    """Write a card with the hash of its content."""
    write_json(Path(directory) / CARD, card | {SEAL: _digest(card)})


def load_card(directory: Path) -> dict:
    """The card of a model's directory, without its own hash. Raises InputError when there is none, or it is damaged."""
    path = Path(directory) / CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = "give the directory of a trained model"
        raise InputError(path, "is no model card (it does not exist)", remedy) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(path, f"is no model card ({error})", _again(directory)) from None
    if not isinstance(card, dict) or not isinstance(card.get("architecture", {}), dict):
        raise InputError(path, "is no model card (no JSON object)", _again(directory))
    known = card.pop(SEAL, None)
    if known is None:
        raise InputError(path, "holds no hash of itself: another version wrote it", _again(directory))
    if known != _digest(card):
        raise InputError(path, "is not as it was written: it is damaged or edited", _again(directory))
    return card


def load_weights(directory: Path, module: nn.Module, card: dict) -> None:
    """Fill `module` from a model's directory. Raises InputError when file, card and architecture do not agree."""
    tensors = weights_of(directory, card)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise InputError(
            Path(directory) / WEIGHTS,
            f"belongs to another architecture than its card.json says ({reason})",
            "use a card and weights that were written together",
        ) from None


def weights_of(directory: Path, card: dict) -> dict[str, Tensor]:
    """The tensors that a card is of. Raises InputError when the file is another, or damaged."""
    return load_tensors(_verified(Path(directory) / WEIGHTS, card.get("weights_sha256")), _again(directory))


def pretrained_file(directory: Path, name: str) -> Path:
    """The file `vgg16` or `clip_text` of `method.pretrained`. Raises InputError when it is another or damaged."""
    return _verified(Path(directory) / f"{name}.safetensors", load_card(directory).get("sha256", {}).get(name))


def _verified(path: Path, known: str | None) -> Path:
    try:
        found = sha256(path)
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", _again(path.parent)) from None
    if found != known:
        raise InputError(path, "is not the file its card.json describes (another SHA-256)", _again(path.parent))
    return path


def _again(directory: Path) -> str:
    return f"delete {directory} and run again: {rule_of(directory)} remakes it (of a copy, copy all of it again)"


def _digest(card: dict) -> str:
    """SHA-256 of a card's content, whatever the layout of its file."""
    return hashlib.sha256(json.dumps(json.loads(json.dumps(card)), sort_keys=True).encode()).hexdigest()
