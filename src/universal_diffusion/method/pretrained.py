"""Pretrained weights the method leans on: VGG-16 for LPIPS, CLIP's text tower for the prompts.

    python -m universal_diffusion.method.pretrained --settings JSON --study-seed N --output DIR

writes `vgg16.safetensors` (torchvision's `features`), `clip_text.safetensors` ((29, 512) text features of the prompts)
and `card.json`, which says where they came from. The downloads are torchvision's and OpenAI's own files, checked by
hash; "local" takes those files, or safetensors with the names of their tensors, from a path, checked by the hash that
the configuration gives, if any; "untrained" takes the same architectures with seeded random weights instead, and the
card says so.

torchvision publishes a pickle. torch's `weights_only` reader takes tensors out of it, runs nothing that it holds and
refuses anything else. OpenAI publishes a TorchScript archive, and loading one runs code that it may hold: a local one
is loaded only if it has OpenAI's hash, or the one that the configuration gives. What the study keeps and loads from
here on is safetensors.
"""

import argparse
import pickle
from dataclasses import dataclass
from pathlib import Path

import open_clip
import pooch
import torch
from torch import Tensor, nn
from torchvision.models import vgg16

from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.files import sha256
from universal_diffusion.method.weights import load_tensors, save_tensors, write_card
from universal_diffusion.randomness import seed_of
from universal_diffusion.settings import Weights, read_json
from universal_diffusion.targets import all_targets

CLIP_ARCHITECTURE = "ViT-B-32-quickgelu"
CLIP_CONSTANTS = {"input_resolution", "context_length", "vocab_size"}  # buffers of the archive, no weights


@dataclass(frozen=True)
class Published:
    """A file of weights as its owner publishes it."""

    url: str
    sha256: str


VGG16 = Published(
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
)
CLIP = Published(
    "https://openaipublic.azureedge.net/clip/models/"
    "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt",
    "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
)


def vgg16_features(settings: Weights, study_seed: int, downloads: Path) -> tuple[nn.Module, str]:
    """torchvision's VGG-16, of which `features` hold the weights asked for, and a sentence on where they are from.

    Raises InputError when the file cannot be had, is not the one expected, or holds other tensors.
    """
    if settings.origin == "untrained":
        torch.manual_seed(seed_of(study_seed, "vgg16"))
        return vgg16(weights=None), "untrained VGG-16 with seeded random weights"
    path = _file(VGG16, settings.origin, settings.vgg16, settings.vgg16_sha256, downloads)
    prefix, published = "features.", _vgg16_state(path)
    state = {name.removeprefix(prefix): published[name] for name in published if name.startswith(prefix)}
    network = vgg16(weights=None)
    _fill(network.features, state, path, VGG16)
    return network, f"torchvision vgg16 from {path.name}, sha256 {sha256(path)}"


def clip_text_features(settings: Weights, study_seed: int, downloads: Path) -> tuple[Tensor, str]:
    """(29, 512) unit-norm text features of the targets' prompts, and a sentence on where the weights are from.

    Raises InputError when the file cannot be had, is not the one expected, or holds other tensors.
    """
    if settings.origin == "untrained":
        torch.manual_seed(seed_of(study_seed, "clip"))
        model = open_clip.create_model(CLIP_ARCHITECTURE)
        note = f"untrained {CLIP_ARCHITECTURE} with seeded random weights"
    else:
        path = _file(CLIP, settings.origin, settings.clip, settings.clip_sha256, downloads)
        model = open_clip.create_model(CLIP_ARCHITECTURE)
        _fill(model, _clip_state(path, settings.clip_sha256), path, CLIP)
        note = f"OpenAI {CLIP_ARCHITECTURE} from {path.name}, sha256 {sha256(path)}"
    tokens = open_clip.get_tokenizer(CLIP_ARCHITECTURE)([target.prompt for target in all_targets()])
    with torch.no_grad():
        return model.eval().encode_text(tokens, normalize=True), note


