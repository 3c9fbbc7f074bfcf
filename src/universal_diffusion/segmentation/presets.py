"""How a CT is sampled unless somebody says otherwise: three presets, from the cheapest look to the most samples."""

from dataclasses import dataclass

from universal_diffusion.settings import Gate, Segmentation

SAMPLER, ETA, OVERLAP = "ddim", 1.0, 0.25
# Set by hand. What it keeps, saves and misses is measured in every study (`tables/gate.md`).
GATE = Gate(every=4, threshold=0.1, margin_mm=12.0)


@dataclass(frozen=True)
class Preset:
    """Denoising `steps` per sample, samples per target (`ensemble`), and whether a gate leaves out what looks empty."""

    steps: int
    ensemble: int
    gated: bool

    @property
    def calls(self) -> int:
        """Calls of the denoiser per window and target, of which the time of a run is nearly a multiple."""
        return self.steps * self.ensemble


# By `snakemake sampling_sweep` of the embedded study at commit 15be84e (7 targets in 2 cases, small networks): a sample
# has 48.1 % of Dice at 1 step, 48.2 at 2, 45.2 at 20; five have 48.9 at 2 steps with the gate and without, 49.2 at 5
# steps without, the best of all, and 48.1 at 20. So few steps, and more samples rather than more steps.
PRESETS = {"fast": Preset(1, 1, True), "default": Preset(2, 5, True), "best": Preset(5, 10, False)}


def sampling_of(preset: Preset, prediction: str, device: str, warm_start: int | None = None) -> Segmentation:
    """What the engine is told for a preset.

    Args:
        prediction: "mask" or "noise"; with the noise there is no gate, because its one-step estimate says nothing.
        device: "cpu" or "cuda", where the networks run in bfloat16.
        warm_start: as in `settings.Segmentation`.
    """
    return Segmentation(
        SAMPLER,
        preset.steps,
        ETA,
        preset.ensemble,
        OVERLAP,
        precision="bf16-mixed" if device == "cuda" else "32-true",
        gate=GATE if preset.gated and prediction == "mask" else None,
        warm_start=warm_start,
    )
