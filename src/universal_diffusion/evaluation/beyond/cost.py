"""Step: what sampling costs in latent space, and what the same network would cost on the pixel grid.

    python -m universal_diffusion.evaluation.beyond.cost --model DIR --settings JSON(Segmentation) --cohort TEXT
        --output-csv F --output-md F --output-tex F

Counts floating-point operations (two per multiplication and addition) of the trained modules for one window and one
target, by torch's own counter. "pixel" runs the same denoiser and image encoder at the window's full size and needs no
auto-encoders; "latent" pays for them. Counts are exact and the same on every machine.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation import tables
from universal_diffusion.method.bundle import Bundle, load_bundle
from universal_diffusion.method.denoiser import Denoiser
from universal_diffusion.settings import Segmentation, read_json

PARTS = {
    "encode_image_gflop": "Image encoder",
    "image_features_gflop": "Class-aware encoder",
    "denoiser_step_gflop": "Step",
    "decode_mask_gflop": "Mask decoder",
    "total_gflop": "Total",
}
NOTE = (
    "Counted by PyTorch on the trained modules: two operations per multiplication and addition; exact and the same on "
    "every machine. Pixel: the same denoiser and image encoder on the whole window, without auto-encoders."
)


def flops(compute: Callable[[], object]) -> int:
    """Floating-point operations of a computation."""
    counter = FlopCounterMode(display=False)
    with counter:
        compute()
    return counter.get_total_flops()


def guided_flops(denoiser: Denoiser, size: int) -> tuple[int, int]:
    """Operations of the class-aware image encoder and of one denoiser step on a grid of `size` x `size`."""
    image = torch.zeros(1, denoiser.image_encoder.enter.in_channels, size, size)
    noisy = torch.zeros(1, denoiser.enter.in_channels, size, size)
    one = torch.ones(1, dtype=torch.int64)
    embedding = denoiser.embedding(one)
    features = denoiser.features(image, embedding)
    return (
        flops(lambda: denoiser.features(image, embedding)),
        flops(lambda: denoiser(noisy, one, embedding, features)),
    )


@torch.inference_mode()
def costs(bundle: Bundle, sampling: Segmentation) -> pd.DataFrame:
    """Two rows, "latent" and "pixel": GFLOP of the parts and their total for one window, target and ensemble."""
    patch, factor = bundle.card["patch"], bundle.mask_autoencoder.factor
    patches = torch.zeros(1, 1, patch, patch)
    latent = torch.zeros(1, bundle.latent_channels, patch // factor, patch // factor)
    coders = {
        "latent": (
            flops(lambda: bundle.image_autoencoder.encode(patches)),
            flops(lambda: bundle.mask_autoencoder.decode(latent)),
        ),
        "pixel": (0, 0),
    }
    rows = []
    for space, size in (("latent", patch // factor), ("pixel", patch)):
        encode, decode = coders[space]
        features, step = guided_flops(bundle.denoiser, size)
        total = encode + features + sampling.ensemble * (sampling.steps * step + decode)
        parts = {"encode_image": encode, "image_features": features, "denoiser_step": step, "decode_mask": decode}
        gigaflops = {f"{name}_gflop": count / 1e9 for name, count in (parts | {"total": total}).items()}
        rows.append({"space": space, "grid": size, "steps": sampling.steps, "ensemble": sampling.ensemble} | gigaflops)
    return pd.DataFrame(rows)


def printed_table(rows: pd.DataFrame, cohort: str) -> tables.Printed:
    """A row per space; GFLOP of each part, and how many times those of latent space."""
    latent = rows.set_index("space").loc["latent", "total_gflop"]
    texts = pd.DataFrame({heading: [f"{value:.3g}" for value in rows[column]] for column, heading in PARTS.items()})
    texts.insert(0, "Space", rows["space"].to_numpy())
    texts.insert(1, "Grid", [f"{size} x {size}" for size in rows["grid"]])
    texts["Times latent"] = [f"{total / latent:.1f}" for total in rows["total_gflop"]]
    sampling = rows.iloc[0]
    caption = f"Operations of one window and one target in latent and in pixel space (GFLOP). Cohort: {cohort}."
    total = f"Total: encoding once; {sampling.steps} steps and a decoding for each of {sampling.ensemble} samples."
    return tables.Printed(texts, tables.unmarked(texts), caption, (NOTE, total), "tab:cost")


@one_line_errors
def main() -> None:
    """Write the table of costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="directory of the trained model")
    parser.add_argument("--settings", required=True, help="JSON of the section `segmentation`")
    tables.add_outputs(parser)
    arguments = parser.parse_args()
    sampling = read_json(Segmentation, arguments.settings, "configuration.segmentation")
    rows = costs(load_bundle(arguments.model), sampling)
    tables.write_outputs(arguments, rows, printed_table(rows, arguments.cohort))


if __name__ == "__main__":
    main()