def _file(published: Published, origin: str, local: str | None, local_sha256: str | None, downloads: Path) -> Path:
    if origin == "download":
        name = published.url.rsplit("/", 1)[1]
        try:
            known = f"sha256:{published.sha256}"
            return Path(pooch.retrieve(published.url, known, path=downloads, fname=name, progressbar=True))
        except (OSError, ValueError) as error:
            raise InputError(
                published.url,
                f"cannot be downloaded ({error})",
                "try again, or set weights.origin to local and give a copy's path",
            ) from None
    remedy = f"give the path of a copy of {published.url}"
    if local is None or not Path(local).is_file():
        raise InputError("configuration.weights", f"names no file ({local})", remedy)
    if local_sha256 is not None and (found := sha256(local)) != local_sha256.lower():
        raise InputError(local, f"its SHA-256 is {found}, expected {local_sha256}", remedy)
    return Path(local)


def _vgg16_state(path: Path) -> dict[str, Tensor]:
    """Weights of torchvision's file, or of a safetensors file with the same names."""
    if path.suffix == ".safetensors":
        return load_tensors(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise _no_weights(path, str(error).partition("\n")[0] or "it is empty", VGG16) from None
    if not isinstance(state, dict):
        raise _no_weights(path, f"a {type(state).__name__}", VGG16)
    return state


def _clip_state(path: Path, trusted: str | None) -> dict[str, Tensor]:
    """Weights of OpenAI's TorchScript archive (or one of the `trusted` hash), or of safetensors with the same names."""
    if path.suffix == ".safetensors":
        return load_tensors(path)
    if (found := sha256(path)) not in (CLIP.sha256, (trusted or "").lower()):
        problem = f"is a TorchScript archive, which can run code when it is loaded, and not OpenAI's ({found})"
        remedy = f"give a copy of {CLIP.url}, safetensors, or weights.clip_sha256 if you trust this file"
        raise InputError(path, problem, remedy)
    try:
        state = torch.jit.load(path, map_location="cpu").state_dict()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(path, f"is no TorchScript archive of CLIP ({reason})", f"give a copy of {CLIP.url}") from None
    return {name: tensor.float() for name, tensor in state.items() if name not in CLIP_CONSTANTS}


def _fill(network: nn.Module, state: dict[str, Tensor], path: Path, published: Published) -> None:
    wanted = network.state_dict()
    wrong = sorted(wanted.keys() ^ state.keys()) + sorted(
        name for name in wanted.keys() & state.keys() if wanted[name].shape != state[name].shape
    )
    if wrong:
        raise _no_weights(path, f"{len(wrong)} tensors are missing, too many or misshapen: {wrong[0]}, ...", published)
    network.load_state_dict(state)


def _no_weights(path: Path, reason: str, published: Published) -> InputError:
    return InputError(path, f"does not hold the weights expected ({reason})", f"give a copy of {published.url}")


@one_line_errors
def main() -> None:
    """Write the weights that the study's `weights` section asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", required=True, help="JSON of the section `weights`")
    parser.add_argument("--study-seed", type=int, required=True, help="seeds the untrained weights")
    parser.add_argument("--output", type=Path, required=True, help="directory for the weights and their card")
    arguments = parser.parse_args()
    settings = read_json(Weights, arguments.settings, "configuration.weights")
    output = arguments.output
    vgg, vgg_note = vgg16_features(settings, arguments.study_seed, output)
    save_tensors(output / "vgg16.safetensors", vgg.features.state_dict())
    features, clip_note = clip_text_features(settings, arguments.study_seed, output)
    save_tensors(output / "clip_text.safetensors", {"features": features})
    hashes = {name: sha256(output / f"{name}.safetensors") for name in ("vgg16", "clip_text")}
    write_card(output, {"vgg16": vgg_note, "clip": clip_note, "sha256": hashes})


if __name__ == "__main__":
    main()
