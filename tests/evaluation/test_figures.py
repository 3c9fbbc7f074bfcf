"""Figures 1 and 2: right content, rows by rule, nothing cut or black, equal bytes."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.paper import examples, figure1, figure2
from universal_diffusion.evaluation.scoring.cases import COLUMNS, write_cases
from universal_diffusion.method.bundle import load_bundle
from universal_diffusion.segmentation.sampling.engine import segment_slabs
from universal_diffusion.segmentation.sampling.image_latents import ImageLatents
from universal_diffusion.segmentation.sampling.noise import Window, case_seed
from universal_diffusion.settings import Segmentation
from universal_diffusion.systems import system_of
from universal_diffusion.targets import mask, target

SAMPLING = Segmentation("ddim", 3, 1.0, examples.SAMPLES, 0.25, 16)
MASK_CLIP = system_of("mask_clip")


@pytest.fixture
def _ordinary_torch():
    """Undo what a step sets for its whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def scored(*rows: tuple[str, str, str, str, float], truth_ml: float = 5.0) -> pd.DataFrame:
    """Rows of mask/CLIP: source, case, part, target, Dice."""
    filled = dict.fromkeys(COLUMNS, np.nan) | {"system": MASK_CLIP.family, "variant": MASK_CLIP.variant}
    filled |= {"dataset": "imagined", "outcome": "scored", "truth_ml": truth_ml, "predicted_ml": 5.0}
    names = ("source", "case", "part", "target", "dice")
    return pd.DataFrame([filled | dict(zip(names, row, strict=True)) for row in rows], columns=COLUMNS)


@pytest.fixture
def stored_cases() -> pd.DataFrame:
    """Scores of the two cases of `study`."""
    held = [("ircadb", "p1", "test"), ("msd03", "l1", "validation")]
    return scored(*[(*place, name, 0.5) for place in held for name in ("liver", "liver tumor")])


def test_figure_1_is_read_off_the_modules_and_repeats_byte_for_byte(models, draw_twice, check_print):
    draw_twice(figure1, ["--model", models / "mask_clip"])
    bundle = load_bundle(models / "mask_clip")
    figure = figure1.draw(bundle, "imagined patients")
    check_print(figure)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert sum("8 channels, 8 × 8" in text for text in texts) == 3
    assert sum("8 channels, 4 × 4\n1 block + attention" in text for text in texts) == 3
    count = sum(parameter.numel() for parameter in bundle.networks.parameters())
    caption = " ".join(figure.texts[0].get_text().split())
    assert f"{count / 1e3:.1f} k parameters in all" in caption
    assert "imagined patients" in caption
    assert any("CLIP text (512)" in text for text in texts)


def test_no_boxes_of_figure_1_overlap(models):
    (axes,) = figure1.draw(load_bundle(models / "mask_clip"), "imagined patients").axes
    boxes = [patch.get_window_extent() for patch in axes.patches if type(patch).__name__ == "FancyBboxPatch"]
    assert len(boxes) == 3 * 2 + 1 + 5 + 9 + 2
    assert [i for i, box in enumerate(boxes) if any(box.overlaps(other) for other in boxes[:i])] == []
    assert all(axes.get_window_extent().contains(*corner) for box in boxes for corner in (box.p0, box.p1))


@pytest.mark.usefixtures("_ordinary_torch")
def test_figure_2_repeats_byte_for_byte(models, study, stored_cases, tmp_path, draw_twice):
    write_cases(tmp_path / "cases.csv", stored_cases)
    flags = ["--model", models / "mask_clip", "--volumes", study["volumes"], "--cases", tmp_path / "cases.csv"]
    flags += ["--settings", json.dumps(dataclasses.asdict(SAMPLING)), "--study-seed", 1, "--threads", 1]
    draw_twice(figure2, flags)


def test_rows_are_the_median_cases_of_the_test_cohort():
    dices = {"a": 0.9, "b": 0.1, "c": 0.5, "d": 0.4}
    rows = [("s", case, "test", "liver", dice) for case, dice in dices.items()]
    rows += [("s", "e", "validation", "liver", 0.45), ("s", "e", "validation", "spleen", 0.3)]
    absent = scored(("s", "f", "test", "spleen", 0.0), truth_ml=0.0)
    found = examples.median_rows(pd.concat([scored(*rows), absent]), MASK_CLIP)
    assert (found["liver"]["case"], found["liver"]["n"]) == ("d", 4)  # the lower one of the two in the middle
    assert (found["spleen"]["case"], found["spleen"]["part"]) == ("e", "validation")  # no test case holds one
    others = scored(*rows).assign(variant="mask_learnt")
    assert examples.median_rows(others, MASK_CLIP) == {}


