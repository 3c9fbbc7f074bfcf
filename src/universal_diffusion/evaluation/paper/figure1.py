"""Step: Figure 1 - the architecture, drawn from the trained modules: every width, size and count is read off them.

python -m universal_diffusion.evaluation.paper.figure1 --model DIR --cohort TEXT --output-png F --output-svg F
"""

import argparse
import textwrap
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import nn

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.drawing import save
from universal_diffusion.evaluation.tables import add_outputs
from universal_diffusion.method.bundle import Bundle, load_bundle
from universal_diffusion.method.denoiser import Stage
from universal_diffusion.method.embeddings import ClipEmbedding

DATA, NETWORK, GUIDE, CONDITION, LOSS = "#f2f2f2", "#cfe2f3", "#d9ead3", "#fff2cc", "#f4cccc"
TARGET_LINE, STEP_LINE = "#7f6000", "#351c75"
ROW = 1.25  # distance of two scales
GUIDE_X, DOWN_X, UP_X = 7.6, 10.3, 13.0
TOP_Y, IMAGE_Y = 8.6, 6.4


@dataclass(frozen=True)
class Box:
    """A labelled rectangle around (x, y)."""

    x: float
    y: float
    text: str
    colour: str
    width: float = 1.7
    height: float = 0.8

    def side(self, where: str) -> tuple[float, float]:
        """The middle of its "left", "right", "top" or "bottom" edge."""
        across, along = {"left": (-0.5, 0), "right": (0.5, 0), "top": (0, 0.5), "bottom": (0, -0.5)}[where]
        return self.x + across * self.width, self.y + along * self.height


def parameters(module: nn.Module) -> str:
    """The number of a module's parameters, e.g. "1.84 M"."""
    count = sum(parameter.numel() for parameter in module.parameters())
    return f"{count / 1e6:.2f} M" if count >= 1e6 else f"{count / 1e3:.1f} k"


def stage_text(stage: Stage, size: int) -> str:
    """Width, blocks and grid of one scale."""
    attention = "" if isinstance(stage.attention, nn.Identity) else " + attention"
    width = stage.blocks[-1].norm.num_channels
    return f"{width} channels, {size} × {size}\n{len(stage.blocks)} block{'s'[: len(stage.blocks) > 1]}{attention}"


def draw(bundle: Bundle, cohort: str) -> Figure:
    """The whole drawing."""
    scales = len(bundle.denoiser.descent)
    bottom = IMAGE_Y - ROW * scales - 1.7
    figure, axes = plt.subplots(figsize=(16.5, 0.78 * (TOP_Y - bottom) + 1.9))
    axes.set(xlim=(0, 17.9), ylim=(bottom - 0.4, TOP_Y + 0.6))
    axes.set_aspect("equal")
    axes.set_axis_off()
    image_latent = _image_path(axes, bundle)
    guide, down, up = _columns(axes, bundle)
    _mask_path(axes, bundle, down[0], up[0])
    _arrow(axes, image_latent.side("right"), guide[0].side("left"))
    _conditions(axes, bundle, guide[-1], down[-1], up[-1], bottom)
    caption = (
        f"Figure 1: the architecture as trained, {parameters(bundle.networks)} parameters in all (denoiser with guide "
        f"{parameters(bundle.denoiser)}), T = {bundle.process.timesteps}. Trained on: {cohort}."
    )
    axes.text(0.1, bottom - 0.35, textwrap.fill(caption, 210), fontsize=10, va="bottom")
    figure.subplots_adjust(0.005, 0.01, 0.995, 0.99)
    return figure


