"""Figures 1 and 2: right content, equal bytes."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch

from universal_diffusion.errors import InputError
from universal_diffusion.evaluation.paper import figure1, figure2
from universal_diffusion.method.bundle import load_bundle
from universal_diffusion.preparation.splits import read_splits
from universal_diffusion.segmentation.sampling.engine import segment_slabs
from universal_diffusion.segmentation.sampling.image_latents import ImageLatents
from universal_diffusion.segmentation.sampling.noise import case_seed
from universal_diffusion.settings import Segmentation
from universal_diffusion.targets import mask

SAMPLING = Segmentation("ddim", 3, 1.0, figure2.SAMPLES, 0.25, 16)


def run(module, flags, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, flags)])
    module.main()


def written_twice(module, flags, folder, monkeypatch) -> tuple[bytes, bytes]:
    for name in ("first", "second"):
        outputs = ["--output-png", folder / f"{name}.png", "--output-svg", folder / f"{name}.svg"]
        run(module, [*flags, "--cohort", "imagined patients", *outputs], monkeypatch)
    png, svg = ((folder / f"first.{kind}").read_bytes() for kind in ("png", "svg"))
    assert (png, svg) == tuple((folder / f"second.{kind}").read_bytes() for kind in ("png", "svg"))
    return png, svg


@pytest.fixture
def _ordinary_torch():
    """Undo what a step sets for its whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def test_figure_1_is_read_off_the_modules_and_repeats_byte_for_byte(models, tmp_path, monkeypatch):
    written_twice(figure1, ["--model", models / "mask_clip"], tmp_path, monkeypatch)
    bundle = load_bundle(models / "mask_clip")
    texts = [text.get_text() for text in figure1.draw(bundle, "imagined patients").axes[0].texts]
    assert sum("8 channels, 8 × 8" in text for text in texts) == 3
    assert sum("8 channels, 4 × 4\n1 block + attention" in text for text in texts) == 3
    count = sum(parameter.numel() for parameter in bundle.networks.parameters())
    assert any(f"{count / 1e3:.1f} k parameters in all" in " ".join(text.split()) for text in texts)
    assert any("CLIP text (512)" in text for text in texts)
    assert any("imagined patients" in text for text in texts)


@pytest.mark.usefixtures("_ordinary_torch")
def test_figure_2_repeats_byte_for_byte(models, study, tmp_path, monkeypatch):
    flags = ["--model", models / "mask_clip", "--volumes", study["volumes"], "--splits", study["splits"]]
    flags += ["--settings", json.dumps(dataclasses.asdict(SAMPLING)), "--study-seed", 1, "--threads", 1]
    written_twice(figure2, flags, tmp_path, monkeypatch)


def test_figure_2_shows_the_largest_section_of_a_test_case(study):
    shown = figure2.examples([study["volumes"]], read_splits(study["splits"]), 16)
    assert [row.target.name for row in shown] == ["liver", "liver tumor"]
    liver = shown[0]
    assert (liver.source, liver.part) == ("ircadb", "test")
    truth = mask(study["stored"][0].labels, "liver")
    at = liver.window
    assert truth[..., at.z].sum() == truth.sum(axis=(0, 1)).max() == liver.truth.sum()
    assert (liver.image == study["stored"][0].image[at.x : at.x + 16, at.y : at.y + 16, at.z]).all()


def test_figure_2_without_any_shown_target_says_so(tmp_path):
    with pytest.raises(InputError, match="no test or validation case"):
        figure2.examples([tmp_path], [], 16)


def test_samples_of_a_window_are_those_of_the_study(models, study):
    """A slice no larger than one window: mean and variance must equal the segmentation engine's."""
    bundle = load_bundle(models / "mask_clip")
    volume = study["stored"][0]
    image = np.ascontiguousarray(volume.image[:16, :16, :1])
    shown = figure2.Example(
        figure2.target("liver"), "ircadb", "p1", "test", figure2.Window(0, 0, 0), image[..., 0], image[..., 0] > 2
    )
    predicted = figure2.predict(bundle, shown, SAMPLING, 1)
    latents = ImageLatents(bundle, image, SAMPLING.overlap, 1)
    (maps,) = segment_slabs(bundle, latents, ["liver"], SAMPLING, case_seed(1, "ircadb", "p1"))
    assert np.allclose(predicted.mean, maps.mean[0, ..., 0], atol=1e-5)
    assert np.allclose(predicted.variance, maps.variance[0, ..., 0], atol=1e-5)
    assert predicted.steps_left == (3, 2, 1, 0)
    assert predicted.trajectory.shape == (4, 16, 16)
