"""What a study may be configured with: frozen dataclasses, and a strict reader that fills them.

The dataclasses are the only list of permitted keys. `read` turns a mapping (parsed YAML or JSON) into one of them and
stops at the first unknown key, missing key or wrong type with the key's full path and what is allowed.
"""

import difflib
import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from universal_diffusion.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """Where one archive of `datasets/catalogue.yaml`, or one own dataset, comes from and what it is for.

    Attributes:
        origin: "phantom" (written by the embedded generator), "local" (a file or folder that is there) or "download".
        role: "train" (split into training and validation cases) or "test" (never trained on).
        path: for "local": the file or folder holding the native archive, relative to `data_root`.
        cases: for "local": only these cases of it (all when empty).
        mirrored: cases whose header takes the patient's right for left, which `datasets/mirror.py` turns round.
    """

    origin: Literal["phantom", "local", "download"]
    role: Literal["train", "test"]
    path: str | None = None
    cases: tuple[str, ...] = ()
    mirrored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Phantom:
    """The embedded cohort: in-plane matrix of its scans, range of slice spacing, and the number of cases per source."""

    matrix: int
    slice_spacing_mm: tuple[float, float]
    cases: dict[str, int]


@dataclass(frozen=True)
class Preparation:
    """Harmonised volumes (paper, section 3.1), and the edge of the square patches drawn from them, in voxels."""

    spacing_mm: tuple[float, float, float]
    hu_window: tuple[float, float]
    patch: int


@dataclass(frozen=True)
class Patches:
    """Sampling of training patches: `per_case` patches of one case, containing the target with `target_probability`."""

    per_case: int
    target_probability: float


@dataclass(frozen=True)
class Training:
    """One training run.

    Attributes:
        batch: patches per step.
        warmup: steps over which the learning rate rises linearly.
        decay: "cosine" lets the learning rate fall to zero at the last step, "none" keeps it.
        ema_decay: of the averaged weights that are evaluated; 0 keeps the last weights.
        checkpoint_minutes: time between checkpoints that an interrupted run goes on from.
        devices: processes, one per GPU, that share each batch on one machine; torchrun or SLURM's srun overrule it.
        micro_batch: patches that a process computes at once (all of its share if null); their gradients add up.
        compile: let torch.compile make the network's kernels.
    """

    steps: int
    batch: int
    learning_rate: float
    warmup: int
    decay: Literal["none", "cosine"]
    weight_decay: float
    ema_decay: float
    gradient_clip: float
    validate_every: int
    checkpoint_minutes: float
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    devices: int = 1
    micro_batch: int | None = None
    compile: bool = False


@dataclass(frozen=True)
class MaskAutoencoder:
    """The vanilla auto-encoder of eqs. 1-3; `channels` per scale, so the factor f is 2 ** (len(channels) - 1)."""

    channels: tuple[int, ...]
    latent_channels: int
    residual_blocks: int
    training: Training

    def coarser(self) -> "MaskAutoencoder":
        """The same with twice the factor: its last width once more, as latent-diffusion goes from f = 4 to f = 8."""
        return replace(self, channels=(*self.channels, self.channels[-1]))


@dataclass(frozen=True)
class ImageAutoencoder:
    """The variational auto-encoder of eqs. 4-5, with the weights alpha (LPIPS) and beta (KL).

    Attributes:
        perceptual_weight: alpha; LPIPS is averaged over the batch.
        kl_weight: beta; KL summed over the latent, averaged over the batch, divided by the number of image pixels.
    """

    channels: tuple[int, ...]
    latent_channels: int
    residual_blocks: int
    perceptual_weight: float
    kl_weight: float
    training: Training


@dataclass(frozen=True)
class Denoiser:
    """The U-Net and its class-aware image encoder: channels and blocks per scale, attention at scales (0 = finest)."""

    channels: tuple[int, ...]
    residual_blocks: int
    attention_scales: tuple[int, ...]
    embedding_channels: int
    training: Training


@dataclass(frozen=True)
class Diffusion:
    """The forward process and its training (section 2.2).

    Attributes:
        timesteps: T.
        schedule: "cosine" (Nichol & Dhariwal 2021) or "linear" (Ho et al. 2020).
        history: losses kept per step by the second-moment step sampler.
        uniform_probability: share of steps that it draws uniformly.
    """

    timesteps: int
    schedule: Literal["cosine", "linear"]
    history: int
    uniform_probability: float


@dataclass(frozen=True)
class Weights:
    """Pretrained weights: "download" them, take the "local" files named here, or do with "untrained" seeded ones.

    Attributes:
        vgg16: for "local": torchvision's `vgg16-*.pth`, or safetensors with the names of its tensors.
        clip: for "local": OpenAI's `ViT-B-32.pt`, or safetensors with the names of its tensors.
        vgg16_sha256, clip_sha256: for "local": the hash that the file must have; with null the card just names it.
    """

    origin: Literal["untrained", "download", "local"]
    vgg16: str | None = None
    clip: str | None = None
    vgg16_sha256: str | None = None
    clip_sha256: str | None = None


