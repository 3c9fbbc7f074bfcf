"""The systems a study evaluates: the four variants of the method and the baselines trained beside them."""

from dataclasses import dataclass

from universal_diffusion.errors import InputError

METHOD = "universal_diffusion"


@dataclass(frozen=True)
class System:
    """One thing that segments. `key` names its folder; `family` and `variant` are its two columns in score tables."""

    key: str
    family: str
    variant: str
    label: str


SYSTEMS = (
    System("noise_learnt", METHOD, "noise_learnt", "Noise, learnt"),
    System("noise_clip", METHOD, "noise_clip", "Noise, CLIP"),
    System("mask_learnt", METHOD, "mask_learnt", "Mask, learnt"),
    System("mask_clip", METHOD, "mask_clip", "Mask, CLIP"),
    System("segresnet", "segresnet", "", "SegResNet"),
    System("prior_mask", "prior_mask", "", "Prior mask"),
)
VARIANTS = tuple(system for system in SYSTEMS if system.variant)
BASELINES = tuple(system for system in SYSTEMS if not system.variant)


def system_of(key: str) -> System:
    """The system of that key; an InputError lists them all otherwise."""
    by_key = {system.key: system for system in SYSTEMS}
    if key not in by_key:
        raise InputError(f"system {key!r}", "is not evaluated here", f"give one of {', '.join(by_key)}")
    return by_key[key]
