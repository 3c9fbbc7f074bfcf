"""Pretrained weights the method leans on: VGG-16 for LPIPS, CLIP's text tower for the prompts.

    python -m universal_diffusion.method.pretrained --settings JSON --study-seed N --output DIR

writes `vgg16.safetensors` (torchvision's `features`), `clip_text.safetensors` ((29, 512) text features of the prompts)
and `card.json`, which says where they came from. The downloads are torchvision's and OpenAI's own files, checked by
hash; "untrained" takes the same architectures with seeded random weights instead, and the card says so.
"""

import argparse
from pathlib import Path

import open_clip
import pooch
import torch
from torch import Tensor, nn
from torchvision.models import vgg16

from universal_diffusion.errors import InputError, one_line_errors
from universal_diffusion.files import sha256, write_json
from universal_diffusion.method.weights import load_tensors, save_tensors
from universal_diffusion.randomness import seed_of
from universal_diffusion.settings import Weights, read_json
from universal_diffusion.targets import all_targets

CLIP_ARCHITECTURE = "ViT-B-32-quickgelu"
VGG16_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
VGG16_HASH_PREFIX = "397923af"
CLIP_SHA256 = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
CLIP_CONSTANTS = {"input_resolution", "context_length", "vocab_size"}  # buffers of the archive, no weights
CLIP_URL = f"https://openaipublic.azureedge.net/clip/models/{CLIP_SHA256}/ViT-B-32.pt"


def vgg16_features(settings: Weights, study_seed: int, downloads: Path) -> tuple[nn.Module, str]:
    """torchvision's VGG-16 and a sentence on where its weights are from."""
    if settings.origin == "untrained":
        torch.manual_seed(seed_of(study_seed, "vgg16"))
        return vgg16(weights=None), "untrained VGG-16 with seeded random weights"
    network = vgg16(weights=None)
    path = _file(settings.vgg16, settings.origin, VGG16_URL, None, downloads)
    if settings.origin == "download" and not sha256(path).startswith(VGG16_HASH_PREFIX):
        raise InputError(path, f"its SHA-256 does not start with {VGG16_HASH_PREFIX}", "delete it and run again")
    network.load_state_dict(_state(path))
    return network, f"torchvision vgg16 from {path.name}, sha256 {sha256(path)}"


def clip_text_features(settings: Weights, study_seed: int, downloads: Path) -> tuple[Tensor, str]:
    """(29, 512) unit-norm text features of the targets' prompts, and a sentence on where the weights are from."""
    if settings.origin == "untrained":
        torch.manual_seed(seed_of(study_seed, "clip"))
        model = open_clip.create_model(CLIP_ARCHITECTURE)
        note = f"untrained {CLIP_ARCHITECTURE} with seeded random weights"
    else:
        path = _file(settings.clip, settings.origin, CLIP_URL, f"sha256:{CLIP_SHA256}", downloads)
        model = open_clip.create_model(CLIP_ARCHITECTURE)
        model.load_state_dict(_clip_state(path))
        note = f"OpenAI {CLIP_ARCHITECTURE} from {path.name}, sha256 {sha256(path)}"
    tokens = open_clip.get_tokenizer(CLIP_ARCHITECTURE)([target.prompt for target in all_targets()])
    with torch.no_grad():
        return model.eval().encode_text(tokens, normalize=True), note


def _file(local: str | None, origin: str, url: str, known_hash: str | None, downloads: Path) -> Path:
    if origin == "download":
        name = url.rsplit("/", 1)[1]
        try:
            return Path(pooch.retrieve(url, known_hash, path=downloads, fname=name, progressbar=True))
        except (OSError, ValueError) as error:
            raise InputError(
                url,
                f"cannot be downloaded ({error})",
                "try again, or set weights.origin to local and give a copy's path",
            ) from None
    if local is None or not Path(local).is_file():
        raise InputError("configuration.weights", f"names no file ({local})", f"give the path of a copy of {url}")
    return Path(local)


def _state(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_tensors(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _clip_state(path: Path) -> dict[str, Tensor]:
    """Weights of OpenAI's TorchScript archive, or of a safetensors file with the same names."""
    if path.suffix == ".safetensors":
        return load_tensors(path)
    try:
        state = torch.jit.load(path, map_location="cpu").state_dict()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(path, f"is no TorchScript archive of CLIP ({reason})", f"give a copy of {CLIP_URL}") from None
    return {name: tensor.float() for name, tensor in state.items() if name not in CLIP_CONSTANTS}


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
    write_json(output / "card.json", {"vgg16": vgg_note, "clip": clip_note, "sha256": hashes})


if __name__ == "__main__":
    main()
