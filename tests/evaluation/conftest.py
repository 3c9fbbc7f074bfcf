"""Scores of an imagined study, a small untrained model, and two small stored cases."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from universal_diffusion.evaluation.paper.published import read_published
from universal_diffusion.evaluation.scoring.cases import COLUMNS
from universal_diffusion.preparation.splits import SplitRow, write_splits
from universal_diffusion.systems import SYSTEMS
from universal_diffusion.targets import bits
from universal_diffusion.volumes import IMAGE_STEPS, Grid, Volume, write_volume

PUBLISHED = Path(__file__).parents[2] / "config" / "published.csv"
PATCH = 16
ANNOTATED = ("spleen", "liver", "liver tumor")


@pytest.fixture(scope="session")
def published() -> Path:
    """The transcription of the paper's tables."""
    return PUBLISHED


def score_rows(system, source: str, case: str, part: str, target: str, dice: float) -> dict:
    """One row of `cases.csv`; NaN Dice stands for both masks empty."""
    row = dict.fromkeys(COLUMNS, np.nan) | {"system": system.family, "variant": system.variant}
    row |= {"dataset": "msd" if source.startswith("msd") else source, "source": source, "case": case, "part": part}
    empty = np.isnan(dice)
    row |= {"target": target, "dice": dice, "truth_ml": 0.0 if empty else 5.0, "predicted_ml": 0.0 if empty else 5.0}
    row |= dict.fromkeys(["dice_harmonised", "surface_dice", "dice_clip_universal"], dice)
    return row | {"outcome": "both_empty" if empty else "scored"}


@pytest.fixture
def cases(scored_cases) -> pd.DataFrame:
    """A copy of `scored_cases` to plant things in."""
    return scored_cases.copy()


@pytest.fixture(scope="session")
def scored_cases() -> pd.DataFrame:
    """Eight validation cases of every MSD source and eight 3D-IRCADb patients, scored with every system.

    Mask prediction is better than noise prediction by 0.2 on tumours and by 0.1 on organs; SegResNet is like mask_clip.
    """
    generator = np.random.default_rng(5)
    columns = [key.split("@") for key in read_published(PUBLISHED, 2)["column_key"].unique()]
    organs = [key for key in read_published(PUBLISHED, 3)["column_key"].unique() if key != "average"]
    places = [(target, source, "validation") for target, source in columns]
    places += [(organ, "ircadb", "test") for organ in organs]
    rows = []
    for target, source, part in places:
        for number in range(8):
            base = 0.5 + 0.1 * generator.random()
            for system in SYSTEMS:
                gain = (0.2 if "tumor" in target else 0.1) * system.variant.startswith(
                    "mask"
                ) + 0.01 * generator.random()
                gain = 0.2 * (system.key == "segresnet") + (0.0 if system.key == "segresnet" else gain)
                rows.append(score_rows(system, source, f"case_{number}", part, target, base + gain))
    return pd.DataFrame(rows, columns=COLUMNS)


def stored_case(folder: Path, source: str, case: str, offset: int) -> Volume:
    """A harmonised case with a liver and a tumour in it and no spleen; its CT has half the spacing and flipped axes."""
    labels = np.zeros((20, 18, 6), np.uint32)
    labels[4:14, 4 + offset : 12, 1:5] |= bits(["liver"])
    labels[6:9, 8:11, 2:4] |= bits(["liver tumor"])
    steps = np.random.default_rng(offset).integers(0, IMAGE_STEPS + 1, labels.shape)
    image = (steps / IMAGE_STEPS).astype(np.float32)
    grid = Grid(labels.shape, np.diag([4.0, 4.0, 5.0, 1.0]))
    native = labels.repeat(2, 0).repeat(2, 1)[::-1]
    affine = np.array([[-2.0, 0, 0, 77.0], [0, 2.0, 0, -1.0], [0, 0, 5.0, 0], [0, 0, 0, 1]])
    volume = Volume(source, case, ANNOTATED, f"{offset}", image, labels, grid, native, Grid(native.shape, affine))
    write_volume(folder / f"{case}.h5", volume)
    return volume


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> dict:
    """Two stored cases, one test and one validation: their folder `volumes`, `splits` table and contents `stored`."""
    folder = tmp_path_factory.mktemp("study")
    stored = [stored_case(folder / "volumes", "ircadb", "p1", 0), stored_case(folder / "volumes", "msd03", "l1", 1)]
    rows = [SplitRow("ircadb", "ircadb", "p1", "0", "test", ""), SplitRow("msd03", "msd", "l1", "1", "validation", "")]
    write_splits(folder / "splits.csv", rows)
    return {"volumes": folder / "volumes", "splits": folder / "splits.csv", "stored": stored}


