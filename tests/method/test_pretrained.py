"""Pretrained weights: what CLIP's and torchvision's files give, and what becomes of a wrong one."""

import hashlib
import http.server
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import vgg16

from universal_diffusion.errors import InputError
from universal_diffusion.files import sha256
from universal_diffusion.method import pretrained
from universal_diffusion.method.pretrained import Published
from universal_diffusion.settings import Weights
from universal_diffusion.targets import all_targets


class Archive(nn.Module):
    """Something that TorchScript can store; weights are hung below it under OpenAI's dotted names."""

    def forward(self, x: torch.Tensor):
        return x


class Part(nn.Module):
    """A name on the way to a weight."""


def archive(path: Path, state: dict[str, torch.Tensor]) -> Path:
    """`state` as OpenAI publish theirs: a TorchScript archive in half precision with three constants."""
    root = Archive()
    for name, tensor in state.items():
        *parts, leaf = name.split(".")
        at = root
        for part in parts:
            if part not in at._modules:
                at.add_module(part, Part())
            at = at._modules[part]
        at.register_parameter(leaf, nn.Parameter(tensor.half(), requires_grad=False))
    for name in pretrained.CLIP_CONSTANTS:
        root.register_buffer(name, torch.tensor(77))
    torch.jit.script(root).save(path)
    return path


@pytest.fixture(scope="module")
def vgg_state() -> dict[str, torch.Tensor]:
    """The names of torchvision's file; what is not `features` is cut short, for nothing reads it."""
    torch.manual_seed(3)
    features = vgg16(weights=None).features.state_dict()
    return {f"features.{name}": tensor for name, tensor in features.items()} | {"classifier.6.bias": torch.zeros(1000)}


@pytest.fixture
def serve() -> Iterator[Callable[[str, bytes, int], str]]:
    """Serves bytes on the loopback interface under a name; with `announced`, as if there were more of them."""
    pages: dict[str, tuple[bytes, int]] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content, announced = pages[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(announced))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def page(name: str, content: bytes, announced: int | None = None) -> str:
        pages[f"/{name}"] = content, announced or len(content)
        return f"http://127.0.0.1:{server.server_port}/{name}"

    yield page
    server.shutdown()
    server.server_close()


def local(**paths: object) -> Weights:
    return Weights(origin="local", **{name: str(path) for name, path in paths.items()})


def test_a_whole_clip_archive_gives_the_features_of_its_weights_for_the_29_prompts(tmp_path):
    """ViT-B/32 at its real size with seeded weights, in OpenAI's layout."""
    torch.manual_seed(1)
    model = open_clip.create_model(pretrained.CLIP_ARCHITECTURE).eval().requires_grad_(False)
    path = archive(tmp_path / "ViT-B-32.pt", model.state_dict())
    for parameter in model.parameters():
        parameter.copy_(parameter.half())
    features, note = pretrained.clip_text_features(local(clip=path, clip_sha256=sha256(path)), 7, tmp_path)
    some = [0, 13, 28]
    prompts = [f"A computerized tomography of a {all_targets()[i].name}" for i in some]
    tokens = open_clip.get_tokenizer(pretrained.CLIP_ARCHITECTURE)(prompts)
    expected = model.encode_text(tokens)
    assert features.shape == (29, 512)
    assert torch.allclose(features[some], expected / expected.norm(dim=1, keepdim=True), atol=1e-5)
    assert torch.allclose(features.norm(dim=1), torch.ones(29), atol=1e-5)
    assert len(features.unique(dim=0)) == 29
    assert note == f"OpenAI ViT-B-32-quickgelu from ViT-B-32.pt, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_an_archive_of_another_architecture_is_refused(tmp_path):
    path = archive(tmp_path / "RN50.pt", {"visual.conv1.weight": torch.zeros(32, 3, 3, 3)})
    with pytest.raises(
        InputError, match=r"does not hold the weights expected \(302 tensors .*: ln_final.bias, \.\.\.\)"
    ):
        pretrained.clip_text_features(local(clip=path, clip_sha256=sha256(path)), 1, tmp_path)


def test_clip_weights_come_in_single_precision_without_the_archives_constants(tmp_path):
    path = archive(tmp_path / "ViT-B-32.pt", {"logit_scale": torch.tensor(2.5)})
    state = pretrained._clip_state(path, sha256(path))
    assert state.keys() == {"logit_scale"}
    assert (state["logit_scale"].dtype, state["logit_scale"].item()) == (torch.float32, 2.5)
    save_file(state, tmp_path / "clip.safetensors")
    assert pretrained._clip_state(tmp_path / "clip.safetensors", None) == state


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_vgg_weights_come_from_torchvisions_file_or_from_safetensors(kind, vgg_state, tmp_path):
    path = tmp_path / f"vgg16.{kind}"
    (torch.save if kind == "pth" else save_file)(vgg_state, path)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    network, note = pretrained.vgg16_features(local(vgg16=path, vgg16_sha256=right.upper()), 1, tmp_path)
    for name, tensor in network.features.state_dict().items():
        assert torch.equal(tensor, vgg_state[f"features.{name}"])
    assert note == f"torchvision vgg16 from vgg16.{kind}, sha256 {right}"


def test_a_local_file_of_another_hash_is_refused_with_both_hashes(tmp_path):
    path = tmp_path / "vgg16.pth"
    path.write_bytes(b"other weights")
    found, expected = hashlib.sha256(b"other weights").hexdigest(), "39" * 32
    for network, read in (("vgg16", pretrained.vgg16_features), ("clip", pretrained.clip_text_features)):
        with pytest.raises(InputError, match=f"its SHA-256 is {found}, expected {expected}") as error:
            read(local(**{network: path, f"{network}_sha256": expected}), 1, tmp_path)
        assert "\n" not in str(error.value)