def _image_path(axes: Axes, bundle: Bundle) -> Box:
    """y -> E_y -> z(y), and the decoder that only training needs."""
    coder, patch = bundle.image_autoencoder, bundle.card["patch"]
    size = patch // coder.factor
    image = Box(1.0, IMAGE_Y, f"image $y$\n1 × {patch} × {patch}", DATA)
    encoder = Box(3.1, IMAGE_Y, f"$\\mathcal{{E}}_y$: VAE encoder\n{parameters(coder.encoder)}", NETWORK, 1.8)
    latent = Box(5.25, IMAGE_Y, f"$z^{{(y)}}$\n{coder.latent_channels} × {size} × {size}", DATA, 1.5)
    decoder = Box(5.25, IMAGE_Y - 1.4, f"$\\mathcal{{D}}_y$: VAE decoder\n{parameters(coder.decoder)}", NETWORK, 1.8)
    loss = Box(3.1, IMAGE_Y - 1.4, "$\\mathcal{L}_{VAE}$: likelihood\n+ α LPIPS + β KL", LOSS, 1.8)
    _draw(axes, image, encoder, latent, decoder, loss)
    _arrow(axes, image.side("right"), encoder.side("left"))
    _arrow(axes, encoder.side("right"), latent.side("left"))
    _arrow(axes, latent.side("bottom"), decoder.side("top"))
    _arrow(axes, decoder.side("left"), loss.side("right"))
    return latent