AUTOENCODER = {"channels": [8, 8], "latent_channels": 2, "residual_blocks": 1}
DENOISER = {
    "channels": [8, 8],
    "residual_blocks": 1,
    "attention_scales": [1],
    "embedding": "clip",
    "embedding_channels": 8,
}


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """A folder with an untrained `mask_clip`, an untrained `mask_autoencoder` and a `coarser` one."""
    import torch

    from universal_diffusion.method.bundle import Networks, build_autoencoder, build_denoiser
    from universal_diffusion.method.weights import save_model

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    mask = build_autoencoder({"kind": "mask_autoencoder", **AUTOENCODER})
    image = build_autoencoder({"kind": "image_autoencoder", **AUTOENCODER})
    denoiser = build_denoiser(DENOISER, 2, 2, torch.randn(29, 512))
    torch.nn.init.normal_(denoiser.leave[-1].weight, std=0.3)
    architecture = {
        "kind": "variant",
        "mask_autoencoder": {"kind": "mask_autoencoder", **AUTOENCODER},
        "image_autoencoder": {"kind": "image_autoencoder", **AUTOENCODER},
        "denoiser": DENOISER,
    }
    diffusion = {"timesteps": 50, "schedule": "cosine"}
    card = {
        "architecture": architecture,
        "diffusion": diffusion,
        "prediction": "mask",
        "patch": PATCH,
        "spacing_mm": [4.0, 4.0, 5.0],
    }
    save_model(folder / "mask_clip", Networks(mask, image, denoiser), card)
    own = {"architecture": architecture["mask_autoencoder"], "preparation": {"patch": PATCH}}
    save_model(folder / "mask_autoencoder", mask, own)
    coarser = {"kind": "mask_autoencoder", **AUTOENCODER, "channels": [8, 8, 8]}
    save_model(folder / "coarser", build_autoencoder(coarser), own | {"architecture": coarser})
    return folder


@pytest.fixture
def check_print():
    """Checks a figure as a reader would: no text is cut at its edge, every picture in it shows something."""
    from matplotlib import pyplot as plt

    def beyond(axis) -> set:
        """Labels of ticks that lie outside what is shown, and are not drawn."""
        low, high = sorted(axis.get_view_interval())
        return {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}

    def check(figure) -> None:
        from matplotlib.text import Text

        figure.canvas.draw()  # which puts labels into their places
        canvas, hidden = figure.canvas.get_renderer(), set()
        for axes in figure.axes:
            hidden |= beyond(axes.xaxis) | beyond(axes.yaxis)
            hidden |= set() if axes.axison else {*axes.get_xticklabels(), *axes.get_yticklabels()}
        for text in figure.findobj(Text):
            if text.get_visible() and text.get_text().strip() and text not in hidden:
                box = text.get_window_extent(canvas)
                inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
                assert inside, f"{text.get_text()!r} is cut"
        for axes in figure.axes:
            for picture in axes.get_images()[:1]:
                drawn = picture.to_rgba(picture.get_array())[..., :3]
                lines = len(axes.collections)
                assert np.ptp(drawn) > 0.02 or (lines and drawn.min() > 0.5), f"{axes.get_title()!r} shows nothing"

    yield check
    plt.close("all")


@pytest.fixture
def draw_twice(tmp_path, monkeypatch):
    """Runs a step that draws a figure twice; its PNG and SVG must be equal in both."""

    def run(module, flags) -> None:
        for name in ("first", "second"):
            outputs = ["--output-png", tmp_path / f"{name}.png", "--output-svg", tmp_path / f"{name}.svg"]
            words = [module.__name__, *flags, "--cohort", "imagined patients", *outputs]
            monkeypatch.setattr("sys.argv", [str(word) for word in words])
            module.main()
        for kind in ("png", "svg"):
            first, second = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("first", "second"))
            assert len(first) > 5000
            assert first == second

    return run
