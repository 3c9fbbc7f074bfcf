"""Training curves: every training in its column, figures that follow from the logs, equal bytes."""

import sys

import numpy as np
import pandas as pd
import pytest

from universal_diffusion.evaluation.beyond import curves
from universal_diffusion.evaluation.beyond.curves import draw, stretches
from universal_diffusion.evaluation.logs import read_log

MODELS = ("mask_autoencoder", "image_autoencoder", "noise_clip", "mask_clip", "segresnet")


def log(steps: int, validation: str = "validation_dice", seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    rows = pd.DataFrame({"step": range(steps), "loss": generator.normal(0.1, 0.3, steps), "seconds": 0.5})
    rows["wait_seconds"] = np.where(rows["step"] < steps / 2, 0.1, 0.0)
    rows[validation] = np.where((rows["step"] + 1) % 50 == 0, rows["step"] / steps, np.nan)
    return rows


@pytest.fixture
def logs(tmp_path):
    paths = []
    for number, name in enumerate(MODELS):
        validation = "validation_psnr_db" if name == "image_autoencoder" else "validation_dice"
        paths.append(tmp_path / name / "log.csv")
        paths[-1].parent.mkdir()
        log(205, validation, number).to_csv(paths[-1], index=False)
    return paths


@pytest.mark.parametrize(("steps", "rows"), [(7, 7), (100, 100), (205, 69), (1000, 100)])
def test_stretches_are_means_and_ranges_of_equal_numbers_of_steps(steps, rows):
    whole = log(steps)
    cut = stretches(whole, 100)
    assert len(cut) == rows
    length = int(np.ceil(steps / 100))
    second = whole["loss"].to_numpy()[length : 2 * length]
    np.testing.assert_allclose(cut.iloc[1][["loss", "low", "high"]], [second.mean(), second.min(), second.max()])
    assert cut["wait_seconds"].sum() == pytest.approx(whole["wait_seconds"].sum())
    assert cut.iloc[0]["waiting"] == pytest.approx(0.2)
    assert cut.iloc[-1]["waiting"] == 0


def test_every_training_has_its_row_and_its_share_of_waiting(logs, check_print):
    figure = draw({path.parent.name: read_log(path) for path in logs}, "imagined patients")
    losses, validations, waits = np.array(figure.axes).reshape(-1, 3).T
    check_print(figure)
    assert figure.get_figwidth() <= 7.2  # of a page of two columns
    assert [axes.get_title(loc="left") for axes in losses] == list(curves.KINDS)
    assert [len(axes.lines) for axes in losses] == [1, 1, 2, 1]
    assert [axes.get_ylabel() for axes in validations][:2] == ["validation: Dice, %", "validation: PSNR, dB"]
    np.testing.assert_allclose(validations[2].lines[1].get_xydata(), [[k, 100 * k / 205] for k in (49, 99, 149, 199)])
    labels = [text.get_text() for text in waits[2].get_legend().get_texts()]
    assert labels == ["Noise, CLIP: 10.0 %", "Mask, CLIP: 10.0 %"]
    assert "Cohort: imagined patients." in " ".join(figure.texts[0].get_text().split())


def test_figure_repeats_byte_for_byte(logs, tmp_path, monkeypatch):
    written = []
    for name in ("one", "two"):
        outputs = [tmp_path / f"{name}.png", tmp_path / f"{name}.svg"]
        flags = ["--logs", *logs[2:4], "--cohort", "nobody", "--output-png", outputs[0], "--output-svg", outputs[1]]
        monkeypatch.setattr(sys, "argv", ["curves", *map(str, flags)])
        curves.main()
        written.append([path.read_bytes() for path in outputs])
    assert written[0] == written[1]


def test_file_that_is_no_log_is_named(tmp_path, monkeypatch, capsys):
    path = tmp_path / "log.csv"
    log(5).drop(columns="wait_seconds").to_csv(path, index=False)
    outputs = ["--output-png", str(tmp_path / "a.png"), "--output-svg", str(tmp_path / "a.svg")]
    monkeypatch.setattr(sys, "argv", ["curves", "--logs", str(path), "--cohort", "nobody", *outputs])
    with pytest.raises(SystemExit):
        curves.main()
    assert f"{path}: is no log of a training: it lacks wait_seconds" in capsys.readouterr().err