def _columns(axes: Axes, bundle: Bundle) -> tuple[list[Box], list[Box], list[Box]]:
    """The class-aware image encoder, joined at every scale to the U-Net's descent, and the ascent."""
    denoiser = bundle.denoiser
    size = bundle.card["patch"] // bundle.mask_autoencoder.factor
    scales = range(len(denoiser.descent))
    columns = []
    for x, stages, colour in (
        (GUIDE_X, denoiser.image_encoder.stages, GUIDE),
        (DOWN_X, denoiser.descent, NETWORK),
        (UP_X, denoiser.ascent, NETWORK),
    ):
        texts = [stage_text(stages[s], size // 2**s) for s in scales]
        columns.append([Box(x, IMAGE_Y - ROW * s, texts[s], colour, 2.0) for s in scales])
        _draw(axes, *columns[-1])
    guide, down, up = columns
    middle = Box((DOWN_X + UP_X) / 2, down[-1].y - ROW, "middle block", NETWORK, 1.6, 0.6)
    _draw(axes, middle)
    for s in scales:
        _arrow(axes, guide[s].side("right"), down[s].side("left"), "+")
        _arrow(axes, down[s].side("right"), up[s].side("left"), "skip")
        if s:
            _arrow(axes, guide[s - 1].side("bottom"), guide[s].side("top"))
            _arrow(axes, down[s - 1].side("bottom"), down[s].side("top"))
            _arrow(axes, up[s].side("top"), up[s - 1].side("bottom"))
    _arrow(axes, down[-1].side("bottom"), middle.side("left"))
    _arrow(axes, middle.side("right"), up[-1].side("bottom"))
    axes.text(
        GUIDE_X, IMAGE_Y + 0.85, "class-aware image\nencoder, without $t$", ha="center", fontsize=9, style="italic"
    )
    axes.text((DOWN_X + UP_X) / 2, IMAGE_Y + 0.85, "U-Net", ha="center", fontsize=9, style="italic")
    return guide, down, up


def _mask_path(axes: Axes, bundle: Bundle, down: Box, up: Box) -> None:
    """x -> E_x -> z_0 -> z_t into the U-Net; out of it the estimate, the mask and the losses."""
    coder, patch = bundle.mask_autoencoder, bundle.card["patch"]
    size = patch // coder.factor
    shape = f"{coder.latent_channels} × {size} × {size}"
    estimate = "\\hat{z}_0^{(x)}" if bundle.prediction == "mask" else "\\hat{\\epsilon}"
    truth = "z_0^{(x)}" if bundle.prediction == "mask" else "\\epsilon"
    mask = Box(1.0, TOP_Y, f"mask $x$ of target $k$\n1 × {patch} × {patch}", DATA, 1.8)
    encoder = Box(3.1, TOP_Y, f"$\\mathcal{{E}}_x$: mask encoder\n{parameters(coder.encoder)}", NETWORK, 1.8)
    clean = Box(5.25, TOP_Y, f"$z_0^{{(x)}}$\n{shape}", DATA, 1.5)
    noisy = Box(DOWN_X, TOP_Y, f"$z_t^{{(x)}}$\n{shape}", DATA, 1.5)
    output = Box(UP_X, TOP_Y, f"${estimate}$ and variance $v$\n2 × {shape}", DATA, 2.0)
    decoder = Box(UP_X + 2.25, TOP_Y, f"$\\mathcal{{D}}_x$: mask decoder\n{parameters(coder.decoder)}", NETWORK, 1.8)
    result = Box(UP_X + 4.2, TOP_Y, f"mask $\\hat{{x}}$\n1 × {patch} × {patch}", DATA, 1.3)
    losses = Box(UP_X + 3.6, IMAGE_Y, f"$\\mathcal{{L}}_{{MSE}}$ to ${truth}$\n+ $\\mathcal{{L}}_{{VLB}}$", LOSS, 1.7)
    coding = Box(3.1, TOP_Y - 1.0, "$\\mathcal{L}_{AE}$: BCE + Dice, decay λ", LOSS, 2.2, 0.5)
    _draw(axes, mask, encoder, clean, noisy, output, decoder, result, losses, coding)
    for first, second in ((mask, encoder), (encoder, clean), (output, decoder), (decoder, result)):
        _arrow(axes, first.side("right"), second.side("left"))
    _arrow(axes, clean.side("right"), noisy.side("left"), "forward process: noise of step $t$")
    _arrow(axes, noisy.side("bottom"), down.side("top"))
    _arrow(axes, up.side("top"), output.side("bottom"))
    _arrow(axes, encoder.side("bottom"), coding.side("top"))
    _arrow(axes, (output.side("right")[0] - 0.1, output.side("bottom")[1]), losses.side("top"))
    _arrow(axes, losses.side("left"), up.side("right"), "backpropagation", "#c00000", "--")


def _conditions(axes: Axes, bundle: Bundle, guide: Box, down: Box, up: Box, bottom: float) -> None:
    """e_k into every block of guide and U-Net, t into those of the U-Net."""
    module = bundle.denoiser.embedding
    size = module.projection.out_features if isinstance(module, ClipEmbedding) else module.table.embedding_dim
    if isinstance(module, ClipEmbedding):
        text = f"“A computerized tomography of a {{k}}”\n→ CLIP text ({module.features.shape[1]}) → $e_k$ ({size})"
    else:
        text = f"learnt table of {module.table.num_embeddings}\n→ $e_k$ ({size})"
    embedding = Box(3.3, bottom + 0.75, text, CONDITION, 4.4)
    step = Box(UP_X + 2.9, bottom + 0.75, "step $t$\n→ sinusoids → MLP", CONDITION, 2.0)
    _draw(axes, embedding, step)
    for source, colour, height, targets in (
        (embedding, TARGET_LINE, 0.0, ((guide, 0.0), (down, -0.75), (up, 0.5))),
        (step, STEP_LINE, 0.25, ((down, -0.5), (up, 0.75))),
    ):
        level = source.y + height
        ends = [box.x + offset for box, offset in targets]
        start = source.side("right" if source.x < ends[0] else "left")[0]
        axes.plot([start, max(ends) if source.x < ends[0] else min(ends)], [level] * 2, color=colour, lw=1.2)
        for (box, _), end in zip(targets, ends, strict=True):
            _arrow(axes, (end, level), (end, box.side("bottom")[1]), colour=colour)
    label = "scale and shift of the norm in every residual block"
    axes.text(GUIDE_X + 0.1, embedding.y - 0.12, label, fontsize=8.5, va="top", color=TARGET_LINE)


def _draw(axes: Axes, *boxes: Box) -> None:
    for box in boxes:
        corner = box.x - box.width / 2, box.y - box.height / 2
        style = "round,pad=0,rounding_size=0.08"
        axes.add_patch(FancyBboxPatch(corner, box.width, box.height, style, fc=box.colour, ec="#444444", lw=0.9))
        axes.text(box.x, box.y, box.text, ha="center", va="center", fontsize=8.5)


def _arrow(axes: Axes, start, end, label: str = "", colour: str = "#444444", line: str = "-") -> None:
    style = {"arrowstyle": "-|>", "color": colour, "lw": 1.2, "linestyle": line, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)
    middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.07
    axes.text(*middle, label, ha="center", va="bottom", fontsize=8.5, color=colour)


@one_line_errors
def main() -> None:
    """Draw Figure 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="directory of the trained model")
    add_outputs(parser, ("png", "svg"))
    arguments = parser.parse_args()
    save(draw(load_bundle(arguments.model), arguments.cohort), arguments.output_png, arguments.output_svg)


if __name__ == "__main__":
    main()