class Trap:
    """What would make a file on being unpickled."""

    def __init__(self, made: Path):
        self.made = made

    def __reduce__(self):
        return Path.touch, (self.made,)


@pytest.mark.parametrize("content", ["trap", "page", "empty", "cut", "number", "other names"])
def test_a_file_that_holds_no_vgg_is_refused_in_one_line_and_nothing_in_it_runs(content, vgg_state, tmp_path):
    path, made = tmp_path / "vgg16.pth", tmp_path / "made"
    if content == "trap":
        path.write_bytes(pickle.dumps({"features.0.weight": Trap(made)}, protocol=2))
    elif content in ("page", "empty"):
        path.write_bytes(b"<html>" if content == "page" else b"")
    elif content == "cut":
        torch.save(vgg_state, path)
        path.write_bytes(path.read_bytes()[:100_000])
    else:
        torch.save(3 if content == "number" else {"layer1.weight": torch.zeros(3)}, path)
    with pytest.raises(
        InputError, match=r"does not hold the weights expected.*give a copy of https://download"
    ) as error:
        pretrained.vgg16_features(local(vgg16=path), 1, tmp_path)
    assert "\n" not in str(error.value)
    assert not made.exists()


@pytest.mark.parametrize("content", ["page", "empty", "cut", "trap"])
def test_a_file_that_is_no_archive_is_refused_in_one_line_and_nothing_in_it_runs(content, tmp_path):
    path, made = tmp_path / "ViT-B-32.pt", tmp_path / "made"
    archive(path, {"logit_scale": torch.zeros(1000)})
    contents = {"page": b"<html>", "empty": b"", "cut": path.read_bytes()[:-100], "trap": pickle.dumps(Trap(made))}
    path.write_bytes(contents[content])
    with pytest.raises(InputError, match="is no TorchScript archive of CLIP") as error:
        pretrained._clip_state(path, sha256(path))
    assert "\n" not in str(error.value)
    assert not made.exists()


def test_missing_local_file_is_named_with_its_origin(tmp_path):
    with pytest.raises(InputError, match=r"vgg16.*\.pth.*give the path of a copy of https://download\.pytorch\.org"):
        pretrained.vgg16_features(local(vgg16=tmp_path / "vgg16.pth"), 1, tmp_path)


def test_a_download_is_checked_by_its_hash_and_kept(serve, vgg_state, tmp_path, monkeypatch):
    torch.save(vgg_state, tmp_path / "served.pth")
    content = (tmp_path / "served.pth").read_bytes()
    url = serve("vgg16-397923af.pth", content)
    monkeypatch.setattr(pretrained, "VGG16", Published(url, hashlib.sha256(content).hexdigest()))
    network, _ = pretrained.vgg16_features(Weights(origin="download"), 1, tmp_path)
    assert torch.equal(network.features[0].weight, vgg_state["features.0.weight"])
    assert (tmp_path / "vgg16-397923af.pth").read_bytes() == content


@pytest.mark.parametrize("which", ["VGG16", "CLIP"])
def test_a_download_of_another_hash_is_refused_with_both_hashes_and_not_kept(which, serve, tmp_path, monkeypatch):
    published = getattr(pretrained, which)
    name = published.url.rsplit("/", 1)[1]
    monkeypatch.setattr(pretrained, which, Published(serve(name, b"other weights"), published.sha256))
    found = hashlib.sha256(b"other weights").hexdigest()
    read = pretrained.vgg16_features if which == "VGG16" else pretrained.clip_text_features
    with pytest.raises(InputError, match=rf"cannot be downloaded.*{published.sha256}.*{found}") as error:
        read(Weights(origin="download"), 1, tmp_path)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_breaks_off_is_told_and_not_kept(serve, tmp_path, monkeypatch):
    url = serve("vgg16-397923af.pth", b"half of it", announced=20)
    monkeypatch.setattr(pretrained, "VGG16", Published(url, "00"))
    with pytest.raises(InputError, match="cannot be downloaded"):
        pretrained.vgg16_features(Weights(origin="download"), 1, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "VGG16", Published("http://127.0.0.1:9/vgg16-397923af.pth", "00"))
    with pytest.raises(InputError, match="cannot be downloaded"):
        pretrained.vgg16_features(Weights(origin="download"), 1, tmp_path)


def test_the_published_files_are_the_ones_their_names_tell_the_hashes_of():
    """torchvision puts the hash's first eight digits into the name, OpenAI the whole of it into the path."""
    assert re.search(r"vgg16-(\w{8})\.pth", pretrained.VGG16.url)[1] == pretrained.VGG16.sha256[:8]
    assert pretrained.CLIP.url.split("/")[-2] == pretrained.CLIP.sha256


def test_prompts_are_those_of_clip_driven_with_the_spellings_corrected():
    """Its embedded names hold "Arota", and "Postcava" and "Gall Bladder" for what anatomy calls otherwise."""
    named = {target.name: target.prompt for target in all_targets()}
    for name in ("aorta", "inferior vena cava", "gallbladder", "left head of femur", "portal vein and splenic vein"):
        assert named[name] == f"A computerized tomography of a {name}"
    assert not any(
        wrong in " ".join(named.values()).lower() for wrong in ("arota", "truck", "postcava", "gall bladder")
    )
    assert len(set(named.values())) == 29