def test_figure_2_shows_the_slice_with_most_truth(study, stored_cases):
    stored = sorted(study["volumes"].glob("*.h5"))
    shown = examples.examples(stored_cases, MASK_CLIP, stored, 16)
    assert [row.target.name for row in shown] == ["liver", "liver tumor"]
    liver = shown[0]
    assert (liver.source, liver.part, liver.n) == ("ircadb", "test", 1)
    truth = mask(study["stored"][0].labels, "liver")
    at = liver.window
    assert truth[..., at.z].sum() == truth.sum(axis=(0, 1)).max() == liver.truth.sum()
    assert (liver.image == study["stored"][0].image[at.x : at.x + 16, at.y : at.y + 16, at.z]).all()


def test_figure_2_without_any_shown_target_says_so(stored_cases):
    with pytest.raises(InputError, match="no test or validation case"):
        examples.examples(stored_cases, MASK_CLIP, [], 16)


def row(name: str, variance: float) -> tuple[examples.Example, examples.Prediction]:
    """A disc in a bright square body, of which the model draws nothing."""
    image, truth = np.zeros((32, 32), np.float32), np.zeros((32, 32), bool)
    image[6:26, 6:26], truth[12:18, 14:20] = 0.5, True
    image[10:12, 10:12] = 0.9
    case = "a_very_long_name_of_a_case_0001"
    shown = examples.Example(target(name), "hepaticvessel", case, "validation", 0.25, 3, Window(0, 0, 0), image, truth)
    noise = np.random.default_rng(0).standard_normal((32, 32))
    states, doubt = np.zeros((3, 32, 32)), np.zeros((32, 32))
    doubt[12, 14] = variance
    return shown, examples.Prediction(noise, (1, 2, 4), states, states[0], doubt)


def test_a_missed_target_leaves_no_black_panel_and_no_label_is_cut(check_print):
    figure = figure2.draw(
        [row("portal vein and splenic vein", 0.04), row("liver", 0.0)], MASK_CLIP, 4, "imagined patients"
    )
    check_print(figure)
    panels = [axes for axes in figure.axes if axes.get_images()]
    assert [axes.get_title() for axes in panels[:8]] == [
        *("image", "truth", "noise", "step 1", "step 2", "sample", "mean", "variance")
    ]
    assert all(axes.collections for axes in panels if axes not in (panels[0], panels[2], panels[8], panels[10]))
    assert panels[7].get_images()[0].norm.vmax == pytest.approx(0.04)  # the largest, not the largest there could be
    assert panels[7].get_images()[0].norm is panels[15].get_images()[0].norm
    assert panels[0].get_images()[0].get_array().shape == (20, 20)  # cut to the body
    assert "imagined patients" in figure.texts[0].get_text()
    (plain,) = {tuple(to_rgba(panels[3].get_images()[0].cmap(0.0)))}
    assert min(plain) > 0.9  # nothing is white, as paper is
    plt.close(figure)


def test_samples_of_a_window_are_those_of_the_study(models, study):
    """A slice no larger than one window: mean and variance must equal the segmentation engine's."""
    bundle = load_bundle(models / "mask_clip")
    image = np.ascontiguousarray(study["stored"][0].image[:16, :16, :1])
    place = ("ircadb", "p1", "test", 0.5, 1, Window(0, 0, 0))
    shown = examples.Example(target("liver"), *place, image[..., 0], image[..., 0] > 2)
    predicted = examples.predict(bundle, shown, SAMPLING, 1)
    latents = ImageLatents(bundle, image, SAMPLING.overlap, 1)
    (maps,) = segment_slabs(bundle, latents, ["liver"], SAMPLING, case_seed(1, "ircadb", "p1"))
    assert np.allclose(predicted.mean, maps.mean[0, ..., 0], atol=1e-5)
    assert np.allclose(predicted.variance, maps.variance[0, ..., 0], atol=1e-5)
    assert predicted.steps == (1, 2, 3)
    assert predicted.trajectory.shape == (3, 16, 16)
    assert predicted.noise.shape == (16, 16)
    assert len(np.unique(predicted.noise)) == 8 * 8  # of the latent's cells