@dataclass(frozen=True)
class Gate:
    """A cheap look, one step and one sample on coarse slices, that drops what holds nothing of a target.

    Attributes:
        every: axial slices from one that is looked at to the next.
        threshold: lowest probability that counts as a find.
        margin_mm: in-plane dilation of what was found; along z it reaches the neighbouring slices looked at.
    """

    every: int
    threshold: float
    margin_mm: float


@dataclass(frozen=True)
class Segmentation:
    """Sampling of a volume: `sampler` with `steps` and `eta`, an `ensemble` of samples, windows `overlap`ping.

    Attributes:
        batch: windows, each of one sample of one target, that a network sees at once; measured on the device if null.
        precision: "bf16-mixed" runs the networks in bfloat16 where that is safe; latents and maps are float32 always.
        gate: what is sampled at all; everything that holds body if null.
        warm_start: step of the full process to which the gate's estimate is noised and from which sampling starts;
            from pure noise at the last step if null.
    """

    sampler: Literal["ddim", "ancestral"]
    steps: int
    eta: float
    ensemble: int
    overlap: float
    batch: int | None = None
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    gate: Gate | None = None
    warm_start: int | None = None


@dataclass(frozen=True)
class Sweep:
    """What sampling buys: Dice on a few `cases` with every number of `steps` and each of the `ensembles`."""

    steps: tuple[int, ...]
    ensembles: tuple[int, ...]
    cases: int


@dataclass(frozen=True)
class Baseline:
    """The discriminative networks of Table 3 that are trained here on the same split."""

    segresnet_filters: int
    training: Training


@dataclass(frozen=True)
class Study:
    """A whole study, as `config/*.yaml` spells it.

    Attributes:
        study: its name; everything it makes goes under `results/<study>/`.
        cohort: what every caption says the numbers were measured on.
        threads: CPU threads of every training and sampling job (fixed, because sums depend on it).
        shards: jobs that share the harmonisation of a source, and the segmentation by a system.
        validation_fraction: share of the patients of each `train` source that is held out.
        leakage: "drop" the scans of test patients that `train` sources hold, or "keep" and train on them.
        data_root: the folder that the `local` sources' paths start from, and that downloads are kept in.
        phantom: the embedded cohort, where a source has that origin.
    """

    study: str
    cohort: str
    seed: int
    threads: int
    shards: int
    validation_fraction: float
    leakage: Literal["drop", "keep"]
    sources: dict[str, Source]
    preparation: Preparation
    patches: Patches
    weights: Weights
    mask_autoencoder: MaskAutoencoder
    image_autoencoder: ImageAutoencoder
    denoiser: Denoiser
    diffusion: Diffusion
    segmentation: Segmentation
    sweep: Sweep
    baseline: Baseline
    data_root: str = "."
    phantom: Phantom | None = None


def read(kind: type[T], content: Any, where: str = "configuration") -> T:
    """Fill the dataclass `kind` from a mapping. Raises InputError naming the key and what is allowed."""
    if not isinstance(content, Mapping):
        raise InputError(where, f"is {content!r}, not a section with keys", f"give {_names(kind)}")
    known = {field.name: field for field in fields(kind)}
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"{where}.{key}", "is not a known key", f"{hint}allowed here: {_names(kind)}")
    hints = get_type_hints(kind)
    values = {}
    for name, field in known.items():
        if name in content:
            values[name] = _value(hints[name], content[name], f"{where}.{name}")
        elif field.default is MISSING:
            raise InputError(f"{where}.{name}", "is missing", f"expected {_describe(hints[name])}")
    return kind(**values)


def read_json(kind: type[T], text: str, where: str) -> T:
    """`read` from the JSON text that a rule passes on its command line. Raises InputError for text that is no JSON."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(where, f"is no JSON ({error})", f"give an object with {_names(kind)}") from None
    return read(kind, content, where)


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return read(hint, value, where)
    if origin in (Union, types.UnionType):
        return None if value is None else _value(next(a for a in args if a is not type(None)), value, where)
    if origin is Literal and value in args:
        return value
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _value(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(kinds) == len(value):
            return tuple(_value(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise InputError(where, f"is {value!r}", f"expected {_describe(hint)}")


def _names(kind: type) -> str:
    return ", ".join(field.name for field in fields(kind))


def _describe(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return f"a section with {_names(hint)}"
    if origin is Literal:
        return "one of " + ", ".join(map(str, args))
    if origin in (Union, types.UnionType):
        return " or ".join("null" if a is type(None) else _describe(a) for a in args)
    if origin is tuple:
        return f"a list of {_describe(args[0])}" if args[-1] is Ellipsis else f"a list of {len(args)} values"
    if origin is dict:
        return f"a section whose values are {_describe(args[1])}"
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[hint]
