"""Step: Figure 1 - the architecture, drawn from the trained modules: every width, size and count is read off them.

python -m universal_diffusion.evaluation.paper.figure1 --model DIR --cohort TEXT --output-png F --output-svg F
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from universal_diffusion.errors import one_line_errors
from universal_diffusion.evaluation.drawing import put_caption, save
from universal_diffusion.evaluation.paper.boxes import TEXT, Box, draw_arrow, draw_boxes
from universal_diffusion.evaluation.tables import add_outputs
from universal_diffusion.method.bundle import Bundle, load_bundle
from universal_diffusion.method.denoiser import Stage
from universal_diffusion.method.embeddings import ClipEmbedding

DATA, NETWORK, GUIDE, CONDITION, LOSS = "#f2f2f2", "#cfe2f3", "#d9ead3", "#fff2cc", "#f4cccc"
TARGET_LINE, STEP_LINE, BACKWARD = "#7f6000", "#351c75", "#c00000"
WIDTH, TOP_Y, IMAGE_Y = 7.5, 0.0, -1.6  # inches, as all places and sizes here
ROW = 0.78  # distance of two scales
INPUT_X, CODER_X, GUIDE_X, DOWN_X, UP_X, RESULT_X = 0.62, 1.88, 3.06, 4.42, 5.78, 6.95


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
    bottom = IMAGE_Y - max(ROW * len(bundle.denoiser.descent) + 0.35, 2.4)  # middle of the conditions' boxes
    figure = plt.figure(figsize=(WIDTH, 1.35 - bottom))
    caption = (
        f"Figure 1: the architecture as trained, {parameters(bundle.networks)} parameters in all (denoiser with guide "
        f"{parameters(bundle.denoiser)}), T = {bundle.process.timesteps}; every width, size and count is read off the "
        f"trained modules (n = 1 model, the variant mask/CLIP). Trained on: {cohort}."
    )
    below = put_caption(figure, caption)
    axes = figure.add_axes((0, below, 1, 1 - below))
    height = (1 - below) * figure.get_figheight()
    axes.set(xlim=(0, WIDTH), ylim=(TOP_Y + 0.45 - height, TOP_Y + 0.45))
    axes.set_axis_off()
    image_latent = _image_path(axes, bundle)
    guide, down, up = _columns(axes, bundle)
    _mask_path(axes, bundle, down[0], up[0])
    draw_arrow(axes, image_latent.side("right"), guide[0].side("left"))
    _conditions(axes, bundle, guide[-1], down[-1], up[-1], bottom)
    return figure


def _image_path(axes: Axes, bundle: Bundle) -> Box:
    """y -> E_y -> z(y), and the decoder that only training needs."""
    coder, patch = bundle.image_autoencoder, bundle.card["patch"]
    size = patch // coder.factor
    image = Box(INPUT_X, IMAGE_Y - 0.85, f"image $y$\n1 × {patch} × {patch}", DATA)
    encoder = Box(INPUT_X, IMAGE_Y, f"$\\mathcal{{E}}_y$: VAE encoder\n{parameters(coder.encoder)}", NETWORK)
    latent = Box(CODER_X, IMAGE_Y, f"$z^{{(y)}}$\n{coder.latent_channels} × {size} × {size}", DATA, 0.9)
    decoder = Box(CODER_X, IMAGE_Y - 0.85, f"$\\mathcal{{D}}_y$: VAE decoder\n{parameters(coder.decoder)}", NETWORK)
    loss = Box(CODER_X, IMAGE_Y - 1.7, "$\\mathcal{L}_{VAE}$: likelihood\n+ α LPIPS + β KL", LOSS)
    draw_boxes(axes, image, encoder, latent, decoder, loss)
    draw_arrow(axes, image.side("top"), encoder.side("bottom"))
    draw_arrow(axes, encoder.side("right"), latent.side("left"))
    draw_arrow(axes, latent.side("bottom"), decoder.side("top"))
    draw_arrow(axes, decoder.side("bottom"), loss.side("top"))
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
        columns.append([Box(x, IMAGE_Y - ROW * s, texts[s], colour, 1.1) for s in scales])
        draw_boxes(axes, *columns[-1])
    guide, down, up = columns
    middle = Box((DOWN_X + UP_X) / 2, down[-1].y - 0.62, "middle block", NETWORK, 0.85, 0.3)
    draw_boxes(axes, middle)
    for s in scales:
        draw_arrow(axes, guide[s].side("right"), down[s].side("left"), "+")
        draw_arrow(axes, down[s].side("right"), up[s].side("left"), "skip")
        if s:
            draw_arrow(axes, guide[s - 1].side("bottom"), guide[s].side("top"))
            draw_arrow(axes, down[s - 1].side("bottom"), down[s].side("top"))
            draw_arrow(axes, up[s].side("top"), up[s - 1].side("bottom"))
    draw_arrow(axes, down[-1].side("bottom"), middle.side("left"))
    draw_arrow(axes, middle.side("right"), up[-1].side("bottom"))
    above = {"y": IMAGE_Y + 0.3, "ha": "center", "fontsize": TEXT + 0.5, "style": "italic"}
    axes.text(GUIDE_X, s="class-aware image\nencoder, without $t$", **above)
    axes.text((DOWN_X + UP_X) / 2, s="U-Net", **above)
    return guide, down, up


def _mask_path(axes: Axes, bundle: Bundle, down: Box, up: Box) -> None:
    """x -> E_x -> z_0 -> z_t into the U-Net; out of it the estimate, the mask and the losses."""
    coder, patch = bundle.mask_autoencoder, bundle.card["patch"]
    size = patch // coder.factor
    shape = f"{coder.latent_channels} × {size} × {size}"
    estimate = "\\hat{z}_0^{(x)}" if bundle.prediction == "mask" else "\\hat{\\epsilon}"
    truth = "z_0^{(x)}" if bundle.prediction == "mask" else "\\epsilon"
    mask = Box(INPUT_X, TOP_Y, f"mask $x$ of target $k$\n1 × {patch} × {patch}", DATA, 1.08)
    encoder = Box(CODER_X, TOP_Y, f"$\\mathcal{{E}}_x$: mask encoder\n{parameters(coder.encoder)}", NETWORK)
    clean = Box(GUIDE_X, TOP_Y, f"$z_0^{{(x)}}$\n{shape}", DATA, 0.9)
    noisy = Box(DOWN_X, TOP_Y, f"$z_t^{{(x)}}$\n{shape}", DATA, 0.9)
    output = Box(UP_X, TOP_Y, f"${estimate}$ and variance $v$\n2 × {shape}", DATA, 1.1)
    decoder = Box(RESULT_X, TOP_Y, f"$\\mathcal{{D}}_x$: mask decoder\n{parameters(coder.decoder)}", NETWORK)
    result = Box(RESULT_X, TOP_Y - 0.75, f"mask $\\hat{{x}}$\n1 × {patch} × {patch}", DATA, 0.9)
    losses = Box(RESULT_X, IMAGE_Y, f"$\\mathcal{{L}}_{{MSE}}$ to ${truth}$\n+ $\\mathcal{{L}}_{{VLB}}$", LOSS, 0.85)
    coding = Box(CODER_X, TOP_Y - 0.75, "$\\mathcal{L}_{AE}$: BCE + Dice,\nweight decay λ", LOSS)
    draw_boxes(axes, mask, encoder, clean, noisy, output, decoder, result, losses, coding)
    for first, second in ((mask, encoder), (encoder, clean), (clean, noisy), (output, decoder)):
        draw_arrow(axes, first.side("right"), second.side("left"))
    for first, second in ((noisy, down), (encoder, coding), (decoder, result)):
        draw_arrow(axes, first.side("bottom"), second.side("top"))
    draw_arrow(axes, up.side("top"), output.side("bottom"))
    draw_arrow(
        axes, (output.side("right")[0] - 0.05, output.side("bottom")[1]), (losses.side("left")[0], IMAGE_Y + 0.2)
    )
    draw_arrow(axes, losses.side("left"), up.side("right"), "", BACKWARD, "--")
    words = {"ha": "center", "fontsize": TEXT}
    axes.text((GUIDE_X + DOWN_X) / 2, TOP_Y + 0.3, "forward process: noise of step $t$", va="bottom", **words)
    axes.text(RESULT_X, IMAGE_Y - 0.28, "backpropagation", va="top", color=BACKWARD, **words)


def _conditions(axes: Axes, bundle: Bundle, guide: Box, down: Box, up: Box, bottom: float) -> None:
    """e_k into every block of guide and U-Net, t into those of the U-Net."""
    module = bundle.denoiser.embedding
    size = module.projection.out_features if isinstance(module, ClipEmbedding) else module.table.embedding_dim
    if isinstance(module, ClipEmbedding):
        text = f"“A computerized tomography of a {{k}}”\n→ CLIP text ({module.features.shape[1]}) → $e_k$ ({size})"
    else:
        text = f"learnt table of {module.table.num_embeddings}\n→ $e_k$ ({size})"
    embedding = Box(1.4, bottom, text, CONDITION, 2.5)
    step = Box(RESULT_X - 0.1, bottom, "step $t$ →\nsinusoids → MLP", CONDITION)
    draw_boxes(axes, embedding, step)
    for source, colour, height, targets in (
        (embedding, TARGET_LINE, 0.0, ((guide, 0.0), (down, -0.42), (up, 0.28))),
        (step, STEP_LINE, 0.14, ((down, -0.28), (up, 0.42))),
    ):
        level = source.y + height
        ends = [box.x + offset for box, offset in targets]
        start = source.side("right" if source.x < ends[0] else "left")[0]
        axes.plot([start, max(ends) if source.x < ends[0] else min(ends)], [level] * 2, color=colour, lw=1)
        for (box, _), end in zip(targets, ends, strict=True):
            draw_arrow(axes, (end, level), (end, box.side("bottom")[1]), colour=colour)
    label = "scale and shift of the norm in every residual block"
    axes.text(GUIDE_X - 0.2, embedding.y - 0.06, label, fontsize=TEXT, va="top", color=TARGET_LINE)


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
