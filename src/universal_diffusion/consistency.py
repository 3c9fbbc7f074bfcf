"""Whether the values of a configuration can be used at all and fit together, told before any job starts."""

import math
import re
from dataclasses import fields, is_dataclass

from universal_diffusion.errors import InputError
from universal_diffusion.settings import Study

NORM_GROUPS = 8  # of every group normalisation
POSITIVE = {
    *("threads", "shards", "matrix", "slice_spacing_mm", "spacing_mm", "patch", "per_case", "channels"),
    *("latent_channels", "residual_blocks", "embedding_channels", "segresnet_filters"),
    *("steps", "batch", "learning_rate", "gradient_clip", "validate_every", "timesteps", "history", "ensemble"),
    *("devices", "micro_batch", "every", "ensembles"),
}
FRACTIONS = {
    *("validation_fraction", "target_probability", "uniform_probability", "ema_decay", "eta", "overlap", "threshold"),
}


def check(study: Study) -> None:
    """Raise InputError, naming the key, for the first value that no step could use."""
    _check_values(study, "configuration")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", study.study):
        remedy = "give letters, digits, _, - and . (it names a folder below results, and stands in shell commands)"
        raise InputError("configuration.study", f"is {study.study!r}", remedy)
    low, high = study.preparation.hu_window
    if not low < high:
        raise InputError("configuration.preparation.hu_window", f"is [{low:g}, {high:g}]", "give [lower, higher]")
    if study.segmentation.steps > study.diffusion.timesteps:
        raise InputError(
            "configuration.segmentation.steps",
            f"is {study.segmentation.steps}",
            f"give at most diffusion.timesteps, {study.diffusion.timesteps}",
        )
    if study.segmentation.overlap == 1:
        raise InputError("configuration.segmentation.overlap", "is 1", "give less: windows must move on")
    _check_warm_start(study)
    _check_sweep(study)
    _check_networks(study)
    _check_devices(study)
    _check_weights(study)


def _check_warm_start(study: Study) -> None:
    sampling, key = study.segmentation, "configuration.segmentation.warm_start"
    if sampling.warm_start is None:
        return
    if sampling.gate is None:
        raise InputError(key, "is given without a gate, whose estimate it starts from", "give segmentation.gate too")
    if not sampling.steps <= sampling.warm_start + 1 <= study.diffusion.timesteps:
        raise InputError(
            key,
            f"is {sampling.warm_start}",
            f"give {sampling.steps - 1} (segmentation.steps - 1) to {study.diffusion.timesteps - 1}",
        )


def _check_sweep(study: Study) -> None:
    if study.sweep.cases <= 0:
        raise InputError("configuration.sweep.cases", f"is {study.sweep.cases}", "give more than 0")
    for key in ("steps", "ensembles"):
        if not getattr(study.sweep, key):
            raise InputError(f"configuration.sweep.{key}", "is empty", "give one number or more")


def _check_values(section: object, where: str) -> None:
    for field in fields(section):
        value, key = getattr(section, field.name), f"{where}.{field.name}"
        if is_dataclass(value):
            _check_values(value, key)
            continue
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise InputError(key, f"is {value}", "give a finite number")
            if field.name in POSITIVE and number is not None and number <= 0:
                raise InputError(key, f"is {value}", "give more than 0")
            if field.name in FRACTIONS and not 0 <= number <= 1:
                raise InputError(key, f"is {value}", "give 0 to 1")


def _check_networks(study: Study) -> None:
    networks = {name: getattr(study, name) for name in ("mask_autoencoder", "image_autoencoder", "denoiser")}
    for name, network in networks.items():
        for width in network.channels:
            if width % NORM_GROUPS:
                raise InputError(f"configuration.{name}.channels", f"holds {width}", f"give multiples of {NORM_GROUPS}")
    masks, images, denoiser = networks.values()
    if len(masks.channels) != len(images.channels):
        raise InputError(
            "configuration.image_autoencoder.channels",
            f"has {len(images.channels)} scales, the mask auto-encoder {len(masks.channels)}",
            "give both as many: their latents must be of one size",
        )
    if not set(denoiser.attention_scales) <= set(range(len(denoiser.channels))):
        raise InputError(
            "configuration.denoiser.attention_scales",
            f"is {list(denoiser.attention_scales)}",
            f"give scales from 0 to {len(denoiser.channels) - 1}",
        )
    halvings = len(masks.channels) + max(len(denoiser.channels) - 2, 0)  # at least those of the coarser auto-encoder
    if study.preparation.patch % 2**halvings:
        raise InputError(
            "configuration.preparation.patch",
            f"is {study.preparation.patch}, which auto-encoder and denoiser cannot halve {halvings} times",
            f"give a multiple of {2**halvings}",
        )


def _check_devices(study: Study) -> None:
    for name in ("mask_autoencoder", "image_autoencoder", "denoiser", "baseline"):
        training = getattr(study, name).training
        if training.batch % training.devices:
            raise InputError(
                f"configuration.{name}.training.devices",
                f"is {training.devices}, which cannot share a batch of {training.batch} evenly",
                "give a number that divides the batch",
            )


def _check_weights(study: Study) -> None:
    for name in ("vgg16", "clip"):
        given, local = getattr(study.weights, name) is not None, study.weights.origin == "local"
        if given != local:
            raise InputError(
                f"configuration.weights.{name}",
                "is given" if given else "is missing",
                f"with origin {study.weights.origin} {'a path is needed' if local else 'no path is used'}",
            )
        if getattr(study.weights, f"{name}_sha256") is not None and not local:
            raise InputError(
                f"configuration.weights.{name}_sha256",
                "is given",
                f"with origin {study.weights.origin} leave it out: only local files are checked by it",
            )
